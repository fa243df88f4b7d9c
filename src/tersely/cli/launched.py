"""What every ``tersely launch`` does around its engine: progress, trackers, a stop, the report."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tersely.cli.frame import INTERRUPTED, messages, on_signals
from tersely.cli.offline import outward

if TYPE_CHECKING:
    from tersely.flows.observer import Observer


def carry_out(
    run: "Callable[[Observer], None]", *, folder: Path, report: Callable[[], None], again: str
) -> None:
    """Runs an engine to its end and reports it, or stops it at once when asked to.

    Args:
        folder: of the run.
        again: the command that goes on, shown to whoever stopped it.
    """
    from tersely.flows.tracking import Tracking
    from tersely.flows.train.progress import Progress

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    progress = Progress(messages)
    with Tracking(folder, progress, environment=outward()) as observer:
        try:
            with progress.display.bars, on_signals(stop, signal.SIGINT, signal.SIGTERM):
                run(observer)
        except KeyboardInterrupt:
            messages.print(
                f"stopped at once; what came after the last checkpoint is made again. Go on with: "
                f"{again}",
                soft_wrap=True,
            )
            raise typer.Exit(INTERRUPTED) from None
        report()
