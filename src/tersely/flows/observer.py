"""What a training or an evaluation tells while it goes, and how it is asked to stop."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from tersely.core.types import EvalRecord, StepRecord, StepTiming
from tersely.dynamics.alarms import Alarm


@runtime_checkable
class Observer(Protocol):
    """Is told of every event of a run, and asked whether to stop after the current step."""

    def on_sampling(self, what: str, total: int, done: int) -> None:
        """A batch of ``total`` samples begins, of which ``done`` are there already."""

    def on_sample(self, record: EvalRecord | None) -> None:
        """One more sample of the batch is done.

        Args:
            record: its record where an evaluation has graded and saved it; None for a training
                rollout and for a forced answer.
        """

    def on_step(self, record: StepRecord, timing: StepTiming, *, steps: int) -> None:
        """A training step out of ``steps`` is done and recorded."""

    def on_evaluation(self, step: int, records: Sequence[EvalRecord]) -> None:
        """The evaluation after ``step`` training steps is done and recorded."""

    def on_alarm(self, alarm: Alarm) -> None:
        """An alarm is raised for the first time."""

    def wants_stop(self) -> bool:
        """Whether to stop before the next step."""


class Quiet:
    """Ignores every event; asks to stop when ``wants_stop`` says so, by default never."""

    def __init__(self, *, wants_stop: Callable[[], bool] = lambda: False) -> None:
        self.wants_stop = wants_stop

    def on_sampling(self, what: str, total: int, done: int) -> None: ...
    def on_sample(self, record: EvalRecord | None) -> None: ...
    def on_step(self, record: StepRecord, timing: StepTiming, *, steps: int) -> None: ...
    def on_evaluation(self, step: int, records: Sequence[EvalRecord]) -> None: ...
    def on_alarm(self, alarm: Alarm) -> None: ...


QUIET = Quiet()
