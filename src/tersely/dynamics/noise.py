"""A column of a step log with its noise, and how far it moved beyond that noise.

The noise is measured on the column itself, by the differences of records that follow each other, so
that a trend hardly enters: for a first-order autoregression with correlation rho the squares of the
differences over two records are 1 + rho times those over one. The last ten records do not enter: a
fall that has just begun would hide itself. Where the log says of how many rollouts a share is, the
binomial standard deviation is the least that is believed. Single wild records are drawn in to the
median of their neighbours.

A move is looked for between the mean of the last w records and the most extreme earlier mean of b
records, for all ``WINDOWS`` at once. It counts where it is as large as a rule asks for and beyond
``sqrt(2 log(LOOKS n / w n / b))`` standard errors: n records have about n / w separate later and
n / b separate earlier windows, so that every pair of lengths errs equally seldom, however long the
run is.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from tersely.dynamics.log import StepLog
from tersely.dynamics.scatter import Scatter, scatter

WINDOWS = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 23, 32, 45, 64, 90, 128, 180, 256])
LOOKS = 300.0
# Of a column's own, where other data show the same.
LEAST_ERRORS = 2.0
START, RECENT = 10, 20
# Of one comparison that is not looked for.
ERRORS = 4.25
WILD = 4.0
# Where a record stands for several steps, twice as many as the steps take are enough, but not below
# 5, or 3 for a window of the last ones.
SPARSE, FEW, SHORTEST = 2.0, 5, 3
ROUNDING = 1e-9
# Records by which the noise is measured: not the last, and so many before them.
LAST, MEASURED = 10, 400
# Of no more than so many, the halves are measured too, if they have this many.
FEW_MEASURED, FEWEST_OF_A_HALF, DOUBT_OF_A_HALF = 80, 6, 4.0
# An evaluation's noise before it is known, and how many evaluations that is worth.
USUAL_NOISE, KNOWN = 0.02, 3
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

# Of means before and after: whether the move is as large as a rule asks for.
Enough = Callable[[Float[np.ndarray, " P"], Float[np.ndarray, " P"]], Bool[np.ndarray, " P"] | bool]


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


class Pairs(NamedTuple):
    """Pairs P of an earlier and a later window: their records, their means, how far these are apart
    in the direction that is looked for, the standard error of that, and how many of it count."""

    early_P: Int[np.ndarray, " P"]
    late_P: Int[np.ndarray, " P"]
    before_P: Float[np.ndarray, " P"]
    after_P: Float[np.ndarray, " P"]
    moved_P: Float[np.ndarray, " P"]
    error_P: Float[np.ndarray, " P"]
    errors_P: Float[np.ndarray, " P"]


class NoisyColumn:
    """The defined values of a column, and their noise.

    Args:
        step_K: their steps.
        value_K: the values.
        least: the standard deviation that a record has at least.
        known: the standard deviation where it is known; records are then independent.
        thinned: of how many records one was kept, so that as many more were looked at.
    """

    def __init__(
        self,
        step_K: Float[np.ndarray, " K"],
        value_K: Float[np.ndarray, " K"],
        *,
        least: float = 0.0,
        known: float | None = None,
        thinned: float = 1.0,
    ) -> None:
        self.step_K, self.value_K, self._thinned = step_K, value_K, thinned
        self.size = int(value_K.size)
        self._least, self._known = least, known

    @cached_property
    def _measured(self) -> int:
        """Records up to which the noise is measured."""
        return max(self.size - LAST, min(self.size, 2 * LAST))

    @cached_property
    def gap_steps(self) -> float:
        """The steps for which a record stands: the usual distance of two."""
        gap_K = np.diff(self.step_K[-MEASURED:])
        return max(1.0, float(np.median(gap_K))) if gap_K.size else 1.0

    def records(self, steps: int, *, least: int = FEW) -> int:
        """How many records do for so many steps: fewer where the log was written seldom."""
        return min(steps, max(least, math.ceil(SPARSE * steps / self.gap_steps)))

    def covers(self, steps: int) -> bool:
        """There are records enough for so many steps."""
        return self.size >= self.records(steps)

    @cached_property
    def _scatter(self) -> tuple[Scatter, float]:
        """Of the records that are measured, and the error that follows. Few of them may all lie
        about one move, which passes for noise: then of that half of them where it is least."""
        value_K = self.value_K[max(0, self._measured - MEASURED) : self._measured]
        whole = scatter(value_K)
        found = [(whole, whole.error(self._least))]
        half, quarter = value_K.size // 2, value_K.size // 4
        if half >= FEWEST_OF_A_HALF and value_K.size <= FEW_MEASURED:
            parts = [scatter(value_K[n : n + half]) for n in (0, quarter, value_K.size - half)]
            found += [(each, each.error(self._least, doubt=DOUBT_OF_A_HALF)) for each in parts]
        return min(found, key=lambda each: each[1])

    @cached_property
    def correlation(self) -> float:
        """Of the noise of neighbouring records: 0 to 0.9."""
        return 0.0 if self._known is not None else self._scatter[0].correlation

    @cached_property
    def noise(self) -> float:
        """Standard deviation of one record about its mean."""
        return max(self._least, self._scatter[0].noise) if self._known is None else self._known

    @cached_property
    def _error(self) -> float:
        """Standard error of a mean, times the root of its records."""
        return self._scatter[1] if self._known is None else self._known

    def error(self, records: int) -> float:
        """Standard error of a mean of so many neighbouring records."""
        return float(self._error / records**0.5)

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

    def mean_until(self, step: float) -> float:
        """Of the ten records up to a step, or the first ones."""
        last = max(1, int(np.searchsorted(self.step_K, step, side="right")))
        return self.mean(max(0, last - START), last)

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
        shortest: tuple[int, int] = (START, START),
        given: float = 0.0,
        also: float = 0.0,
    ) -> Move | None:
        """The clearest fall from the highest earlier mean, or from the first, that is large enough
        (of the means before and after) and beyond the noise.

        Args:
            shortest: records of the earlier and the later window, at least.
            given: share of the mean before that does not count.
            also: standard errors of a fall in other data, which count as much as this column's.
        """
        pairs = self._pairs(1.0, from_start=from_start, shortest=shortest, given=given)
        return self._clearest(pairs, enough, also)

    def rose(
        self,
        enough: Enough,
        *,
        from_start: bool = False,
        shortest: tuple[int, int] = (START, START),
    ) -> Move | None:
        """The clearest rise from the lowest earlier mean, or from the first."""
        pairs = self._pairs(-1.0, from_start=from_start, shortest=shortest)
        return self._clearest(pairs, enough)

    def errors_below(self, *, shortest: tuple[int, int], given: float) -> float:
        """How many standard errors the last records lie below the highest earlier mean."""
        pairs = self._pairs(1.0, from_start=False, shortest=shortest, given=given)
        return float(np.max(pairs.moved_P / pairs.error_P, initial=0.0))

    @cached_property
    def _mean_BE(self) -> Float[np.ndarray, "B E"]:
        """Of so many records up to, not including, each; NaN where there are fewer."""
        end_E = np.arange(self.size + 1)
        first_BE = end_E - WINDOWS[:, None]
        sum_BE = self._sum_K[end_E] - self._sum_K[np.maximum(first_BE, 0)]
        return np.where(first_BE >= 0, sum_BE / WINDOWS[:, None], np.nan)

    @cached_property
    def _highest_BE(self) -> Float[np.ndarray, "B E"]:
        """The highest of these means up to each record."""
        return np.fmax.accumulate(self._mean_BE, axis=1)

    @cached_property
    def _lowest_BE(self) -> Float[np.ndarray, "B E"]:
        return np.fmin.accumulate(self._mean_BE, axis=1)

    def _pairs(
        self, sign: float, *, from_start: bool, shortest: tuple[int, int], given: float = 0.0
    ) -> Pairs:
        """Every pair of windows that fits into the records."""
        early_BW, late_BW = WINDOWS[:, None], WINDOWS[None, :]
        early, late = self.records(shortest[0]), self.records(shortest[1], least=SHORTEST)
        fits_BW = (early_BW >= early) & (late_BW >= late)
        b_P, w_P = np.nonzero(fits_BW & (early_BW + late_BW <= self.size))
        early_P, late_P = WINDOWS[b_P], WINDOWS[w_P]
        most_BE = self._highest_BE if sign > 0 else self._lowest_BE
        before_P = most_BE[b_P, early_P if from_start else self.size - late_P]
        after_P = self._mean_BE[w_P, self.size]
        looks_P = self._thinned * self.size / late_P * (1.0 if from_start else self.size / early_P)
        return Pairs(
            early_P=early_P,
            late_P=late_P,
            before_P=before_P,
            after_P=after_P,
            moved_P=sign * (before_P - after_P) - given * np.abs(before_P),
            error_P=np.maximum(
                self._error * (1 / early_P + 1 / late_P) ** 0.5, ROUNDING * np.abs(before_P)
            ),
            errors_P=(2 * np.log(LOOKS * looks_P)) ** 0.5,
        )

    def _clearest(self, pairs: Pairs, enough: Enough, also: float = 0.0) -> Move | None:
        errors_P = np.clip(2**0.5 * pairs.errors_P - also, LEAST_ERRORS, pairs.errors_P)
        beyond_P = pairs.moved_P - errors_P * pairs.error_P
        counts_P = (beyond_P > 0) & enough(pairs.before_P, pairs.after_P)
        if not counts_P.any():
            return None
        apart_P = (1 / pairs.early_P + 1 / pairs.late_P) ** 0.5
        best = int(np.argmax(np.where(counts_P, beyond_P / apart_P, -np.inf)))
        early, late, before = (each[best].item() for each in pairs[:3])
        ends_E = self._mean_BE[np.searchsorted(WINDOWS, early), : self.size - late + 1]
        end = int(np.nonzero(ends_E == before)[0][0])
        return Move(
            before,
            float(pairs.after_P[best]),
            float(np.hypot(self.error(early), self.error(late))),
            float(self.step_K[end - early]),
            float(self.step_K[end - 1]),
            float(self.step_K[-late]),
        )

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
    """A step log as the alarms read it: each column with its noise, worked out once.

    Args:
        records: of the log that was thinned to this one.
    """

    def __init__(self, log: StepLog, *, records: int | None = None) -> None:
        self.step_N, self.staleness = log.step_N, log.staleness
        self._thinned = 1.0 if records is None else records / max(1, log.step_N.size)
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
                known = _noise_of_evaluations(value_K) if name == "eval_accuracy" else None
                step_K = self.step_N[known_N]
                self._read[key] = NoisyColumn(
                    step_K, value_K, least=least, known=known, thinned=self._thinned
                )
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


def _noise_of_evaluations(value_K: Float[np.ndarray, " K"]) -> float:
    """That of second differences, which no trend enters, and three more of a usual evaluation."""
    square = float(np.sum(np.diff(value_K, n=2) ** 2)) / 6
    count = max(value_K.size - 2, 0)
    return float(((square + KNOWN * USUAL_NOISE**2) / (count + KNOWN)) ** 0.5)
