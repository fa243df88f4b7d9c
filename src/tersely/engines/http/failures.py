"""Samples that a server does not give: kept apart, until it is clear that it gives others."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from tersely.core.errors import EngineError
from tersely.core.types import Completion, Finish
from tersely.engines.http.reply import Transient
from tersely.engines.http.request import Chunk, Refused
from tersely.metrics.failures import kind_of_failure

# So many requests that all fail, before any succeeds, mean that none can.
FIRST_REQUESTS = 16
# So many in a row, in units of the requests in flight, mean that the server is gone; they must
# be of several problems, for one that the server cannot bear may have many samples.
ROUNDS_LOST, PROBLEMS_LOST = 3, 3
SAY_EVERY_S = 10.0
# Of a key, an account or a model, and not of one request.
REFUSED_BY_SERVER = (401, 402, 403, 404)
NAMED_PROBLEMS = 5
log = logging.getLogger(__name__)


class SampleFailure(NamedTuple):
    """A request that failed for good, and why; ``is_lost``: nobody answered it."""

    chunk: Chunk
    reason: str
    is_lost: bool


@dataclass
class FailureTally:
    """What has failed so far.

    A failure is handed over as a completion without text once a request succeeds after it, or
    at the end: those of a server that is gone are none of their problems' and are not kept.

    Args:
        concurrency: requests in flight.
        wanted: samples to be made.
        succeeded: a sample has been made, now or before.
        hand_over: takes the completions that stand for failed samples.
    """

    concurrency: int
    wanted: int
    succeeded: bool
    hand_over: Callable[[Completion], None]
    done: int = 0
    in_a_row: int = 0
    lost: int = 0
    waiting: list[SampleFailure] = field(default_factory=list)
    named: set[str] = field(default_factory=set)

    def note_success(self, samples: int) -> None:
        """Counts samples; the failures before them were their own."""
        self.done += samples
        self.succeeded = True
        self._settle()

    def note_ended(self, problem_id: str, failure: str | None) -> None:
        """Says that a sample came and counts as failed, as where a content filter ended it."""
        if failure is not None:
            self.lost += 1
            self._name(problem_id, failure)

    def note_failure(self, chunk: Chunk, error: Transient | EngineError) -> None:
        """Counts a request that was refused, or whose tries are used up.

        Raises:
            EngineError: nothing can succeed: all of the first requests failed, or so many in a
                row that the server must be gone.
        """
        is_lost = isinstance(error, Transient) and error.is_lost
        self.waiting.append(SampleFailure(chunk, str(error), is_lost))
        self.in_a_row = self.in_a_row + 1 if is_of_server(error) else 0
        if not self.succeeded:
            if len(self.waiting) >= FIRST_REQUESTS:
                raise self._none_succeed()
            return
        if not self.in_a_row:
            self._settle()
            return
        most = max(FIRST_REQUESTS, ROUNDS_LOST * self.concurrency)
        problems = {failure.chunk.problem.id for failure in self.waiting}
        if self.in_a_row >= most and len(problems) >= PROBLEMS_LOST:
            raise self._gone()

    def ends_lost(self) -> bool:
        """Whether nobody answered some of the last requests, and none has succeeded since."""
        return any(failure.is_lost for failure in self.waiting)

    def finish(self, *, is_gone: bool = False) -> None:
        """Hands over what is left, and says how to ask for what failed.

        Args:
            is_gone: no server answers any longer.
        Raises:
            EngineError: not one request succeeded, or the last ones met a server that is gone.
        """
        if self.waiting and not self.succeeded:
            raise self._none_succeed()
        if is_gone and self.ends_lost():
            raise self._gone()
        self._settle()
        if self.lost:
            samples = "sample" if self.lost == 1 else "samples"
            log.warning(
                "%s %s failed; the same command with --retry-failed asks for %s again",
                f"{self.lost:,}",
                samples,
                "it" if self.lost == 1 else "them",
            )

    def _settle(self) -> None:
        """Hands over the failures so far, for the server is there."""
        self.in_a_row = 0
        waiting, self.waiting = self.waiting, []
        for failure in waiting:
            self._keep(failure)

    def _keep(self, failure: SampleFailure) -> None:
        problem = failure.chunk.problem
        self.lost += len(failure.chunk.samples)
        self._name(problem.id, failure.reason)
        for sample in failure.chunk.samples:
            self.hand_over(
                Completion(
                    problem_id=problem.id,
                    sample=sample,
                    text="",
                    tokens=0,
                    finish=Finish.ERROR,
                    failure=failure.reason,
                )
            )

    def _name(self, problem_id: str, reason: str) -> None:
        if problem_id in self.named:
            return
        self.named.add(problem_id)
        if len(self.named) <= NAMED_PROBLEMS:
            log.warning("%s failed: %s", problem_id, reason)
        elif len(self.named) == NAMED_PROBLEMS + 1:
            log.warning("samples of more problems failed; the report counts them")

    def _gone(self) -> EngineError:
        n = len(self.waiting)
        many = "the last request" if n == 1 else f"{n:,} requests in a row"
        return EngineError(
            f"stopped after {many} failed (last: {self.waiting[-1].reason}); "
            f"{self.wanted - self.done:,} of {self.wanted:,} samples are missing: repair the "
            "server, then rerun the same command to sample the rest"
        )

    def _none_succeed(self) -> EngineError:
        failed = len(self.waiting)
        reasons = len({_coarse(failure.reason) for failure in self.waiting})
        first = f"{reasons:,} reasons, the last: " if reasons > 1 else ""
        return EngineError(
            f"none of {failed:,} {'request' if failed == 1 else 'requests'} succeeded ({first}"
            f"{self.waiting[-1].reason}); nothing was kept: mend that, then run the command again"
        )


def _coarse(reason: str) -> str:
    """Where a status says it, what the server says beside it differs from reply to reply."""
    return re.sub(r"(HTTP \d{3})\b.*", r"\1", kind_of_failure(reason), flags=re.DOTALL)


def is_of_server(error: Transient | EngineError) -> bool:
    """Whether a failure may be the server's as a whole, and not one prompt's."""
    if isinstance(error, Refused):
        return error.status in REFUSED_BY_SERVER
    return isinstance(error, Transient)


@dataclass
class RetryLines:
    """Says that requests are tried again: the first at once, then one line in ten seconds."""

    tries: int
    spoke: float = -SAY_EVERY_S
    unsaid: int = 0
    failed: int = 0

    def note(self, chunk: Chunk, why: str, *, number: int, wait_s: float) -> None:
        """Takes in one failed try; ``number`` counts from 1."""
        self.failed += 1
        if monotonic() - self.spoke < SAY_EVERY_S:
            self.unsaid += 1
            return
        others = f" ({self.unsaid:,} other tries failed meanwhile)" if self.unsaid else ""
        log.warning(
            "%s, sample %d: try %d of %d: %s; again in %.1f s%s",
            chunk.problem.id,
            chunk.samples[0],
            number,
            self.tries,
            why,
            wait_s,
            others,
        )
        self.spoke, self.unsaid = monotonic(), 0

    def finish(self) -> None:
        """Says how many tries failed in all, where not each was said."""
        if self.unsaid:
            log.warning("%d tries failed in all and were made again", self.failed)
