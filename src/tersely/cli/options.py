"""Options that several commands share, and how a dataclass of options becomes a command's own."""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from importlib import resources
from inspect import Parameter, Signature, signature
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersely.core.errors import ConfigError, no_such

if TYPE_CHECKING:
    from tersely.readers.formats import Options


def flattened(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters of a dataclass type are given to typer field by field.

    A field may be a dataclass itself. Options are shown in the order in which they are written.
    """

    # typer calls a command with all of its options by name.
    @wraps(command)
    def flat(**given: Any) -> None:
        _call(command, given)

    parameters = list(_flatten(command))
    flat.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {each.name: each.annotation for each in parameters}
    return flat


def _flatten(target: Any) -> Iterator[Parameter]:
    for each in signature(target, eval_str=True).parameters.values():
        if is_dataclass(each.annotation):
            yield from _flatten(each.annotation)
        else:
            yield each.replace(kind=Parameter.KEYWORD_ONLY)


def _call(target: Any, given: dict[str, Any]) -> Any:
    values = {
        name: _call(each.annotation, given) if is_dataclass(each.annotation) else given[name]
        for name, each in signature(target, eval_str=True).parameters.items()
    }
    return target(**values)


def changed(options: Any) -> dict[str, Any]:
    """Fields of a dataclass of options that are not at their default, by the option's name."""
    return {
        f"--{each.name.replace('_', '-')}": getattr(options, each.name)
        for each in fields(options)
        if each.default is not MISSING and getattr(options, each.name) != each.default
    }


AllowUnsandboxed = Annotated[
    bool,
    typer.Option(
        "--allow-unsandboxed",
        help="Grade programs even if no sandbox protects your files and network.",
    ),
]
RecipeOrDemo = Annotated[
    Path | None,
    typer.Argument(help="Recipe (TOML), or a shipped one's name. None: the lab's demo."),
]
RecipeOverrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting, e.g. --set target.tokens=40. Repeatable."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run folder where it was left.")
]
ResumeFrom = Annotated[
    int | None,
    typer.Option(
        min=1, help="Go back to the checkpoint of this step and continue; later steps are dropped."
    ),
]
LaunchFolder = Annotated[
    Path | None, typer.Option(help="Run folder to write. Default: runs/ and the recipe's name.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=0, max=1024, help="CPU threads; 0: one a core. Default: model.cpu_threads, or 0."
    ),
]
MeanTokens = Annotated[
    int | None, typer.Option(help="--dry-run: price at this mean length of a rollout, too.")
]


# By their files; nothing of them is loaded for it.
# Readers that went; each is refused with what to use instead.
REMOVED_READERS = ("slime", "qwen_math")
_FORMATS = Path(str(resources.files("tersely") / "readers" / "formats"))
READERS = ("tersely", *sorted(module.name for module in iter_modules([str(_FORMATS)])))


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a file of records, and what it does not say itself."""

    from_: Annotated[
        str,
        typer.Option(
            "--from",
            help=f"Who wrote the file: {', '.join(READERS)}; table is any JSONL, JSON or Parquet.",
        ),
    ] = "tersely"
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Tokenizer folder to count tokens with, where a file holds no counts."),
    ] = None
    cap_tokens: Annotated[
        int | None,
        typer.Option(max=10**15, help="Sampled cap in tokens, where a file does not hold it."),
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option(help="OURS=THEIRS, e.g. --column tokens=n_tokens. Repeatable."),
    ] = None
    only_model: Annotated[str | None, typer.Option(help="Only this model's samples.")] = None
    benchmark_name: Annotated[
        str | None, typer.Option(help="Name of the benchmark, where the file gives none.")
    ] = None


def reader_options(given: ReadOptions, *, run: str = "") -> "Options":
    """The reader's settings.

    Raises:
        ConfigError: there is no such reader, or a column is not written as one.
    """
    if given.from_ not in (*READERS, *REMOVED_READERS):
        raise ConfigError(no_such("reader", given.from_, READERS))
    from tersely.readers.formats import Options

    return Options(
        run=run,
        count_tokens=None if given.tokenizer is None else _counter(given.tokenizer),
        cap_tokens=given.cap_tokens,
        benchmark=given.benchmark_name,
        model=given.only_model,
        columns=dict(pair(entry, example="tokens=n_tokens") for entry in given.column or ()),
    )


def pair(entry: str, *, example: str) -> tuple[str, str]:
    """Both sides of an entry of ``--column``.

    Raises:
        ConfigError: one of them is missing.
    """
    ours, equals, theirs = entry.partition("=")
    if not (ours and equals and theirs):
        raise ConfigError(f"--column {entry!r} is not OURS=THEIRS; write --column {example}")
    return ours, theirs


def _counter(tokenizer: str) -> "Callable[[str], int]":
    from tersely.engines.tokens import make_counter

    return make_counter(tokenizer)
