"""The options, results and types that all readers of other tools' files share."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

from tersely.core.errors import ConfigError, no_such
from tersely.core.types import EvalRecord, Finish
from tersely.readers.packing import plain_stem

# Files that do not name their benchmark are compared as of one.
UNNAMED = "benchmark"


class Reading(NamedTuple):
    """The samples of a foreign file, and what was left out, inferred or counted.

    ``golds`` has the right answer of each (benchmark, problem) whose file tells it.
    """

    records: list[EvalRecord]
    notes: tuple[str, ...]
    golds: Mapping[tuple[str, str], str] = MappingProxyType({})


@runtime_checkable
class CountsAll(Protocol):
    """A counter of tokens that counts many texts at once."""

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has."""
        ...


@runtime_checkable
class SplitsTokens(Protocol):
    """A counter of tokens that also gives the text of each."""

    def split_all(self, texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The text of each token of each text, in order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user states about a file because the file does not.

    ``run`` names the evaluation. ``count_tokens`` counts a text's tokens, for files without
    counts; ``cap_tokens`` is the sampled cap in tokens. ``benchmark`` overrides the file's name
    for it, and ``unnamed`` stands where neither says it (None: the file's own name). ``model``
    keeps only that model's samples, and ``columns`` maps our field to the file's column, metric,
    scorer or filter. ``grader`` is one of ours that grades the texts again. ``by_row`` says that
    every row of a table is a problem of its own, named by its number.
    """

    run: str
    count_tokens: Callable[[str], int] | None = None
    cap_tokens: int | None = None
    benchmark: str | None = None
    unnamed: str | None = None
    model: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    grader: str | None = None
    by_row: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSample:
    """One sample as the file has it; None where the file says nothing.

    ``place`` is where it stands, for errors. ``score`` and ``tokens`` are as they were found.
    ``failed`` says that sampling it broke, so that its score means nothing. ``gold`` is the right
    answer, and ``thinking_open`` says that the prompt opened the thinking that the text is in.
    ``reasoning`` is the file's own count of the thinking's tokens, as it was found.
    ``turns`` and ``tool_tokens`` are as in an evaluation's record.
    """

    place: str
    problem: str
    benchmark: str
    score: object
    tokens: object = None
    finish: Finish | None = None
    failed: bool = False
    sample: int | None = None
    model: str | None = None
    cap_tokens: int | None = None
    text: str | None = None
    prompt: str | None = None
    extracted: str | None = None
    difficulty: float | None = None
    seed: int = 0
    gold: str | None = None
    thinking_open: bool = False
    reasoning: object = None
    turns: int | None = None
    tool_tokens: int | None = None


def benchmark_name(path: Path, options: Options, *, own: str | None = None) -> str:
    """The benchmark of a sample; ``own`` is what the file says of it."""
    return options.benchmark or own or options.unnamed or plain_stem(path)


def check_columns(options: Options, *, known: Iterable[str], reader: str) -> None:
    """Refuses a column of ours that the reader does not look up.

    Raises:
        ConfigError: naming it and those that the reader knows.
    """
    names = tuple(known)
    for ours in options.columns:
        if ours not in names:
            raise ConfigError(no_such("column", ours, names, of=f"--from {reader} to map"))
