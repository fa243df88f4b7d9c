"""What the progress displays of a training, an evaluation and a study have in common."""

from types import FrameType

from rich import progress as bars
from rich.console import Console


class Display:
    """Live bars on a terminal, plain lines elsewhere; an interrupt asks to stop.

    Args:
        stopping: printed at the first interrupt; the second one ends at once.
    """

    def __init__(self, console: Console, *columns: bars.ProgressColumn, stopping: str = "") -> None:
        self.stopped = False
        self.is_live = console.is_terminal
        self.bars = bars.Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._stopping = stopping

    def say(self, text: str, *, style: str | None = None) -> None:
        """Prints a line above the bars, as it is."""
        self.bars.console.print(
            text, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True
        )

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal.

        Raises:
            KeyboardInterrupt: it is the second one.
        """
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        self.say(self._stopping)
