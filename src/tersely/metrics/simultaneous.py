"""Intervals of many figures that hold all at once, so that any of them may be picked afterwards.

Every figure is a mean over problems, a difference or the logarithm of a ratio of such means. The
95% quantile of the largest of their absolute t-values takes the place of Student's. Up to 2,000
problems it is found by resampling problems, each resample with standard errors of its own; above,
from the normal law with the figures' own correlations, which is the multiplier bootstrap with
Gaussian weights. Source: V. Chernozhukov, D. Chetverikov, K. Kato, "Gaussian approximations and
multiplier bootstrap for maxima of sums of high-dimensional random vectors", 2013.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import stdtr, stdtrit

from tersely.metrics.intervals import (
    LEVEL,
    Interval,
    Sums,
    averages,
    estimate,
    resample_counts,
    sum_resamples,
)
from tersely.metrics.serving import ServingGrid, ServingSetting

DRAWS = 4000
RESAMPLES = 1000
MOST_RESAMPLED = 2000
# A figure that so few problems move has t-values that run wild.
FEWEST_APART = 30
# Of fewer problems intervals of many figures at once say nothing, or are without bounds.
FEWEST_PROBLEMS = 10
# Below this a standard error is rounding.
TINY = 1e-12


class LevelFamily(NamedTuple):
    """Accuracy and cost of every setting; all intervals hold together in 95 of 100 evaluations."""

    accuracy: tuple[Interval, ...]
    cost: tuple[Interval, ...]


class ChangeFamily(NamedTuple):
    """One setting against another, many times; all intervals hold together.

    Args:
        pairs: the places of both in the grid: that which is looked at, that which it replaces.
        accuracy: what it gains, as a difference of shares.
        cost: its cost as a multiple.
    """

    pairs: tuple[tuple[int, int], ...]
    accuracy: tuple[Interval, ...]
    cost: tuple[Interval, ...]


def find_critical(
    influence_PM: Float[np.ndarray, "P M"], *, rng: np.random.Generator, level: float = LEVEL
) -> float:
    """The bound that the largest of M absolute t-values stays within with probability ``level``.

    NaN for fewer than ten problems. A figure that fewer than 30 problems, or half of them,
    move takes no part.

    Args:
        influence_PM: what each problem adds to each figure, mean 0 over problems.
    """
    problems = len(influence_PM)
    if problems < FEWEST_PROBLEMS:
        return np.nan
    apart_PM = np.abs(influence_PM - np.median(influence_PM, axis=0)) > TINY
    moving_PM = influence_PM[:, apart_PM.sum(axis=0) >= min(FEWEST_APART, problems // 2)]
    if not moving_PM.size:
        return one_critical(problems, level=level)
    if problems <= MOST_RESAMPLED:
        largest_R = _resample_largest(moving_PM, rng=rng)
    else:
        moving_PM = moving_PM / np.sqrt((moving_PM**2).sum(axis=0))
        normal_RM = draw_normal(moving_PM.T @ moving_PM, rng=rng, draws=DRAWS)
        largest_R = np.abs(normal_RM).max(axis=1)
    return float(np.quantile(largest_R, level))


def _resample_largest(
    influence_PM: Float[np.ndarray, "P M"], *, rng: np.random.Generator
) -> Float[np.ndarray, " R"]:
    """The largest absolute t-value of each resample of problems."""
    problems = len(influence_PM)
    counts_RP = resample_counts(problems, rng=rng, resamples=RESAMPLES)
    mean_RM = sum_resamples(counts_RP, influence_PM) / problems
    variance_RM = np.maximum(sum_resamples(counts_RP, influence_PM**2) / problems - mean_RM**2, 0.0)
    error_RM = np.sqrt(variance_RM / (problems - 1))
    # A resample in which nothing varies says nothing about how far a t-value may go.
    told_RM = error_RM > TINY * np.sqrt((influence_PM**2).mean(axis=0))
    return np.asarray(
        np.where(told_RM, np.abs(mean_RM) / np.where(told_RM, error_RM, 1.0), 0.0).max(axis=1)
    )


def one_critical(problems: int, *, level: float = LEVEL) -> float:
    """The same for one figure by itself: Student's; NaN likewise."""
    if problems < FEWEST_PROBLEMS:
        return np.nan
    return float(stdtrit(max(problems - 1, 1), 1 - (1 - level) / 2))


def draw_normal(
    covariance_MM: Float[np.ndarray, "M M"], *, rng: np.random.Generator, draws: int
) -> Float[np.ndarray, "R M"]:
    """Draws of a centred normal vector, whose covariance may be singular."""
    values_M, vectors_MM = np.linalg.eigh(covariance_MM)
    root_MM = vectors_MM * np.sqrt(np.maximum(values_M, 0.0))
    return np.asarray(rng.standard_normal((draws, len(values_M))) @ root_MM.T)


def bound_levels(
    grid: ServingGrid, *, n_samples_M: Int[np.ndarray, " M"], rng: np.random.Generator
) -> LevelFamily:
    """Accuracy by Wilson's interval at the effective sample size, cost on a log scale."""
    right_PM, cost_PM = grid.right_PM, grid.cost_PM
    critical = find_critical(
        np.hstack([right_PM - right_PM.mean(axis=0), cost_PM - cost_PM.mean(axis=0)]), rng=rng
    )
    return LevelFamily(
        tuple(bound_shares(averages(right_PM), n_samples_M=n_samples_M, critical=critical)),
        tuple(bound_ratios(cost_PM, None, n_samples_M=n_samples_M, critical=critical)),
    )


def bound_changes(
    grid: ServingGrid,
    *,
    pairs: Sequence[tuple[int, int]],
    n_samples: int,
    rng: np.random.Generator,
    together: bool = True,
) -> ChangeFamily:
    """The first setting of each pair against the second, paired by problem.

    What a lower cap loses with one vote is itself a share of samples and gets Wilson's interval:
    where few problems lose anything, an interval of means is far too short.

    Args:
        together: the intervals hold all at once; else each by itself.
    """
    if not pairs:
        return ChangeFamily((), (), ())
    new_M, old_M = np.array(pairs).T
    change_PM = grid.right_PM[:, new_M] - grid.right_PM[:, old_M]
    mean_M = grid.cost_PM.mean(axis=0)
    share_PM = grid.cost_PM / np.where(mean_M > 0, mean_M, 1.0)
    log_ratio_PM = share_PM[:, new_M] - share_PM[:, old_M]
    influence_PM = np.hstack([change_PM - change_PM.mean(axis=0), log_ratio_PM])
    critical = find_critical(influence_PM, rng=rng) if together else one_critical(len(change_PM))
    nested_M = np.array([_is_nested(grid.settings[m], grid.settings[of]) for m, of in pairs])
    n_samples_M = np.full(len(pairs), n_samples)
    return ChangeFamily(
        tuple(pairs),
        tuple(
            bound_differences(
                change_PM, n_samples_M=n_samples_M, critical=critical, nested_M=nested_M
            )
        ),
        tuple(
            bound_ratios(
                grid.cost_PM[:, new_M],
                grid.cost_PM[:, old_M],
                n_samples_M=n_samples_M,
                critical=critical,
                most_M=np.array([_most(grid.settings[m], grid.settings[of]) for m, of in pairs]),
            )
        ),
    )


def _most(new: ServingSetting, old: ServingSetting) -> float:
    """The largest multiple that the cost can be: a vote under a lower cap costs no more."""
    known = new.side == old.side and new.cap_tokens <= old.cap_tokens
    return new.votes / old.votes if known else np.inf


def _is_nested(new: ServingSetting, old: ServingSetting) -> bool:
    """Whether the new one can only lose: one vote under a lower cap."""
    lower = new.cap_tokens <= old.cap_tokens
    return new.side == old.side and new.votes == old.votes == 1 and lower


def bound_shares(
    sums: Sums, *, n_samples_M: Int[np.ndarray, " M"], critical: float
) -> list[Interval]:
    """Shares, with Wilson's interval at that many standard errors; none at a critical of NaN."""
    problems, settings = sums.a_PM.shape
    level = 1 - 2 * max(float(stdtr(max(problems - 1, 1), -critical)), TINY)
    shares = estimate(
        sums,
        shares_M=np.ones(settings, dtype=bool),
        n_samples_M=n_samples_M,
        counts_RP=np.zeros((0, problems), dtype=np.uint8),
        level=level,
    )
    if np.isnan(critical):
        return [share._replace(low=np.nan, high=np.nan) for share in shares]
    return shares


def bound_differences(
    change_PM: Float[np.ndarray, "P M"],
    *,
    n_samples_M: Int[np.ndarray, " M"],
    critical: float,
    nested_M: Bool[np.ndarray, " M"] | None = None,
) -> list[Interval]:
    """Means of differences of shares; where no problem differs, ``± z^2 / (P + z^2)``.

    Args:
        nested_M: the difference is a loss that no sample can turn into a gain.
    """
    problems = len(change_PM)
    means_M, errors_M = change_PM.mean(axis=0), _errors(change_PM)
    still = critical**2 / (problems + critical**2)
    half_M = np.where((change_PM == 0).all(axis=0), still, critical * errors_M)
    bounds = np.clip([means_M, means_M - half_M, means_M + half_M], -1.0, 1.0)
    if nested_M is not None and nested_M.any():
        lost = bound_shares(
            averages(-change_PM[:, nested_M]),
            n_samples_M=n_samples_M[nested_M],
            critical=critical,
        )
        bounds[1:, nested_M] = -np.array([[each.high, each.low] for each in lost]).T
    return _as_intervals(bounds, problems, n_samples_M, errors_M)


def bound_ratios(
    cost_PM: Float[np.ndarray, "P M"],
    base_PM: Float[np.ndarray, "P M"] | None,
    *,
    n_samples_M: Int[np.ndarray, " M"],
    critical: float,
    most_M: Float[np.ndarray, " M"] | None = None,
) -> list[Interval]:
    """Means, or their ratios to those of ``base_PM``, with intervals of their logarithms.

    Where no problem differs, ``± z^2 / (P + z^2)`` of it.

    Args:
        most_M: what each can be at most; one that is that for every problem is exact.
    """
    mean_M = cost_PM.mean(axis=0)
    relative_PM = cost_PM / np.where(mean_M > 0, mean_M, np.nan)
    if base_PM is not None:
        base_M = base_PM.mean(axis=0)
        relative_PM = relative_PM - base_PM / np.where(base_M > 0, base_M, np.nan)
        mean_M = mean_M / np.where(base_M > 0, base_M, np.nan)
    errors_M = _errors(relative_PM)
    still = 1 + critical**2 / (len(cost_PM) + critical**2)
    factor_M = np.where(errors_M > TINY, np.exp(critical * errors_M), still)
    bounds = np.array([mean_M, mean_M / factor_M, mean_M * factor_M])
    if most_M is not None:
        exact_M = (errors_M <= TINY) & np.isclose(mean_M, most_M)
        bounds[1] = np.where(exact_M, mean_M, bounds[1])
        bounds[2] = np.where(exact_M, mean_M, np.minimum(bounds[2], most_M))
    return _as_intervals(bounds, len(cost_PM), n_samples_M, mean_M * errors_M)


def _errors(values_PM: Float[np.ndarray, "P M"]) -> Float[np.ndarray, " M"]:
    """Standard errors of means over problems; NaN for fewer than two."""
    problems = len(values_PM)
    if problems < 2:
        return np.full(values_PM.shape[1], np.nan)
    return np.asarray(values_PM.std(axis=0, ddof=1) / np.sqrt(problems))


def _as_intervals(
    bounds: Float[np.ndarray, "3 M"],
    problems: int,
    n_samples_M: Int[np.ndarray, " M"],
    errors_M: Float[np.ndarray, " M"],
) -> list[Interval]:
    rows = zip(*bounds.tolist(), n_samples_M.tolist(), errors_M.tolist(), strict=True)
    return [
        Interval(value, low, high, problems, n_samples, error)
        for value, low, high, n_samples, error in rows
    ]
