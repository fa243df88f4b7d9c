"""What a run shows while it goes: one live line of numbers on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from types import FrameType, TracebackType

from rich import progress as bars
from rich.console import Console

from tersely.core.types import EvalRecord, Finish, Grade, StepRecord, StepTiming

PLAIN_EVERY_STEPS = 10


class Progress:
    """Watches a run; the first interrupt asks it to stop after the step, the second at once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stop = False
        self._step_seconds: list[float] = []
        self._bars = bars.Progress(
            bars.BarColumn(bar_width=8),
            bars.TextColumn("{task.description}{task.fields[numbers]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._run = self._bars.add_task("", total=None, numbers="")
        self._part = self._bars.add_task("", total=None, numbers="", visible=False)

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """A signal handler."""
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True
        self._console.print("stopping after this step (again: at once, back to the checkpoint) ...")

    def wants_stop(self) -> bool:
        """Whether somebody asked."""
        return self._stop

    def on_sampling(self, what: str, total: int) -> None:
        """A batch of rollouts begins."""
        self._bars.reset(self._part, total=total, description=what, visible=True)

    def on_rollout(self) -> None:
        """One of them is finished."""
        self._bars.advance(self._part)

    def on_step(self, record: StepRecord, timing: StepTiming, *, steps: int) -> None:
        """A training step is done."""
        self._step_seconds.append(
            timing.sample_s + timing.grade_s + timing.learn_s + timing.other_s
        )
        recent = self._step_seconds[-10:]
        left_s = (steps - record.step - 1) * sum(recent) / len(recent)
        numbers = (
            f"step {record.step + 1}/{steps}  length {record.tokens_mean:.1f} tokens  "
            f"accuracy {record.accuracy:.2f}  rewarded {record.positive_share:.2f}  "
            + (f"dropped groups {record.dropped_groups}  " if record.dropped_groups else "")
            + f"{left_s:.0f} s left"
        )
        self._bars.update(self._run, total=steps, completed=record.step + 1, numbers=numbers)
        done = record.step + 1
        worth_a_line = done in (1, steps) or done % PLAIN_EVERY_STEPS == 0
        if not self._console.is_terminal and worth_a_line:
            self._console.print(numbers, highlight=False, soft_wrap=True)

    def on_evaluation(self, step: int, records: Sequence[EvalRecord]) -> None:
        """An evaluation is done."""
        right = sum(r.grade is Grade.CORRECT and r.finish is Finish.STOP for r in records)
        mean = sum(record.tokens for record in records) / len(records)
        self._console.print(
            f"held-out after step {step:4d}: accuracy {right / len(records):.3f}, "
            f"length {mean:.1f} tokens (n = {len(records)} samples)",
            highlight=False,
            soft_wrap=True,
        )
