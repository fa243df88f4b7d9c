"""What an evaluation tells while it goes."""

from typing import Protocol, runtime_checkable

from tersely.core.types import EvalRecord


@runtime_checkable
class EvaluationObserver(Protocol):
    """Who looks on."""

    def on_sampling(self, what: str, total: int, done: int) -> None:
        """A part of ``total`` samples begins, of which ``done`` are there already."""

    def on_record(self, record: EvalRecord) -> None:
        """One more sample is graded and saved."""

    def on_forced(self) -> None:
        """One more forced answer is graded and saved."""
