"""What every command shares: the console for messages, and errors in one line."""

import os
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from rich.console import Console

from tersely.core.errors import ConfigError, DataError, TerselyError, TerselyWarning
from tersely.core.storage import is_storage_error

INTERRUPTED = 130
PLAIN_WIDTH = 110

messages = Console(stderr=True)


@contextmanager
def plain_errors() -> Iterator[None]:
    """One line and an exit code for anything raised on purpose; our own warnings as lines too."""
    try:
        with _plain_warnings():
            yield
    except TerselyError as error:
        messages.print(f"[bold red]error:[/] {_escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, ConfigError | DataError) else 1) from error
    except OSError as error:
        full = is_storage_error(error)
        if error.filename is None and not full:
            raise
        where = error.filename or "what this command writes"
        fix = "; make room there and give the same command again" if full else ""
        messages.print(
            f"[bold red]error:[/] {_escape(f'{where}: {error.strerror}{fix}')}", soft_wrap=True
        )
        raise typer.Exit(1 if full else 2) from error


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings of this package as one line each, others as Python shows them."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def say(message: Warning | str, category: type[Warning], *rest: object) -> None:
            if issubclass(category, TerselyWarning):
                messages.print(f"[yellow]warning:[/] {_escape(str(message))}", soft_wrap=True)
            else:
                show(message, category, *rest)  # type: ignore[arg-type]

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
    console = Console()
    known = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return console if known else Console(width=PLAIN_WIDTH)


def numbers(text: str | None, *, option: str) -> tuple[int, ...]:
    """The whole numbers of a list such as ``2048,4096``, each once, ascending.

    Raises:
        ConfigError: an entry is not a whole number, or has the zeros of a thousands separator.
    """
    parts = (text or "").replace(",", " ").split()
    for part in parts:
        if not re.fullmatch(r"-?(0|[1-9]\d*)", part):
            raise ConfigError(
                f"{option} {text!r}: {part!r} is no whole number; write {option} 2048,4096"
            )
    return tuple(sorted({int(part) for part in parts}))


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
