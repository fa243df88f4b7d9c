"""Progress of a study: finished runs, and the time that is left."""

import time

from rich import progress as bars
from rich.console import Console

from tersely.flows.progress import Display
from tersely.flows.study.plan import StudyRun


class StudyProgress:
    """Counts runs; the first interrupt asks all to save, the second ends at once."""

    def __init__(self, console: Console, *, total: int, jobs: int) -> None:
        self._total = total
        self._began = time.monotonic()
        self._at_start: float | None = None
        self._done = 0
        self.display = Display(
            console,
            bars.BarColumn(bar_width=20),
            bars.TextColumn("{task.description}", markup=False),
            stopping="stopping: every run saves after its step (again: at once) ...",
        )
        self._task = self.display.bars.add_task("", total=float(total))
        self.display.say(f"{total} runs, {jobs} at a time")

    def wants_stop(self) -> bool:
        """Whether somebody asked."""
        return self.display.stopped

    def on_progress(self, done: int, steps: float) -> None:
        """Runs that are done, and the runs' worth of steps of the others."""
        worth = done + steps
        if self._at_start is None:
            self._at_start = worth
        left = self._left(worth)
        self.display.bars.update(
            self._task, completed=worth, description=f"{done} of {self._total} runs{left}"
        )

    def on_result(self, unit: StudyRun) -> None:
        """One more run is finished."""
        self._done += 1
        if not self.display.is_live:
            self.display.say(f"{self._done} of {self._total} runs: {unit.name}")

    def _left(self, worth: float) -> str:
        passed = worth - (self._at_start or 0.0)
        if passed <= 0:
            return ""
        minutes = (time.monotonic() - self._began) / passed * (self._total - worth) / 60
        return f", about {minutes:.0f} min left"
