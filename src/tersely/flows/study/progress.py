"""What a study shows while its runs go: runs done of all, and the time that is left."""

import time
from collections.abc import Callable
from types import FrameType, TracebackType

from rich import progress as bars
from rich.console import Console

from tersely.flows.study.plan import StudyRun


class StudyProgress:
    """Counts runs; the first interrupt asks all to save, the second ends at once."""

    def __init__(self, console: Console, *, total: int, jobs: int) -> None:
        self.stopped = False
        self._console = console
        self._total = total
        self._jobs = jobs
        self._began = time.monotonic()
        self._at_start: float | None = None
        self._stop: Callable[[], None] = lambda: None
        self._bars = bars.Progress(
            bars.BarColumn(bar_width=20),
            bars.TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("", total=float(total))
        self._done = 0

    def __enter__(self) -> "StudyProgress":
        self._bars.start()
        self._say(f"{self._total} runs, {self._jobs} at a time")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stop_with(self, stop: Callable[[], None]) -> None:
        """How the runs are asked to stop."""
        self._stop = stop

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """A signal handler."""
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        self._stop()
        self._say("stopping: every run saves after its step (again: at once) ...")

    def on_progress(self, done: int, steps: float) -> None:
        """Runs that are done, and the runs' worth of steps of the others."""
        worth = done + steps
        if self._at_start is None:
            self._at_start = worth
        left = self._left(worth)
        self._bars.update(
            self._task, completed=worth, description=f"{done} of {self._total} runs{left}"
        )

    def on_result(self, unit: StudyRun) -> None:
        """One more run is finished."""
        self._done += 1
        if not self._bars.console.is_terminal:
            self._say(f"{self._done} of {self._total} runs: {unit.name}")

    def _left(self, worth: float) -> str:
        passed = worth - (self._at_start or 0.0)
        if passed <= 0:
            return ""
        minutes = (time.monotonic() - self._began) / passed * (self._total - worth) / 60
        return f", about {minutes:.0f} min left"

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)
