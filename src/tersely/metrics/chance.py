"""What chance alone does to two runs of the same problems, whatever their numbers of samples.

Swapping whole problems asks whether the difference holds over problems. It takes for granted that
a problem's difference is as often up as down, and of 4 samples against 16 that does not hold: a
model that is nearly always right shows a small fall in most problems and a large gain in a few.
The graded samples of a problem whose numbers differ are therefore dealt out anew as well; the
others are swapped, so that one sample without a grade changes next to nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely.metrics.intervals import LEVEL, Interval, Sums
from tersely.metrics.records import SampleTable, arrays_of_samples, take
from tersely.metrics.significance import PERMUTATIONS, Swaps, p_values, regroup, swap

# Ways to deal out a problem's samples; each permutation takes one of them for each problem.
DEALS = 32
MeasureBoth = Callable[[SampleTable, SampleTable], tuple[Sums, Sums]]
Moved = Callable[[Swaps], Float[np.ndarray, "R M"]]


def moves(swaps: Swaps) -> Float[np.ndarray, "R M"]:
    """After - before."""
    return np.asarray(swaps.after_RM - swaps.before_RM)


class ByChance(NamedTuple):
    """The statistics of both runs after swaps, and after deals where samples differ in number."""

    swaps: Swaps
    deals: Swaps | None = None

    def p_values(
        self, seen_M: Float[np.ndarray, " M"], moved: Moved = moves
    ) -> Float[np.ndarray, " M"]:
        """The larger p of the two tests of what was seen; ``moved`` gives its like by chance."""
        p_M = p_values(seen_M, moved(self.swaps))
        return p_M if self.deals is None else np.fmax(p_M, p_values(seen_M, moved(self.deals)))

    def widen(self, intervals: list[Interval], moved: Moved = moves) -> list[Interval]:
        """Intervals that are at least as wide as deals alone make them, where chance could make as
        large a difference as was seen.

        A bootstrap of problems cannot know of rare large gains that happen not to be there. Where
        the difference is larger, deals mix two models and would be too wide.
        """
        if self.deals is None:
            return intervals
        moved_RM = np.nan_to_num(np.abs(moved(self.deals)), nan=0.0)
        half_M = np.quantile(moved_RM, LEVEL, axis=0, method="higher")
        return [
            each._replace(
                low=min(each.low, each.estimate - half), high=max(each.high, each.estimate + half)
            )
            if half >= abs(each.estimate)
            else each
            for each, half in zip(intervals, half_M.tolist(), strict=True)
        ]


def resample(
    before: SampleTable,
    after: SampleTable,
    measure: MeasureBoth,
    *,
    pooled_M: Bool[np.ndarray, " M"],
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> ByChance:
    """Both runs after random swaps of problems, and deals of samples where their numbers differ.

    Args:
        measure: the sums of two tables, M statistics of each.
        pooled_M: which of them weigh a problem by its samples.
    """
    n_P = [table.graded_PS.sum(axis=1) for table in (before, after)]
    sums = measure(before, after)
    equal_P1 = (n_P[0] == n_P[1])[:, None]
    if equal_P1.all():
        return ByChance(swap(*sums, rng=rng, permutations=permutations))
    # A problem must weigh the same on whichever side its samples stand.
    weights = [np.where(pooled_M, 1.0 / np.maximum(n, 1)[:, None], 1.0) for n in n_P]
    even = [Sums(s.a_PM * w, s.b_PM * w) for s, w in zip(sums, weights, strict=True)]
    dealt = [sums]
    for at in range(1, DEALS):
        anew, whole = measure(*deal(before, after, rng=rng)), sums[:: -1 if at % 2 else 1]
        dealt.append((_pick(equal_P1, whole[0], anew[0]), _pick(equal_P1, whole[1], anew[1])))
    return ByChance(
        swap(even[0], even[1], rng=rng, permutations=permutations),
        regroup(dealt, rng=rng, permutations=permutations),
    )


def _pick(which_P1: Bool[np.ndarray, "P 1"], one: Sums, other: Sums) -> Sums:
    """The sums of one in these problems, of the other elsewhere."""
    return Sums(*(np.where(which_P1, *pair) for pair in zip(one, other, strict=True)))


def deal(
    before: SampleTable, after: SampleTable, *, rng: np.random.Generator
) -> tuple[SampleTable, SampleTable]:
    """Every problem's graded samples put into random graded places of both tables.

    Wrong answers of the two runs count as different ones: their codes do not tell.
    """
    graded_PN = np.hstack([before.graded_PS, after.graded_PS])
    index_N = np.arange(graded_PN.shape[1])
    drawn_PN = np.argsort(np.where(graded_PN, rng.random(graded_PN.shape), 1.0 + index_N), axis=1)
    places_PN = np.argsort(~graded_PN, axis=1, kind="stable")
    from_PN = np.empty_like(drawn_PN)
    np.put_along_axis(from_PN, places_PN, drawn_PN, axis=1)
    joined = _join(before, after)
    rows_P1 = np.arange(len(from_PN))[:, None]
    split = before.graded_PS.shape[1]
    parts = from_PN[:, :split], from_PN[:, split:]
    return take(joined, (rows_P1, parts[0])), take(joined, (rows_P1, parts[1]))


def _join(before: SampleTable, after: SampleTable) -> SampleTable:
    """The samples of both, problem by problem."""

    def side_by_side(left: np.ndarray | None, right: np.ndarray | None) -> np.ndarray | None:
        return None if left is None or right is None else np.concatenate([left, right], axis=1)

    codes = after.answer_PS
    if before.answer_PS is not None and codes is not None:
        codes = np.where(codes > 0, codes + max(0, int(before.answer_PS.max(initial=0))), codes)
    budgets_C = prefix_PSC = None
    if before.prefix_budgets_C is not None and after.prefix_budgets_C is not None:
        budgets_C, left_C, right_C = np.intersect1d(
            before.prefix_budgets_C, after.prefix_budgets_C, return_indices=True
        )
        prefix_PSC = side_by_side(_columns(before, left_C), _columns(after, right_C))
    theirs = arrays_of_samples(after)
    arrays: dict[str, Any] = {
        name: side_by_side(values, theirs[name])
        for name, values in arrays_of_samples(before._replace(prefix_PSC=None)).items()
    }
    arrays |= {"answer_PS": side_by_side(before.answer_PS, codes), "prefix_PSC": prefix_PSC}
    return before._replace(
        **arrays,
        prefix_budgets_C=budgets_C,
        ends_known=before.ends_known and after.ends_known,
        answers_known=before.answers_known and after.answers_known,
    )


def _columns(table: SampleTable, which_C: np.ndarray) -> np.ndarray | None:
    return None if table.prefix_PSC is None else table.prefix_PSC[:, :, which_C]
