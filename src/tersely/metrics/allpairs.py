"""Several evaluations of the same problems, each against each: differences, tests, resolution."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from tersely.metrics.intervals import (
    RESAMPLES,
    Interval,
    averages,
    estimate_differences,
    evaluate,
    resample_counts,
)
from tersely.metrics.significance import ALPHA, PERMUTATIONS, POWER, holm, p_values, swap

# So that Holm's correction can leave the smallest p that permutations give below .05.
PERMUTATIONS_A_PAIR = 40


class PairDifference(NamedTuple):
    """The second less the first, paired by problem.

    Args:
        first, second: their places in the order given.
        p: of there being no difference, by swapping problems; ``p_holm`` is corrected for all
            pairs.
        detectable: the smallest true difference found in 80% of tries at the corrected level; NaN
            where no difference could be.
    """

    first: int
    second: int
    difference: Interval
    p: float
    p_holm: float
    detectable: float


def compare_all_pairs(
    values_LP: Float[np.ndarray, "L P"],
    *,
    shares: bool,
    n_samples_L: Sequence[int],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[PairDifference, ...]:
    """Every pair of L evaluations, over the problems whose value is defined (not NaN) in both.

    p: the two are swapped in random problems; Holm's correction over all pairs. Below two
    problems → NaN. Every pair is resampled and swapped alike, so that equal values have equal
    intervals and p.

    Args:
        shares: the values lie in [0, 1].
        n_samples_L: the samples that each rests on.
    """
    pairs = list(combinations(range(len(values_LP)), 2))
    permutations = max(PERMUTATIONS, PERMUTATIONS_A_PAIR * len(pairs))
    found = []
    resampled, swapped = rng.integers(2**63, size=2).tolist()
    for i, j in pairs:
        both_P = ~np.isnan(values_LP[i] + values_LP[j])
        one, other = values_LP[i][both_P][:, None], values_LP[j][both_P][:, None]
        before, after = averages(one), averages(other)
        n_problems = int(both_P.sum())
        difference = estimate_differences(
            before,
            after,
            shares_M=np.array([shares]),
            n_samples_M=np.array([n_samples_L[i] + n_samples_L[j]]),
            counts_RP=resample_counts(
                n_problems, rng=np.random.default_rng(resampled), resamples=resamples
            ),
        )[0]
        p = float("nan")
        if n_problems >= 2:
            swaps = swap(
                before, after, rng=np.random.default_rng(swapped), permutations=permutations
            )
            seen_M = evaluate(after) - evaluate(before)
            p = float(p_values(seen_M, swaps.after_RM - swaps.before_RM)[0])
        least = smallest_seen(float(difference.standard_error), n_problems, tests=len(pairs))
        found.append(PairDifference(i, j, difference, p, p, least))
    corrected = holm(np.array([each.p for each in found]))
    return tuple(
        each._replace(p_holm=float(p)) for each, p in zip(found, corrected.tolist(), strict=True)
    )


def smallest_seen(standard_error: float, n_problems: int, *, tests: int) -> float:
    """``(t_{1 - alpha/2m} + t_power) * standard error``: the smallest true difference that one of
    m tests, each at the level alpha/m, finds in 80% of tries.

    NaN for no standard error, and where even swaps that all go one way are not rare enough:
    ``2 m / 2^P >= alpha``.
    """
    if not np.isfinite(standard_error) or 2.0 ** (1 - n_problems) * tests >= ALPHA:
        return float("nan")
    quantiles = stdtrit(n_problems - 1, [1 - ALPHA / (2 * tests), POWER])
    return float(quantiles.sum() * standard_error)
