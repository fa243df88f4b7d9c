"""Progress of an evaluation: a live line on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from time import monotonic

from rich import progress as bars
from rich.console import Console

from tersely.core.types import EvalRecord, Finish, Grade, Problem, StepRecord, StepTiming
from tersely.dynamics.alarms import Alarm
from tersely.flows.evaluate.preflight import shown
from tersely.flows.progress import Display

PLAIN_EVERY_S = 10.0


class EvalProgress:
    """Counts samples, right answers and tokens as they come in."""

    def __init__(self, console: Console) -> None:
        self.done = self._failed = 0
        self._what = ""
        self._total, self._new, self._right, self._tokens = 0, 0, 0, 0
        self._began = self._spoke = monotonic()
        self.display = Display(
            console,
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(bar_width=6),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[numbers]}", markup=False),
            bars.TimeRemainingColumn(),
        )
        self._bars = self.display.bars
        self._task = self._bars.add_task("", total=None, numbers="")

    def on_sampling(self, what: str, total: int, done: int) -> None:
        """Starts the bar anew."""
        self.done, self._total, self._new, self._failed = done, total, 0, 0
        # The level of a sweep; of an evaluation alone there is nothing to say.
        self._what = f"{what}: " if what.startswith("sampling ") else ""
        self._right = self._tokens = 0
        self._began = self._spoke = monotonic()
        self._bars.reset(self._task, total=total, completed=done, description=what, numbers="")
        if done:
            self.display.say(f"{what}: {done:,} of {total:,} are there already")

    def on_first(self, problem: Problem, record: EvalRecord) -> None:
        """Prints the first sample of all."""
        for line in shown(problem, record):
            self.display.say(line)

    def on_sample(self, record: EvalRecord | None) -> None:
        """Shows the counts with this sample; off a terminal, every ten seconds."""
        self.done += 1
        if record is not None and record.finish is Finish.ERROR:
            self._failed += 1
        else:
            self._new += 1
            if record is not None:
                self._right += record.grade is Grade.CORRECT and record.finish is Finish.STOP
                self._tokens += record.tokens
        seconds = monotonic() - self._began
        numbers = ""
        if self._tokens:
            # Short samples end first, so the first two rise as it goes.
            numbers = (
                f"so far {self._right / self._new:.0%} right, "
                f"{self._tokens / self._new:,.0f} tokens each  "
                f"{self._tokens / max(seconds, 1e-9):,.0f} tokens/s"
                + (f"  {self._failed:,} failed" if self._failed else "")
            )
        self._bars.update(self._task, completed=self.done, numbers=numbers)
        if not self.display.is_live and monotonic() - self._spoke >= PLAIN_EVERY_S:
            self._spoke = monotonic()
            left_s = seconds / (self._new + self._failed) * (self._total - self.done)
            self.display.say(
                f"{self._what}{self.done:,} of {self._total:,} samples  {numbers}  "
                f"about {left_s:,.0f} s left"
            )

    # An evaluation has no steps and no alarms, and is stopped by an exception.
    def on_step(self, record: StepRecord, timing: StepTiming, *, steps: int) -> None: ...
    def on_evaluation(self, step: int, records: Sequence[EvalRecord]) -> None: ...
    def on_alarm(self, alarm: Alarm) -> None: ...
    def wants_stop(self) -> bool:
        return False
