"""Intervals of an effect seen with several seeds on the same problems: both are drawn at random.

A run's seed moves all of its problems together and a problem is hard in every run, so neither
the seeds' means nor the problems' means alone know how uncertain their common mean is.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from tersely.metrics.intervals import LEVEL
from tersely.metrics.significance import POWER


class Effect(NamedTuple):
    """An estimate with its interval over seeds and problems; NaN where it is not known.

    Args:
        freedom: degrees of freedom of the t distribution that the interval was made with.
        detectable: the smallest true effect that such an experiment finds in 80% of tries.
        n_seeds, n_problems: what it rests on; one problem stands for a figure of the whole run.
            Seeds that define no estimate are counted all the same.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    freedom: float
    detectable: float
    n_seeds: int
    n_problems: int


NOTHING = Effect(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 0, 0)


def mean_effect(values_KP: Float[np.ndarray, "K P"]) -> Effect:
    """The mean over K seeds and P problems; its variance is ``(MS_K + MS_P - MS_KP) / (K P)``.

    The mean squares are those of the two-way layout with both factors random and one value a cell;
    degrees of freedom after Satterthwaite. The variance is at least what either factor alone gives.
    Problems without a value in some seed are left out. One seed → the interval over problems alone;
    one problem → the one over seeds alone; neither → no interval.
    """
    defined_KP = values_KP[:, ~np.isnan(values_KP).any(axis=0)]
    seeds, problems = defined_KP.shape
    if defined_KP.size == 0:
        return NOTHING._replace(n_seeds=seeds)
    estimate = float(defined_KP.mean())
    variance, freedom = _variance(defined_KP)
    if not freedom > 0:
        return NOTHING._replace(estimate=estimate, n_seeds=seeds, n_problems=problems)
    error = float(np.sqrt(variance))
    half, power = (float(stdtrit(freedom, at)) for at in (1 - (1 - LEVEL) / 2, POWER))
    return Effect(
        estimate,
        estimate - half * error,
        estimate + half * error,
        error,
        freedom,
        (half + power) * error,
        seeds,
        problems,
    )


def ratio_effect(after_KP: Float[np.ndarray, "K P"], before_KP: Float[np.ndarray, "K P"]) -> Effect:
    """``mean(after) / mean(before) - 1``, with the interval of its linearisation.

    A mean of zero before → NaN.
    """
    known_P = ~np.isnan(after_KP).any(axis=0) & ~np.isnan(before_KP).any(axis=0)
    after_KP, before_KP = after_KP[:, known_P], before_KP[:, known_P]
    if after_KP.size == 0 or before_KP.mean() == 0:
        return NOTHING._replace(n_seeds=len(after_KP))
    ratio = float(after_KP.mean() / before_KP.mean())
    around_zero = mean_effect((after_KP - ratio * before_KP) / before_KP.mean())
    return around_zero._replace(
        estimate=ratio - 1, low=ratio - 1 + around_zero.low, high=ratio - 1 + around_zero.high
    )


def _variance(values_KP: Float[np.ndarray, "K P"]) -> tuple[float, float]:
    """Variance of the mean, and its degrees of freedom; (NaN, 0) where neither is known."""
    seeds, problems = values_KP.shape
    seed_K, problem_P = values_KP.mean(axis=1), values_KP.mean(axis=0)
    if seeds == 1 and problems == 1:
        return np.nan, 0.0
    if seeds == 1:
        return float(problem_P.var(ddof=1)) / problems, problems - 1.0
    if problems == 1:
        return float(seed_K.var(ddof=1)) / seeds, seeds - 1.0
    rest_KP = values_KP - seed_K[:, None] - problem_P + values_KP.mean()
    squares = np.array(
        [
            problems * seed_K.var(ddof=1),
            seeds * problem_P.var(ddof=1),
            (rest_KP**2).sum() / ((seeds - 1) * (problems - 1)),
        ]
    )
    freedoms = np.array([seeds - 1, problems - 1, (seeds - 1) * (problems - 1)])
    total = float(max(squares[0] + squares[1] - squares[2], squares[0], squares[1]))
    if total == 0:
        return 0.0, float(freedoms.min())
    freedom = total**2 / float((squares**2 / freedoms).sum())
    return total / (seeds * problems), max(freedom, float(freedoms.min()))
