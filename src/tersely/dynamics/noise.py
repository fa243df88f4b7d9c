"""A column of a step log with its noise, and how far it moved beyond that noise.

The noise is measured on the column itself, by the differences of records that follow each other, so
that a trend hardly enters: for a first-order autoregression with correlation rho the squares of the
differences over two records are 1 + rho times those over one. Where the log says of how many
rollouts a share is, the binomial standard deviation is the least that is believed. Single wild
records are drawn in to the median of their neighbours.

A move is looked for between means of ``WINDOWS`` records: short ones for what is plain, long ones
for what is not. It counts where it is as large as a rule asks for and ``ERRORS`` standard errors: a
log is looked at hundreds of times, at many earlier windows each, by some twenty rules.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view

from tersely.dynamics.log import StepLog

LATELY_OVER, EARLIER_OVER = (3, 5, 10, 20, 40, 80), (10, 20, 40, 80)
START, RECENT = 10, 20
# Of a move from the first mean, and of one from the extreme of all earlier means.
ERRORS, ERRORS_OF_EXTREME, ERRORS_OF_REST = 4.25, 4.75, 3.5
WILD = 4.0
MOST_CORRELATED = 0.9
# Where a record stands for several steps, half as many are enough as those steps, but not below 5.
SPARSE, FEW, SHORTEST = 2.0, 5, 3
ROUNDING = 1e-9
# Records by which the noise is measured.
LATELY = 400
# The noise of few records is itself hardly known: a quarter more at 30 records.
UNSURE = 8.0
# Of the absolute values of a normal variable, three quarters lie below this.
THREE_QUARTERS = 1.1503
# Shares of the step's prompts, and of its rollouts.
OF_PROMPTS = ("solved_share", "zero_signal_share")
OF_ROLLOUTS = (
    "accuracy",
    "positive_share",
    "truncated_share",
    "unparsed_share",
    "ungraded_share",
    "looping_share",
)

Enough = Callable[[float, float], bool]


class Move(NamedTuple):
    """A column's mean before and lately, over ``window`` records each.

    Args:
        error: standard error of their difference.
        at, until: first and last step of the earlier window.
        lately: first step of the later one.
    """

    before: float
    after: float
    error: float
    at: float
    until: float
    lately: float


class NoisyColumn:
    """The defined values of a column, and their noise.

    Args:
        step_K: their steps.
        value_K: the values.
        least: the standard deviation that a record has at least.
    """

    def __init__(
        self,
        step_K: Float[np.ndarray, " K"],
        value_K: Float[np.ndarray, " K"],
        *,
        least: float = 0.0,
    ) -> None:
        self.step_K, self.value_K = step_K, value_K
        self.size = int(value_K.size)
        self._least = least

    @cached_property
    def gap_steps(self) -> float:
        """The steps for which a record stands: the usual distance of two."""
        gap_K = np.diff(self.step_K[-LATELY:])
        return max(1.0, float(np.median(gap_K))) if gap_K.size else 1.0

    def records(self, steps: int, *, least: int = FEW) -> int:
        """How many records do for so many steps: fewer where the log was written seldom."""
        return min(steps, max(least, math.ceil(SPARSE * steps / self.gap_steps)))

    def covers(self, steps: int) -> bool:
        """There are records enough for so many steps."""
        return self.size >= self.records(steps)

    @cached_property
    def _spreads(self) -> tuple[float, float]:
        """Of the differences over one record and over two; 0 for two where most values repeat."""
        value_K = self.value_K[-LATELY:]
        near, usual = _spread(value_K[1:] - value_K[:-1])
        return near, _spread(value_K[2:] - value_K[:-2])[0] if usual else 0.0

    @cached_property
    def correlation(self) -> float:
        """Of the noise of neighbouring records: 0 to 0.9."""
        near, over_two = self._spreads
        if self.size < 4 or not over_two:
            return 0.0
        rho = (over_two / near) ** 2 - 1
        return min(max(rho, 0.0), MOST_CORRELATED)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of one record about its mean."""
        return float(max(self._least, self._spreads[0] / (2 * (1 - self.correlation)) ** 0.5))

    def error(self, records: int) -> float:
        """Standard error of a mean of so many neighbouring records."""
        rho = self.correlation
        unsure = 1 + UNSURE / self.size
        return float(unsure * self.noise * ((1 + rho) / (1 - rho) / records) ** 0.5)

    @cached_property
    def tame_K(self) -> Float[np.ndarray, " K"]:
        """The values, wild ones drawn in to the median of five."""
        if self.size < 5:
            return self.value_K
        first, last = self.value_K[0], self.value_K[-1]
        padded = np.concatenate(([first, first], self.value_K, [last, last]))
        near_K = np.partition(sliding_window_view(padded, 5), 2, axis=-1)[:, 2]
        far = WILD * self.noise
        tame_K: Float[np.ndarray, " K"] = np.clip(self.value_K, near_K - far, near_K + far)
        return tame_K

    @cached_property
    def _sum_K(self) -> Float[np.ndarray, " K1"]:
        return np.append(0.0, np.cumsum(self.tame_K))

    def mean(self, first: int, last: int) -> float:
        """Of the records from the first up to, but not including, the last."""
        return float((self._sum_K[last] - self._sum_K[first]) / (last - first))

    def start(self, records: int = START) -> float:
        """Mean of the first records."""
        return self.mean(0, min(self.records(records), self.size))

    def recent(self, records: int = RECENT) -> float:
        """Mean of the last records."""
        return self.mean(max(0, self.size - self.records(records)), self.size)

    def fell(
        self,
        enough: Enough,
        *,
        from_start: bool = False,
        shortest: int = START,
        given: float = 0.0,
    ) -> Move | None:
        """The fall from the highest earlier mean, or from the first, that is large enough (of the
        means before and after) and beyond the noise; what is beyond the share ``given`` has to be
        3.5 standard errors too."""
        return self._moved(enough, sign=1.0, from_start=from_start, shortest=shortest, given=given)

    def rose(
        self, enough: Enough, *, from_start: bool = False, shortest: int = START
    ) -> Move | None:
        """The rise from the lowest earlier mean, or from the first."""
        return self._moved(enough, sign=-1.0, from_start=from_start, shortest=shortest)

    def _moved(
        self,
        enough: Enough,
        *,
        sign: float,
        from_start: bool,
        shortest: int,
        given: float = 0.0,
    ) -> Move | None:
        errors = ERRORS if from_start else ERRORS_OF_EXTREME
        start, shortest = self.records(START), self.records(shortest, least=SHORTEST)
        for window in (each for each in LATELY_OVER if shortest <= each <= self.size - start):
            after = self.mean(self.size - window, self.size)
            for early in (start, *EARLIER_OVER) if start < START else EARLIER_OVER:
                if not window <= early <= self.size - window:
                    continue
                last = 1 if from_start else self.size - window - early + 1
                first_W = np.arange(0, last, early // 2)
                mean_W = (self._sum_K[first_W + early] - self._sum_K[first_W]) / early
                best = int(np.argmax(sign * mean_W))
                before, moved = float(mean_W[best]), sign * (float(mean_W[best]) - after)
                error = float(np.hypot(self.error(early), self.error(window)))
                least = max(
                    errors * error,
                    ROUNDING * abs(before),
                    given * abs(before) + ERRORS_OF_REST * error if given else 0.0,
                )
                if moved > least and enough(before, after):
                    at, until = self.step_K[[first_W[best], first_W[best] + early - 1]]
                    lately = float(self.step_K[-window])
                    return Move(before, after, error, float(at), float(until), lately)
        return None

    def over(self, move: Move) -> Move | None:
        """What this column did between the two windows of another one's move."""
        before_K = (self.step_K >= move.at) & (self.step_K <= move.until)
        after_K = self.step_K >= move.lately
        counts = int(before_K.sum()), int(after_K.sum())
        if not all(counts):
            return None
        error = float(np.hypot(self.error(counts[0]), self.error(counts[1])))
        before, after = (float(self.tame_K[where_K].mean()) for where_K in (before_K, after_K))
        return Move(before, after, error, move.at, move.until, move.lately)


class NoisyLog:
    """A step log as the alarms read it: each column with its noise, worked out once."""

    def __init__(self, log: StepLog) -> None:
        self.step_N, self.staleness = log.step_N, log.staleness
        self.log = log
        self._read: dict[tuple[str, bool], NoisyColumn | None] = {}

    def get(self, name: str) -> NoisyColumn | None:
        """A column; None where it has no value."""
        return self._column(name, logarithm=False)

    def logarithm(self, name: str) -> NoisyColumn | None:
        """The logarithm of a column's positive values: for noise that grows with the mean."""
        return self._column(name, logarithm=True)

    def _column(self, name: str, *, logarithm: bool) -> NoisyColumn | None:
        key = name, logarithm
        if key not in self._read:
            values_N = self.log.get(name)
            known_N = np.isfinite(values_N) if values_N is not None else np.zeros(0, dtype=bool)
            if logarithm and values_N is not None:
                known_N &= values_N > 0
            if values_N is None or not known_N.any():
                self._read[key] = None
            else:
                value_K = np.log(values_N[known_N]) if logarithm else values_N[known_N]
                least = 0.0 if logarithm else self._binomial(name, value_K)
                self._read[key] = NoisyColumn(self.step_N[known_N], value_K, least=least)
        return self._read[key]

    def _binomial(self, name: str, value_K: Float[np.ndarray, " K"]) -> float:
        """Standard deviation of a share of the step's rollouts, or prompts, drawn independently."""
        of = "prompts" if name in OF_PROMPTS else "rollouts"
        counts_N = self.log.columns.get(of)
        if counts_N is None or name not in (*OF_PROMPTS, *OF_ROLLOUTS):
            return 0.0
        count = float(np.nanmean(counts_N)) if np.isfinite(counts_N).any() else 0.0
        if count <= 0:
            return 0.0
        share = (float(value_K.mean()) * count + 0.5) / (count + 1)
        return float(max(share * (1 - share) / count, 0.0) ** 0.5)


def _spread(difference_K: Float[np.ndarray, " K"]) -> tuple[float, float]:
    """Root mean square about the median, what lies beyond three usual deviations drawn in; and the
    usual one, which three quarters fit: 0 where most values repeat the one before."""
    if not difference_K.size:
        return 0.0, 0.0
    size_K = np.sort(np.abs(difference_K - np.sort(difference_K)[difference_K.size // 2]))
    usual = float(size_K[3 * (size_K.size - 1) // 4]) / THREE_QUARTERS
    if usual > 0:
        size_K = np.minimum(size_K, 3 * usual)
    return float(size_K @ size_K / size_K.size) ** 0.5, usual
