"""What an evaluation shows while it goes: a live line on a terminal, plain lines elsewhere."""

from time import monotonic
from types import TracebackType

from rich import progress as bars
from rich.console import Console

from tersely.core.types import EvalRecord, Finish, Grade, Problem
from tersely.flows.evaluate.preflight import shown

PLAIN_EVERY_S = 10.0


class EvalProgress:
    """Counts samples, right answers and tokens as they come in."""

    def __init__(self, console: Console) -> None:
        self.done = 0
        self._console = console
        self._total, self._new, self._right, self._tokens = 0, 0, 0, 0
        self._began = self._spoke = monotonic()
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(bar_width=6),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[numbers]}"),
            bars.TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("", total=None, numbers="")

    def __enter__(self) -> "EvalProgress":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def on_sampling(self, what: str, total: int, done: int) -> None:
        """A part of ``total`` samples begins, of which ``done`` are there already."""
        self.done, self._total, self._new = done, total, 0
        self._right = self._tokens = 0
        self._began = self._spoke = monotonic()
        self._bars.reset(self._task, total=total, completed=done, description=what, numbers="")
        if done:
            self._console.print(f"{what}: {done:,} of {total:,} are there already", highlight=False)

    def on_first(self, problem: Problem, record: EvalRecord) -> None:
        """The first sample of all is graded."""
        for line in shown(problem, record):
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def on_record(self, record: EvalRecord) -> None:
        """One more sample is graded and saved."""
        self._right += record.grade is Grade.CORRECT and record.finish is Finish.STOP
        self._tokens += record.tokens
        self._advance()

    def on_forced(self) -> None:
        """One more forced answer is graded and saved."""
        self._advance()

    def _advance(self) -> None:
        self.done += 1
        self._new += 1
        seconds = monotonic() - self._began
        numbers = ""
        if self._tokens:
            # Short samples end first, so the first two rise as it goes.
            numbers = (
                f"so far {self._right / self._new:.0%} right, "
                f"{self._tokens / self._new:,.0f} tokens each  "
                f"{self._tokens / max(seconds, 1e-9):,.0f} tokens/s"
            )
        self._bars.update(self._task, completed=self.done, numbers=numbers)
        if not self._console.is_terminal and monotonic() - self._spoke >= PLAIN_EVERY_S:
            self._spoke = monotonic()
            left_s = seconds / self._new * (self._total - self.done)
            self._console.print(
                f"{self.done:,} of {self._total:,} samples  {numbers}  about {left_s:,.0f} s left",
                highlight=False,
                soft_wrap=True,
            )
