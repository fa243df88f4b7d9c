"""The forecast's figures with their intervals over problems."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from tersely.flows.lint.forecast import (
    RATIOS,
    Pushed,
    correlation_moments,
    drift_moments,
    drift_of,
    gaps,
    pearson,
    sum_ratios,
)
from tersely.metrics.intervals import (
    Interval,
    Sums,
    estimate,
    expanded_percentiles,
    sum_resamples,
)
from tersely.metrics.lengths import Part, lengths_of
from tersely.metrics.records import SampleTable


class Shares(NamedTuple):
    """Shares and means with 95% intervals over problems; NaN where the set is empty.

    Args:
        positive: of rollouts, paid more than 0.
        silent: of groups, without any push.
        right: of rollouts.
        right_pushed_down: of right rollouts, with a negative push.
        tokens: mean length.
        tokens_right: of the right ones.
        tokens_wrong: of the wrong ones.
    """

    positive: Interval
    silent: Interval
    right: Interval
    right_pushed_down: Interval
    tokens: Interval
    tokens_right: Interval
    tokens_wrong: Interval


class Correlations(NamedTuple):
    """Pearson's correlation of length with reward and with push; NaN where one does not vary."""

    reward: Interval
    reward_if_right: Interval
    push: Interval
    push_if_right: Interval


class Drift(NamedTuple):
    """Where the first step pushes the mean length; see ``forecast.drift_of``.

    ``total``, ``right`` and ``wrong`` are in standard deviations of length within groups, the
    first being the sum of the others; ``tokens`` is the total in tokens.
    """

    total: Interval
    right: Interval
    wrong: Interval
    tokens: float
    sd_tokens: float


class PartLength(NamedTuple):
    """Mean tokens of a part of the records' lengths; NaN where ``unknown`` samples do not tell."""

    part: Part
    mean: Interval
    unknown: int


def measure_parts(
    table: SampleTable, *, counts_RP: UInt8[np.ndarray, "R P"]
) -> tuple[PartLength, ...]:
    """Thinking, reply, and what right samples write after a right answer first stands."""
    found = [lengths_of(table, part) for part in Part]
    sums_PM = np.stack([np.where(f.among_PS, f.tokens_PS, 0).sum(axis=1) for f in found], axis=1)
    n_PM = np.stack([f.among_PS.sum(axis=1) for f in found], axis=1)
    means = estimate(
        Sums(sums_PM.astype(np.float64), n_PM.astype(np.float64)),
        shares_M=np.zeros(len(found), dtype=bool),
        n_samples_M=n_PM.sum(axis=0),
        counts_RP=counts_RP,
    )
    return tuple(
        PartLength(part, mean, each.unknown)
        for part, mean, each in zip(Part, means, found, strict=True)
    )


def measure_shares(p: Pushed, *, counts_RP: UInt8[np.ndarray, "R P"]) -> Shares:
    """See ``Shares``; ``counts_RP`` are of ``intervals.resample_counts``."""
    ratios = sum_ratios(p, problems=counts_RP.shape[1])
    found = estimate(
        Sums(*ratios),
        shares_M=np.array(list(RATIOS.values())),
        n_samples_M=ratios.b_PM.sum(axis=0).astype(np.int64),
        counts_RP=counts_RP,
    )
    return Shares(**dict(zip(RATIOS, found, strict=True)))


def correlate(p: Pushed, *, counts_RP: UInt8[np.ndarray, "R P"]) -> Correlations:
    """See ``Correlations``."""
    everything_N = np.ones(len(p.push_N), dtype=bool)

    def correlation(values_N: Float[np.ndarray, " N"], among_N: Bool[np.ndarray, " N"]) -> Interval:
        n, problems = int(among_N.sum()), counts_RP.shape[1]
        moments_PK = correlation_moments(p, values_N, problems=problems, among_N=among_N)
        if moments_PK is None:
            return _unknown(n)
        return _resampled(moments_PK, pearson, counts_RP, n_samples=n)

    return Correlations(
        *(
            correlation(values_N, among_N)
            for values_N in (p.reward_N, p.push_N)
            for among_N in (everything_N, p.right_N)
        )
    )


def length_drift(p: Pushed, *, counts_RP: UInt8[np.ndarray, "R P"]) -> Drift:
    """See ``Drift`` and ``forecast.drift_of``."""

    def part(among_N: Bool[np.ndarray, " N"] | None) -> Interval:
        moments_PK = drift_moments(p, problems=counts_RP.shape[1], among_N=among_N)
        return _resampled(moments_PK, drift_of, counts_RP, n_samples=len(p.push_N))

    gap_N = gaps(p)
    return Drift(
        part(None),
        part(p.right_N),
        part(~p.right_N),
        tokens=float((p.push_N * gap_N).mean()),
        sd_tokens=float(np.sqrt((gap_N**2).mean())),
    )


def _resampled(
    moments_PK: Float[np.ndarray, "P K"],
    statistic: Callable[[Float[np.ndarray, "R K"]], Float[np.ndarray, " R"]],
    counts_RP: UInt8[np.ndarray, "R P"],
    *,
    n_samples: int,
) -> Interval:
    """A function of sums over problems, with its expanded percentile interval."""
    problems = int((moments_PK != 0).any(axis=1).sum())
    value = float(statistic(moments_PK.sum(axis=0)[None])[0])
    low_M, high_M = expanded_percentiles(
        statistic(sum_resamples(counts_RP, moments_PK))[:, None], n_problems_M=np.array([problems])
    )
    if not np.isfinite(value):
        return _unknown(n_samples)
    return Interval(value, float(low_M[0]), float(high_M[0]), problems, n_samples)


def _unknown(n_samples: int) -> Interval:
    return Interval(np.nan, np.nan, np.nan, 0, n_samples)
