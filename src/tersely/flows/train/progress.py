"""Progress of a run: one live line of numbers on a terminal, plain lines elsewhere."""

from collections.abc import Sequence

from rich import progress as bars
from rich.console import Console

from tersely.core.types import EvalRecord, Finish, Grade, StepRecord, StepTiming
from tersely.dynamics.alarms import Alarm, Severity
from tersely.flows.progress import Display

PLAIN_EVERY_STEPS = 10


class Progress:
    """Shows steps, evaluations and alarms; the first interrupt asks to stop after the step."""

    def __init__(self, console: Console) -> None:
        self.display = Display(
            console,
            bars.BarColumn(bar_width=8),
            bars.TextColumn("{task.description}{task.fields[numbers]}", markup=False),
            stopping="stopping after this step (again: at once, back to the checkpoint) ...",
        )
        self._step_seconds: list[float] = []
        self._bars = self.display.bars
        self._run = self._bars.add_task("", total=None, numbers="")
        self._part = self._bars.add_task("", total=None, numbers="", visible=False)

    def wants_stop(self) -> bool:
        """Whether the user asked the run to stop."""
        return self.display.stopped

    def on_sampling(self, what: str, total: int, done: int) -> None:
        """Starts the bar of a batch."""
        self._bars.reset(self._part, total=total, completed=done, description=what, visible=True)

    def on_sample(self, record: EvalRecord | None) -> None:
        """Advances it."""
        self._bars.advance(self._part)

    def on_step(self, record: StepRecord, timing: StepTiming, *, steps: int) -> None:
        """Shows the step's numbers; off a terminal, those of every tenth step."""
        self._step_seconds.append(
            timing.sample_s + timing.grade_s + timing.learn_s + timing.other_s
        )
        recent = self._step_seconds[-10:]
        done = record.step + 1
        left_s = (steps - done) * sum(recent) / len(recent)
        numbers = (
            f"step {done}/{steps}  length {record.tokens_mean:.1f} tokens  "
            f"accuracy {record.accuracy:.2f}  rewarded {record.positive_share:.2f}  "
            + (f"dropped groups {record.dropped_groups}  " if record.dropped_groups else "")
            + f"{left_s:.0f} s left"
        )
        self._bars.update(self._run, total=steps, completed=done, numbers=numbers)
        worth_a_line = done in (1, steps) or done % PLAIN_EVERY_STEPS == 0
        if not self.display.is_live and worth_a_line:
            self.display.say(numbers)

    def on_evaluation(self, step: int, records: Sequence[EvalRecord]) -> None:
        """Prints what was measured."""
        right = sum(r.grade is Grade.CORRECT and r.finish is Finish.STOP for r in records)
        mean = sum(record.tokens for record in records) / len(records)
        self.display.say(
            f"held-out after step {step:4d}: accuracy {right / len(records):.3f}, "
            f"length {mean:.1f} tokens (n = {len(records)} samples)"
        )

    def on_alarm(self, alarm: Alarm) -> None:
        """Prints what was seen and what to change."""
        self.display.say(
            f"{alarm.severity.value}: {alarm.name} at step {alarm.step + 1}: {alarm.evidence}. "
            f"{alarm.advice[0].upper()}{alarm.advice[1:]}.",
            style="bold red" if alarm.severity is Severity.ERROR else "yellow",
        )
