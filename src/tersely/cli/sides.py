"""Options of ``tersely compare`` that belong to one evaluation: given once for all, once a side in
order, or with the side's number in front, ``2:lighteval``."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.options import READERS, ReadOptions, reader_options
from tersely.core.errors import ConfigError, no_such, shortened
from tersely.metrics.numbers import count
from tersely.readers.reading import UNNAMED

if TYPE_CHECKING:
    from tersely.readers.formats import Options

OURS = "tersely"
_NUMBERED = re.compile(r"(\d{1,3}):(.+)", re.DOTALL)

# An option that a message tells to give, up to its value, which a number may stand before.
_NAMED_VALUE = re.compile(
    r"(?:--column (?=\w+=)|--regrade (?=GRADER)|--only-model (?=NAME)"
    rf"|--from (?=(?:{'|'.join(READERS)})\b))"
)

Many = list[str] | None


@dataclass(frozen=True, kw_only=True)
class SideOptions:
    """How to read each evaluation."""

    from_: Annotated[
        Many,
        typer.Option(
            "--from",
            help=f"Who wrote the files: {', '.join(READERS)}. Once for all, once for each in "
            "order, or numbered: --from 2:lighteval.",
        ),
    ] = None
    tokenizer: Annotated[
        Many, typer.Option(help="Tokenizer folder to count tokens with; as --from, e.g. 2:FOLDER.")
    ] = None
    cap_tokens: Annotated[
        Many, typer.Option(help="Sampled cap in tokens; as --from, e.g. 2:4096.", metavar="TOKENS")
    ] = None
    column: Annotated[
        Many,
        typer.Option(
            help="OURS=THEIRS for all files of other tools, 2:OURS=THEIRS for the second "
            "evaluation only. Repeatable."
        ),
    ] = None
    only_model: Annotated[
        Many, typer.Option(help="Only this model's samples; as --from, e.g. 2:NAME.")
    ] = None
    benchmark_name: Annotated[
        Many, typer.Option(help="Name of the benchmark; as --from, e.g. 2:NAME.")
    ] = None
    regrade: Annotated[
        Many,
        typer.Option(
            help="Grade texts again with this grader; as --from, e.g. 2:math.", metavar="GRADER"
        ),
    ] = None


@dataclass(frozen=True)
class SideToRead:
    """One evaluation: where it is, and how it is read."""

    path: Path
    reader: str
    options: "Options"


def read_sides(paths: Sequence[Path], given: SideOptions, *, by_row: bool) -> list[SideToRead]:
    """Who wrote each evaluation, and what is stated of it.

    What is given once for all goes to the files of other tools; a folder is always ours.

    Raises:
        ConfigError: an option is given for a side that is not there or cannot take it, or neither
            once nor once a side.
    """
    n = len(paths)
    named = _assign(given.from_, n, option="--from")
    once = len(given.from_ or ()) == 1
    readers = [
        OURS if reader is None or (once and path.is_dir()) else reader
        for reader, path in zip(named, paths, strict=True)
    ]
    foreign = [reader != OURS for reader in readers]
    values = {
        "tokenizer": _assign(given.tokenizer, n, option="--tokenizer", only=foreign),
        "cap_tokens": _assign(given.cap_tokens, n, option="--cap-tokens", only=foreign),
        "only_model": _assign(given.only_model, n, option="--only-model"),
        "benchmark_name": _assign(given.benchmark_name, n, option="--benchmark-name", only=foreign),
    }
    columns = _assign_columns(given.column, readers)
    graders = _assign(given.regrade, n, option="--regrade")
    sides = []
    for at, (path, reader) in enumerate(zip(paths, readers, strict=True)):
        _check_side(at + 1, path, reader, grader=graders[at], by_row=by_row)
        reading = ReadOptions(
            from_=reader,
            tokenizer=values["tokenizer"][at],
            cap_tokens=_whole(values["cap_tokens"][at]),
            column=columns[at],
            only_model=values["only_model"][at],
            benchmark_name=values["benchmark_name"][at],
        )
        stated = _stated(reading, at + 1)
        stated = replace(stated, grader=graders[at], by_row=by_row, unnamed=UNNAMED)
        sides.append(SideToRead(path, reader, stated))
    return sides


def read_amounts(given: Many, n: int, *, option: str) -> list[float | None]:
    """A number from 0 on for each side, such as a price; None where it is not stated.

    Raises:
        ConfigError: a value is no number or below 0, or is given for a side that is not there.
    """
    values = []
    for entry in _assign(given, n, option=option):
        try:
            value = None if entry is None else float(entry)
        except ValueError:
            value = math.nan
        if value is not None and not 0 <= value < math.inf:
            below = "is below 0" if value < 0 else "is no number"
            raise ConfigError(
                f"{option} {shortened(entry)} {below}; give a number from 0 on, such as "
                f"{option} 0.6 for all, or {option} 2:0.6 for the second evaluation"
            )
        values.append(value)
    return values


def _stated(reading: ReadOptions, place: int) -> "Options":
    """The reader's settings; a fault of a tokenizer is named with its side."""
    try:
        return reader_options(reading)
    except ConfigError as error:
        said = str(error)
        old, new = f"--tokenizer {reading.tokenizer}", f"--tokenizer {place}:{reading.tokenizer}"
        raise ConfigError(said.replace(old, new, 1)) from error


def _assign(
    given: Many, n: int, *, option: str, only: Sequence[bool] | None = None
) -> list[str | None]:
    """The value of each side; what is given once for all goes to the sides of ``only``."""
    values: list[str | None] = [None] * n
    plain = []
    for entry in given or ():
        numbered = _NUMBERED.fullmatch(entry)
        if not numbered:
            plain.append(entry)
            continue
        at = _place(numbered[1], n, entry=f"{option} {entry}")
        if values[at] is not None:
            raise ConfigError(f"{option} is given twice for evaluation {at + 1}; give it once")
        values[at] = numbered[2]
    if not plain:
        return values
    if len(plain) < len(given or ()):
        raise ConfigError(
            f"{option} is given with and without a number; write a number before each, as in "
            f"{option} 2:{plain[0]}"
        )
    if len(plain) == n:
        return [*plain]
    if len(plain) > 1:
        raise ConfigError(
            f"{option} is given {len(plain)} times for {n} evaluations; give it once for all, "
            f"{n} times, one for each in order, or with a number: {option} 2:{plain[-1]}"
        )
    takes = only if only is not None and any(only) else [True] * n
    return [plain[0] if take else None for take in takes]


def _assign_columns(given: Many, readers: Sequence[str]) -> list[Many]:
    """The columns of each side: one without a number goes to the sides whose reader has it."""
    columns: list[list[str]] = [[] for _ in readers]
    foreign = [at for at, reader in enumerate(readers) if reader != OURS]
    for entry in given or ():
        numbered = _NUMBERED.fullmatch(entry)
        if numbered:
            place = _place(numbered[1], len(readers), entry=f"--column {entry}")
            columns[place].append(numbered[2])
            continue
        takes = _sides_with(entry, {at: readers[at] for at in foreign})
        of = sorted({readers[at] for at in takes})
        if len(of) > 1:
            raise ConfigError(
                f"--column {entry} is for all evaluations, but they are read as {', '.join(of)}, "
                "which have columns of their own; say whose it is with its number: "
                f"--column {takes[0] + 1}:{entry}"
            )
        for at in takes or range(len(readers)):
            columns[at].append(entry)
    return [each or None for each in columns]


def _sides_with(entry: str, readers: Mapping[int, str]) -> list[int]:
    """The sides whose reader has the column of ours; all of them where there is only one reader.

    Raises:
        ConfigError: none of several readers has it.
    """
    from tersely.readers import formats

    if len(set(readers.values())) < 2:
        return [*readers]
    column = entry.partition("=")[0]
    known = {at: formats.columns_of(reader) for at, reader in readers.items()}
    takes = [at for at, columns in known.items() if column in columns]
    if not takes:
        every = dict.fromkeys(name for columns in known.values() for name in columns)
        of = f"--from {', '.join(dict.fromkeys(readers.values()))} to map"
        raise ConfigError(no_such("column", column, every, of=of))
    return takes


def with_number(message: str, place: int) -> str:
    """A reader's message with the evaluation's number in the options that it names."""
    return _NAMED_VALUE.sub(rf"\g<0>{place}:", message)


def _place(number: str, n: int, *, entry: str) -> int:
    if not 1 <= int(number) <= n:
        raise ConfigError(
            f"{entry}: there {'is' if n == 1 else 'are'} {count(n, 'evaluation')}; give a number "
            f"from 1 to {n}"
        )
    return int(number) - 1


def _whole(cap: str | None) -> int | None:
    if cap is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,17}", cap):
        raise ConfigError(
            f"--cap-tokens {cap!r} is no whole number above 0; write --cap-tokens 4096, or "
            "--cap-tokens 2:4096 for the second evaluation"
        )
    return int(cap)


def _check_side(place: int, path: Path, reader: str, *, grader: str | None, by_row: bool) -> None:
    if grader is not None and reader == OURS:
        raise ConfigError(
            f"--regrade {grader} is for files of other tools, and evaluation {place} ({path}) is "
            f"tersely's own; name the tool with --from, or the side, as in --regrade 2:{grader}"
        )
    if by_row and reader != "table":
        raise ConfigError(
            f"--pair-by row is for tables, and evaluation {place} ({path}) is read as {reader}; "
            "leave it out: that reader knows each sample's problem"
        )
