"""Which of several evaluations are on the Pareto front of accuracy against tokens, and how sure
that is."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from tersely.metrics.budgets import Protocol, score
from tersely.metrics.chance import resample
from tersely.metrics.intervals import (
    RESAMPLES,
    Interval,
    Sums,
    estimate,
    evaluate,
    resample_counts,
)
from tersely.metrics.records import BudgetOf, SampleTable, select
from tersely.metrics.significance import PERMUTATIONS, beyond_chance, holm

# So that Holm's correction can leave the smallest p that permutations give below .05.
PERMUTATIONS_A_TEST = 40


class FrontPoint(NamedTuple):
    """One evaluation at one budget.

    Args:
        tokens: mean of what a sample spends before it ends or reaches the budget, in what budgets
            count.
        dominated_by: the places of those with no lower accuracy and no more tokens, one of them
            better, those that are so beyond chance first; empty on the front.
        settled: that it is dominated, or that none dominates it, is beyond chance.
    """

    accuracy: Interval
    tokens: Interval
    dominated_by: tuple[int, ...]
    settled: bool


class Front(NamedTuple):
    """All evaluations at one budget, in the order in which they were given."""

    budget_tokens: int
    points: tuple[FrontPoint, ...]


class Fronts(NamedTuple):
    """The front at each budget. ``n_tests`` is how many p-values are corrected for at each."""

    protocol: Protocol
    fronts: tuple[Front, ...]
    n_tests: int
    budget_of: BudgetOf = BudgetOf.TOKENS


def place_on_fronts(
    tables: Sequence[SampleTable],
    *,
    budgets: Sequence[int],
    protocol: Protocol,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Fronts:
    """The Pareto front at each budget, over the problems that every table has a grade of.

    i is dominated for sure if one other has a higher accuracy and fewer tokens, both beyond
    chance; it is on the front for sure if of each other it has, beyond chance, the higher accuracy
    or the fewer tokens. Chance: permutation within problems, corrected by Holm for all pairs and
    both axes at the budget. Tables must hold the same problems in the same order and one cap.
    """
    budgets = sorted(set(budgets))
    graded_P = np.all([table.graded_PS.any(axis=1) for table in tables], axis=0)
    kept = [select(table, rows_P=np.flatnonzero(graded_P)) for table in tables]
    axes = [_sum_axes(table, budgets=budgets, protocol=protocol) for table in kept]
    values_IAB = np.array([evaluate(each).reshape(2, len(budgets)) for each in axes])
    better_IJAB = _beyond_chance(kept, values_IAB, budgets=budgets, protocol=protocol, rng=rng)
    counts_RP = resample_counts(int(graded_P.sum()), rng=rng, resamples=resamples)
    levels = [_estimate(each, table, counts_RP) for each, table in zip(axes, kept, strict=True)]
    fronts = tuple(
        Front(budget, _place(values_IAB[:, :, at], better_IJAB[:, :, :, at], levels, at=at))
        for at, budget in enumerate(budgets)
    )
    n_tests = len(tables) * (len(tables) - 1)
    return Fronts(protocol, fronts, n_tests, tables[0].budget_of)


def _sum_axes(table: SampleTable, *, budgets: Sequence[int], protocol: Protocol) -> Sums:
    """Accuracy at each budget, then tokens spent within each."""
    budgets_B = np.array(budgets)
    accuracy_PB = score(table, budgets_B=budgets_B, protocol=protocol).accuracy_PB
    spent_PSB = np.minimum(table.spent_PS[:, :, None], budgets_B) * table.graded_PS[:, :, None]
    n_PB = np.repeat(table.graded_PS.sum(axis=1)[:, None], len(budgets), axis=1)
    return Sums(
        np.hstack([accuracy_PB, spent_PSB.sum(axis=1).astype(np.float64)]),
        np.hstack([np.ones_like(accuracy_PB), n_PB.astype(np.float64)]),
    )


def _beyond_chance(
    tables: Sequence[SampleTable],
    values_IAB: Float[np.ndarray, "I 2 B"],
    *,
    budgets: Sequence[int],
    protocol: Protocol,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "I I 2 B"]:
    """Whether i is better than j beyond chance: in accuracy, and in tokens."""

    def both(left: SampleTable, right: SampleTable) -> tuple[Sums, Sums]:
        one, other = (_sum_axes(t, budgets=budgets, protocol=protocol) for t in (left, right))
        return one, other

    pooled_M = np.arange(2 * len(budgets)) >= len(budgets)
    pairs = list(combinations(range(len(tables)), 2))
    permutations = max(PERMUTATIONS, PERMUTATIONS_A_TEST * 2 * len(pairs))
    p_NAB = np.empty((len(pairs), *values_IAB.shape[1:]))
    for place, (i, j) in enumerate(pairs):
        chance = resample(
            tables[i], tables[j], both, pooled_M=pooled_M, rng=rng, permutations=permutations
        )
        seen_M = (values_IAB[j] - values_IAB[i]).ravel()
        p_NAB[place] = chance.p_values(seen_M).reshape(values_IAB.shape[1:])
    for at in range(values_IAB.shape[2]):
        p_NAB[:, :, at] = holm(p_NAB[:, :, at].ravel()).reshape(len(pairs), 2)
    better_IJAB = np.zeros((len(tables), *values_IAB.shape), dtype=bool)
    signs_A = np.array([1.0, -1.0])[:, None]
    for place, (i, j) in enumerate(pairs):
        clear_AB = np.vectorize(beyond_chance, otypes=[bool])(p_NAB[place])
        ahead_AB = signs_A * (values_IAB[i] - values_IAB[j])
        better_IJAB[i, j] = clear_AB & (ahead_AB > 0)
        better_IJAB[j, i] = clear_AB & (ahead_AB < 0)
    return better_IJAB


def _estimate(
    axes: Sums, table: SampleTable, counts_RP: UInt8[np.ndarray, "R P"]
) -> list[Interval]:
    n_budgets = axes.a_PM.shape[1] // 2
    return estimate(
        axes,
        shares_M=np.arange(2 * n_budgets) < n_budgets,
        n_samples_M=np.full(2 * n_budgets, int(table.graded_PS.sum())),
        counts_RP=counts_RP,
    )


def _place(
    values_IA: Float[np.ndarray, "I 2"],
    better_IJA: Bool[np.ndarray, "I I 2"],
    levels: Sequence[Sequence[Interval]],
    *,
    at: int,
) -> tuple[FrontPoint, ...]:
    gain_IA = values_IA * np.array([1.0, -1.0])
    points = []
    for i, of_each in enumerate(levels):
        no_worse_J, better_J = (
            (gain_IA >= gain_IA[i]).all(axis=1),
            (gain_IA > gain_IA[i]).any(axis=1),
        )
        dominating_J = np.asarray(no_worse_J) & np.asarray(better_J)
        others_J = np.arange(len(levels)) != i
        sure_J = np.asarray(better_IJA[:, i].all(axis=1))
        settled = bool(
            sure_J.any() if dominating_J.any() else better_IJA[i].any(axis=1)[others_J].all()
        )
        points.append(
            FrontPoint(
                of_each[at],
                of_each[len(of_each) // 2 + at],
                tuple(sorted(np.flatnonzero(dominating_J).tolist(), key=lambda j: not sure_J[j])),
                settled,
            )
        )
    return tuple(points)
