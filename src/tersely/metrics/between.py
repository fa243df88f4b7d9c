"""What a router between evaluations would save: of each problem the cheapest that is right on it.

It takes one vote at the sampled cap. A problem goes to the cheapest evaluation that is right in at
least half of its samples, and to the cheapest of all where none is. Known from the same samples
that it is judged by, such a router looks better than it can be; so it also chooses by one half of
each problem's samples and is judged by the other, over many halves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely.metrics.intervals import Interval, averages
from tersely.metrics.records import SampleTable
from tersely.metrics.routing import RoutedCost
from tersely.metrics.simultaneous import bound_ratios, bound_shares

SPLITS = 20
RIGHT_ENOUGH = 0.5


class RoutedBetween(NamedTuple):
    """The router between I evaluations, against the most accurate of them for every problem.

    Args:
        best: the place of that one; of equal ones the cheapest.
        unrouted: its accuracy.
        bound: known from the samples it is judged by; ``cost`` is a multiple of that of ``best``.
        held_out: known from the other half of each problem's samples; None where some problem has
            one sample.
        share_I: of problems that go to each evaluation, known from all samples.
    """

    best: int
    unrouted: Interval
    bound: RoutedCost
    held_out: RoutedCost | None
    share_I: tuple[float, ...]


def route_between(
    tables: Sequence[SampleTable],
    *,
    lines: Sequence[tuple[float, float]],
    critical: float,
    rng: np.random.Generator,
) -> RoutedBetween:
    """The router over tables of the same problems, each with a graded sample of every problem.

    Args:
        lines: of each, the cost of a vote without a token, and of each token.
    """
    every = [table.graded_PS for table in tables]
    right_PI, cost_PI = _average(tables, every, lines)
    mean_I, paid_I = right_PI.mean(axis=0), cost_PI.mean(axis=0)
    best = int(np.lexsort((paid_I, -mean_I))[0])
    samples_1 = np.array([sum(int(graded_PS.sum()) for graded_PS in every)])

    def judge(right_P: np.ndarray, cost_P: np.ndarray) -> RoutedCost:
        shares = bound_shares(averages(right_P[:, None]), n_samples_M=samples_1, critical=critical)
        base_P1 = cost_PI[:, [best]]
        ratios = bound_ratios(cost_P[:, None], base_P1, n_samples_M=samples_1, critical=critical)
        return RoutedCost(shares[0], ratios[0])

    choice_P = _choose(right_PI, cost_PI)
    unrouted = averages(right_PI[:, [best]])
    enough = all((graded_PS.sum(axis=1) > 1).all() for graded_PS in every)
    return RoutedBetween(
        best,
        bound_shares(unrouted, n_samples_M=samples_1, critical=critical)[0],
        judge(*_take(choice_P, right_PI, cost_PI)),
        judge(*_cross_halves(tables, lines, rng=rng)) if enough else None,
        tuple((np.bincount(choice_P, minlength=len(tables)) / len(choice_P)).tolist()),
    )


def _average(
    tables: Sequence[SampleTable],
    kept: Sequence[np.ndarray],
    lines: Sequence[tuple[float, float]],
) -> tuple[Float[np.ndarray, "P I"], Float[np.ndarray, "P I"]]:
    """Share right, and mean cost, of the samples kept of each table."""
    right, cost = [], []
    for table, kept_PS, (start, scale) in zip(tables, kept, lines, strict=True):
        n_P = kept_PS.sum(axis=1)
        right.append((kept_PS & table.correct_PS & table.finished_PS).sum(axis=1) / n_P)
        cost.append(start + scale * np.where(kept_PS, table.tokens_PS, 0).sum(axis=1) / n_P)
    return np.stack(right, axis=1), np.stack(cost, axis=1)


def _choose(right_PI: np.ndarray, cost_PI: np.ndarray) -> np.ndarray:
    enough_PI = right_PI >= RIGHT_ENOUGH
    enough_PI |= ~enough_PI.any(axis=1, keepdims=True)
    return np.asarray(np.where(enough_PI, cost_PI, np.inf).argmin(axis=1))


def _take(choice_P: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    rows_P = np.arange(len(choice_P))
    return tuple(values_PI[rows_P, choice_P] for values_PI in values)


def _cross_halves(
    tables: Sequence[SampleTable],
    lines: Sequence[tuple[float, float]],
    *,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
    """Each problem's accuracy and cost, chosen by half of its samples and judged by the others."""
    sums = [np.zeros(len(tables[0].keys)) for _ in range(2)]
    for _ in range(SPLITS):
        first = [_draw_half(table.graded_PS, rng=rng) for table in tables]
        others = [t.graded_PS & ~half_PS for t, half_PS in zip(tables, first, strict=True)]
        for seen, judged in ((first, others), (others, first)):
            choice_P = _choose(*_average(tables, seen, lines))
            taken = _take(choice_P, *_average(tables, judged, lines))
            for sum_P, value_P in zip(sums, taken, strict=True):
                sum_P += value_P / (2 * SPLITS)
    return sums[0], sums[1]


def _draw_half(
    graded_PS: Bool[np.ndarray, "P S"], *, rng: np.random.Generator
) -> Bool[np.ndarray, "P S"]:
    """A random half of each problem's graded samples, rounded down."""
    drawn_PS = np.where(graded_PS, rng.random(graded_PS.shape), np.inf)
    rank_PS = drawn_PS.argsort(axis=1).argsort(axis=1)
    return np.asarray(graded_PS & (rank_PS < graded_PS.sum(axis=1)[:, None] // 2))
