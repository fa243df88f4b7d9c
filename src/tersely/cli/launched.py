"""What every ``tersely launch`` does around its engine: progress, a stop, and the report."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tersely.cli.frame import INTERRUPTED, messages, on_signals, output

if TYPE_CHECKING:
    from tersely.flows.train.progress import Progress


def carry_out(run: "Callable[[Progress], None]", *, again: str) -> None:
    """Runs an engine to its end, or stops it at once when asked to.

    Args:
        again: the command that goes on, told to who stopped it.
    """
    from tersely.flows.train.progress import Progress

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        with Progress(messages) as progress, on_signals(stop, signal.SIGINT, signal.SIGTERM):
            run(progress)
    except KeyboardInterrupt:
        messages.print(
            f"stopped at once; what came after the last checkpoint is made again. Go on with: "
            f"{again}",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def show_report(folder: Path) -> None:
    """Draws a run's report, prints its table and says where the page is."""
    from tersely.report.pages.run import write_report
    from tersely.report.tables.comparison import draw_table

    messages.print("drawing the report ...")
    report = write_report(folder)
    out = output()
    out.print(draw_table(report.overall))
    out.print(f"report: {report.page}", highlight=False, soft_wrap=True)
