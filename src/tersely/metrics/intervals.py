"""Bootstrap intervals over problems: the repeats of one problem are one cluster.

Every function resamples P problems with replacement ``resamples`` times and takes percentiles of
the statistic. Fewer than two problems → no interval (NaN). All problems alike → zero width,
which says that the sample shows no spread, not that there is none. Below some twenty problems
percentile intervals cover somewhat less than they claim.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate with its interval, and how many problems and samples it rests on."""

    estimate: float
    low: float
    high: float
    n_problems: int
    n_samples: int


def bootstrap_mean(
    values_P: Float[np.ndarray, " P"],
    *,
    n_samples: int,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """``sum_i v_i / P`` over the problems whose value is defined (not NaN)."""
    kept_P = values_P[~np.isnan(values_P)]
    return bootstrap_ratio(
        kept_P,
        np.ones(kept_P.size),
        n_samples=n_samples,
        rng=rng,
        resamples=resamples,
        level=level,
    )


def bootstrap_difference(
    before_P: Float[np.ndarray, " P"],
    after_P: Float[np.ndarray, " P"],
    *,
    n_samples: int,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """``sum_i (after_i - before_i) / P``, paired: over problems defined in both runs."""
    return bootstrap_mean(
        after_P - before_P, n_samples=n_samples, rng=rng, resamples=resamples, level=level
    )


def bootstrap_ratio(
    numerator_P: Float[np.ndarray, " P"],
    denominator_P: Float[np.ndarray, " P"],
    *,
    n_samples: int,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """``sum_i a_i / sum_i b_i``, both sums over the same problems, ``b_i >= 0``.

    With tokens of the correct samples over their count this is the pooled mean length given
    correct; with mean tokens after over mean tokens before, the ratio of means of two runs.
    ``n_problems`` counts problems with ``b_i > 0``. Resamples whose denominator is zero are
    left out. Zero denominator → estimate NaN.
    """
    counts_RP = _resample_counts(numerator_P.size, rng=rng, resamples=resamples)
    n_problems = int((denominator_P > 0).sum())
    return _interval(
        estimate=float(_divide(numerator_P.sum(), denominator_P.sum())),
        draws_R=_divide(counts_RP @ numerator_P, counts_RP @ denominator_P),
        n_problems=n_problems,
        n_samples=n_samples,
        level=level,
    )


def bootstrap_ratio_difference(
    before_P: tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]],
    after_P: tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]],
    *,
    n_samples: int,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """``sum a'_i / sum b'_i - sum a_i / sum b_i``, each pair (numerators, denominators).

    Both runs see the same resampled problems. NaN when either ratio is undefined; resamples in
    which either is are left out. ``n_problems`` counts problems with a positive denominator in
    the run that has fewer.
    """
    counts_RP = _resample_counts(before_P[0].size, rng=rng, resamples=resamples)
    draws_R = _divide(counts_RP @ after_P[0], counts_RP @ after_P[1]) - _divide(
        counts_RP @ before_P[0], counts_RP @ before_P[1]
    )
    estimate = _divide(after_P[0].sum(), after_P[1].sum()) - _divide(
        before_P[0].sum(), before_P[1].sum()
    )
    return _interval(
        estimate=float(estimate),
        draws_R=draws_R,
        n_problems=min(int((before_P[1] > 0).sum()), int((after_P[1] > 0).sum())),
        n_samples=n_samples,
        level=level,
    )


def _resample_counts(
    problems: int, *, rng: np.random.Generator, resamples: int
) -> Float[np.ndarray, "R P"]:
    """How often each problem is drawn in each resample; rows sum to the number of problems."""
    if problems == 0:
        return np.zeros((resamples, 0))
    drawn_RP = rng.integers(problems, size=(resamples, problems))
    cells_RP = drawn_RP + problems * np.arange(resamples)[:, None]
    counts_RP = np.bincount(cells_RP.ravel(), minlength=resamples * problems)
    return counts_RP.reshape(resamples, problems).astype(np.float64)


def _divide(
    numerator: Float[np.ndarray, "*R"] | np.float64,
    denominator: Float[np.ndarray, "*R"] | np.float64,
) -> Float[np.ndarray, "*R"]:
    defined = denominator > 0
    return np.asarray(np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan))


def _interval(
    *,
    estimate: float,
    draws_R: Float[np.ndarray, " R"],
    n_problems: int,
    n_samples: int,
    level: float,
) -> Interval:
    kept_R = draws_R[~np.isnan(draws_R)]
    if n_problems < 2 or kept_R.size == 0:
        return Interval(estimate, np.nan, np.nan, n_problems, n_samples)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(kept_R, [tail, 1.0 - tail])
    return Interval(estimate, float(low), float(high), n_problems, n_samples)
