"""Whether a difference could be chance, and how small a difference could be seen at all."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from tersely.metrics.intervals import LEVEL, Sums

PERMUTATIONS = 1999
ALPHA = 0.05
POWER = 0.8
# So that a permutation that gives the same statistic counts as such, whatever the rounding.
_TIE = 1e-9


class Swaps(NamedTuple):
    """The statistics of both runs after each of R random swaps of problems between them."""

    before_RM: Float[np.ndarray, "R M"]
    after_RM: Float[np.ndarray, "R M"]


def beyond_chance(p_value: float) -> bool:
    """``p < .05``: the only criterion for calling a difference real; NaN → False."""
    return p_value < ALPHA


def swap(
    before: Sums, after: Sums, *, rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> Swaps:
    """Swaps the two runs within random problems; a zero denominator → NaN."""
    swap_RP = rng.integers(2, size=(permutations, before.a_PM.shape[0])).astype(np.float64)
    over = swap_RP @ (after.a_PM - before.a_PM), swap_RP @ (after.b_PM - before.b_PM)
    return Swaps(
        _ratio(before.a_PM.sum(axis=0) + over[0], before.b_PM.sum(axis=0) + over[1]),
        _ratio(after.a_PM.sum(axis=0) - over[0], after.b_PM.sum(axis=0) - over[1]),
    )


def regroup(
    ways: Sequence[tuple[Sums, Sums]], *, rng: np.random.Generator, permutations: int
) -> Swaps:
    """Takes one of several equally likely ways to make up both runs for each problem at random.

    What was seen must be among the ways: the p-values are then exact.
    """
    way_RP = rng.integers(len(ways), size=(permutations, ways[0][0].a_PM.shape[0]))
    taken = [(way_RP == at).astype(np.float64) for at in range(len(ways))]
    return Swaps(
        *(
            _ratio(
                sum(taken_RP @ way[side].a_PM for taken_RP, way in zip(taken, ways, strict=True)),
                sum(taken_RP @ way[side].b_PM for taken_RP, way in zip(taken, ways, strict=True)),
            )
            for side in (0, 1)
        )
    )


def p_values(
    seen_M: Float[np.ndarray, " M"], moved_RM: Float[np.ndarray, "R M"]
) -> Float[np.ndarray, " M"]:
    """``(1 + #{|T*| >= |T|}) / (1 + R)``, two-sided; undefined T → NaN.

    The sharp hypothesis is that a problem's samples came from either run alike.

    Args:
        moved_RM: the statistic T after each swap.
    """
    filled_RM = np.nan_to_num(np.abs(moved_RM), nan=np.inf)
    extreme_M = (filled_RM >= np.abs(seen_M) * (1 - _TIE)).sum(axis=0)
    return np.where(np.isnan(seen_M), np.nan, (1 + extreme_M) / (1 + len(moved_RM)))


def holm(p_M: Float[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
    """``max_{j <= i} min(1, (m - j) p_(j))`` of the m defined p-values, ascending, j from 0.

    Below .05, a p is beyond chance whichever of the m tests one looks at; NaN stays NaN.
    Source: S. Holm, Scand. J. Statist. 6 (1979), 65.
    """
    order = np.argsort(p_M)
    m = int((~np.isnan(p_M)).sum())
    factors = np.maximum(m - np.arange(len(p_M)), 1)
    adjusted_M = np.empty_like(p_M)
    adjusted_M[order] = np.fmin(np.maximum.accumulate(p_M[order] * factors), 1.0)
    return np.where(np.isnan(p_M), np.nan, adjusted_M)


def minimum_detectable(standard_error: float, *, n_problems: int) -> float:
    """``(t_{1-alpha/2} + t_power) * standard error``: the smallest true difference that a
    comparison with this standard error finds in ``POWER`` of all tries.

    Fewer than two problems or no standard error → NaN.  Source: E. Miller, arXiv:2411.00640.

    Args:
        standard_error: of the paired difference, clustered by problem.
    """
    if n_problems < 2 or not np.isfinite(standard_error):
        return float("nan")
    quantiles = stdtrit(n_problems - 1, [1 - (1 - LEVEL) / 2, POWER])
    return float(quantiles.sum() * standard_error)


def resampling_error(
    values_PS: Float[np.ndarray, "P S"],
) -> float:
    """Standard error of the difference between two evaluations of one and the same model.

    ``sqrt(2 mean_i(var_i / n_i) / P)``: both runs draw their own samples of the same problems, so
    only the spread within problems counts. The least that a comparison can have; problems with
    one sample tell nothing about it → NaN if there is no other.

    Args:
        values_PS: one value a sample, NaN for ungraded ones.
    """
    n_P = (~np.isnan(values_PS)).sum(axis=1)
    several_P = n_P >= 2
    if not several_P.any():
        return float("nan")
    kept_PS = values_PS[several_P]
    mean_P = np.nansum(kept_PS, axis=1) / n_P[several_P]
    squares_P = np.nansum((kept_PS - mean_P[:, None]) ** 2, axis=1)
    variance_P = squares_P / (n_P[several_P] - 1) / n_P[several_P]
    return float(np.sqrt(2.0 * variance_P.mean() / several_P.sum()))


def _ratio(
    over: Float[np.ndarray, "R M"], under: Float[np.ndarray, "R M"]
) -> Float[np.ndarray, "R M"]:
    return np.where(under > 0, over / np.where(under > 0, under, 1.0), np.nan)
