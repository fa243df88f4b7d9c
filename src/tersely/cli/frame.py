"""What every command shares: its two consoles, its form, and errors in one line."""

import errno
import json
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from tersely.core.errors import ConfigError, DataError, TerselyError, TerselyWarning, shortened
from tersely.core.extras import say_missing
from tersely.core.storage import is_storage_error

INTERRUPTED = 130
MOST_CHARS = 2000
PLAIN_WIDTH = 110
# What ends so is meant as a file.
FILE_ENDINGS = (".html", ".htm", ".md", ".csv", ".png", ".pdf", ".json", ".jsonl")
# Set, a fault of ours ends in Python's own traceback.
TRACEBACK = "TERSELY_TRACEBACK"

# Names of models, folders and problems hold brackets and colons: no console reads markup.
messages = Console(stderr=True, markup=False, emoji=False, highlight=False)
_errors = Console(stderr=True, markup=False, emoji=False, highlight=False)
_document: ContextVar[dict[str, Any] | None] = ContextVar("document", default=None)


@contextmanager
def form(*, command: str, quiet: bool, as_json: bool) -> Iterator[None]:
    """How a command speaks: with or without notices, in tables or as one JSON document."""
    _never_fail_to_print()
    document: dict[str, Any] | None = {} if as_json else None
    token, messages.quiet = _document.set(document), quiet
    try:
        with _one_line_for_faults(command):
            yield
        _print(document)
    except typer.Exit as end:
        # It did its work, and says by 1 what came of it.
        if end.exit_code == 1:
            _print(document)
        raise
    finally:
        messages.quiet = False
        _document.reset(token)


def show(drawn: RenderableType, facts: Mapping[str, Any]) -> None:
    """Prints a table or a line to stdout; with ``--json``, keeps its facts for the document."""
    if not note_facts(facts):
        output().print(drawn, soft_wrap=isinstance(drawn, str))


def note_facts(facts: Mapping[str, Any]) -> bool:
    """Keeps facts for the document; whether there is one, so that nothing else is printed."""
    document = _document.get()
    if document is None:
        return False
    document.update(facts)
    return True


def _print(document: Mapping[str, Any] | None) -> None:
    from tersely.metrics.numbers import plain

    if document:
        sys.stdout.write(json.dumps(plain(document), indent=2, allow_nan=False) + "\n")


@contextmanager
def plain_errors() -> Iterator[None]:
    """One line and an exit code for anything raised on purpose; our own warnings as lines too."""
    try:
        with _plain_warnings():
            yield
    except TerselyError as error:
        raise _end(str(error), 2 if isinstance(error, ConfigError | DataError) else 1) from error
    except OSError as error:
        full = is_storage_error(error)
        if error.errno == errno.EPIPE:
            raise
        where = error.filename or ("what this command writes" if full else "a file")
        reason = error.strerror or str(error) or type(error).__name__
        fix = "; make room there and give the same command again" if full else "; give another path"
        raise _end(f"{where}: {reason}{fix}", 1 if full or error.filename is None else 2) from error


def _end(text: str, code: int) -> typer.Exit:
    _errors.print(_one_line("error", "bold red", text), soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def _one_line_for_faults(command: str) -> Iterator[None]:
    """A library that is missing is named with its extra; anything else that nobody foresaw is a
    fault of ours, said in one line with how to see where it was."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        library = error.name if isinstance(error, ModuleNotFoundError) else None
        if needed := say_missing(library or "", what=command):
            raise _end(needed, 2) from error
        if os.environ.get(TRACEBACK):
            raise
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())[:200]
        raise _end(
            f"a fault in tersely ({type(error).__name__}: {said}; {at.name}, line {at.lineno}): "
            f"please report it with the command; {TRACEBACK}=1 shows where it was",
            1,
        ) from error


def _never_fail_to_print() -> None:
    """A name that the terminal's encoding lacks is printed by its code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings of this package as one line each, others as Python shows them."""
    with warnings.catch_warnings():
        # Whatever filter is set for others, ours are lines and never errors.
        warnings.simplefilter("default", TerselyWarning)
        before = warnings.showwarning

        def say(message: Warning | str, category: type[Warning], *rest: object) -> None:
            if issubclass(category, TerselyWarning):
                messages.print(_one_line("warning", "yellow", str(message)), soft_wrap=True)
            elif not messages.quiet:
                before(message, category, *rest)  # type: ignore[arg-type]

        warnings.showwarning = say  # type: ignore[assignment]
        yield


@contextmanager
def on_signals(handler: Callable[[int, FrameType | None], object], *numbers: int) -> Iterator[None]:
    """Handles these signals within the block, and as before after it."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def use_threads(threads: int | None) -> None:
    """CPU threads of torch; 0 or None leaves it one a core."""
    import torch

    if threads:
        torch.set_num_threads(threads)


def output() -> Console:
    """Where tables go: as wide as the terminal or ``COLUMNS``, else of a fixed width."""
    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    width = None if known else PLAIN_WIDTH
    return Console(width=width, markup=False, emoji=False, highlight=False)


def check_written(**files: Path | None) -> None:
    """Refuses what a file cannot be written to, before any work is done.

    Args:
        files: by the option that names it.
    Raises:
        ConfigError: it is there and is a folder, a pipe or a device.
    """
    for option, file in files.items():
        if file is not None and file.exists() and not file.is_file():
            kind = "a folder" if file.is_dir() else "no file"
            raise ConfigError(f"--{option} {file} is {kind}; give the name of a file to write")


def check_folder(**folders: Path | None) -> None:
    """ConfigError for what is there and is no folder; ``folders`` by the option that names it."""
    for option, folder in folders.items():
        if folder is not None and folder.exists() and not folder.is_dir():
            raise ConfigError(f"--{option} {folder} is no folder; give the name of one to write")
        if folder is not None and folder.suffix.lower() in FILE_ENDINGS and not folder.exists():
            raise ConfigError(
                f"--{option} {folder} is called like a file and is to be a folder; give the name "
                f"of a folder, such as {folder.with_suffix('')}"
            )


def numbers(text: str | None, *, option: str) -> tuple[int, ...]:
    """The whole numbers of a list such as ``2048,4096``, each once, ascending.

    Raises:
        ConfigError: an entry is not a whole number, or has the zeros of a thousands separator.
    """
    parts = (text or "").replace(",", " ").split()
    for part in parts:
        if not re.fullmatch(r"-?(0|[1-9][0-9]{0,14})", part):
            wrong = "is too large" if re.fullmatch(r"-?[1-9][0-9]+", part) else "is no whole number"
            raise ConfigError(
                f"{option} {shortened(text)!r}: {shortened(part)!r} {wrong}; "
                f"write {option} 2048,4096"
            )
    return tuple(sorted({int(part) for part in parts}))


def _one_line(kind: str, style: str, text: str) -> Text:
    """A notice, however long a value or a file's own text in it is."""
    text = re.sub(r"\S{401,}", lambda found: found[0][:80] + "...", text)
    if len(text) > MOST_CHARS:
        text = f"{text[: MOST_CHARS // 2]} ... {text[-MOST_CHARS // 2 :]}"
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return Text.assemble((f"{kind}:", style), " ", plain)
