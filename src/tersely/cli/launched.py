"""What every ``tersely launch`` does around its engine: progress, a stop, and the report."""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from tersely.cli.frame import INTERRUPTED, messages, on_signals

if TYPE_CHECKING:
    from tersely.flows.train.progress import Progress


def carry_out(run: "Callable[[Progress], None]", *, again: str) -> None:
    """Runs an engine to its end, or stops it at once when asked to.

    Args:
        again: the command that goes on, shown to whoever stopped it.
    """
    from tersely.flows.train.progress import Progress

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    progress = Progress(messages)
    try:
        with progress.display.bars, on_signals(stop, signal.SIGINT, signal.SIGTERM):
            run(progress)
    except KeyboardInterrupt:
        messages.print(
            f"stopped at once; what came after the last checkpoint is made again. Go on with: "
            f"{again}",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
