"""Intervals over problems: the repeats of one problem are one cluster.

Every statistic here is a ratio of sums over problems, ``sum_i a_i / sum_i b_i``. Lengths, ratios
and all differences get a cluster bootstrap: problems are resampled with replacement, and the
percentiles are taken a little wider, as Student's t asks for at that number of problems (the
*expanded percentile interval*; source: T. Hesterberg, "What Teachers Should Know About the
Bootstrap", 2015, section 4). Levels of shares get Wilson's score interval at the effective sample
size of the clusters, since a bootstrap has no width when all problems agree and covers far too
little near 0 and 1. Fewer than two problems → no interval (NaN).
"""

import pickle
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.special import ndtr, stdtrit

RESAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate with its interval and how many problems and samples it rests on.

    ``standard_error`` is the analytic clustered one, beside the interval as a check on it.
    """

    estimate: float
    low: float
    high: float
    n_problems: int
    n_samples: int
    standard_error: float = np.nan


class Sums(NamedTuple):
    """M statistics ``sum_i a_i / sum_i b_i`` over P problems, ``b_i >= 0``.

    A mean over problems has ``b_i = 1`` where the problem's value is defined and 0 elsewhere.
    """

    a_PM: Float[np.ndarray, "P M"]
    b_PM: Float[np.ndarray, "P M"]


def averages(values_PM: Float[np.ndarray, "P M"]) -> Sums:
    """Means over the problems whose value is defined (not NaN)."""
    defined_PM = ~np.isnan(values_PM)
    return Sums(np.where(defined_PM, values_PM, 0.0), defined_PM.astype(np.float64))


# Counts that are made at once: half a megabyte with their draws.
CACHED_COUNTS = 2**15
# Rows of them that are multiplied at once, as floats.
PRODUCT_COUNTS = 2**18
# Counts that are kept for the next evaluation of as many problems, and how often.
KEPT_COUNTS, KEPT = 2**23, 8


def resample_counts(
    problems: int, *, rng: np.random.Generator, resamples: int = RESAMPLES
) -> UInt8[np.ndarray, "R P"]:
    """How often each problem is drawn in each resample; rows sum to the number of problems.

    More than 255 draws of one problem, which have a chance of 1e-507, would not fit.
    """
    if problems * resamples > KEPT_COUNTS:
        return _count(problems, resamples, rng)
    counts_RP, after = _recount(problems, resamples, pickle.dumps(rng.bit_generator.state))
    rng.bit_generator.state = pickle.loads(after)
    return counts_RP


@lru_cache(maxsize=KEPT)
def _recount(problems: int, resamples: int, state: bytes) -> tuple[np.ndarray, bytes]:
    """The counts that a generator in that state draws, and its state after them."""
    before = pickle.loads(state)
    bits = getattr(np.random, before["bit_generator"])()
    bits.state = before
    counts_RP = _count(problems, resamples, np.random.Generator(bits))
    counts_RP.flags.writeable = False
    return counts_RP, pickle.dumps(bits.state)


def _count(problems: int, resamples: int, rng: np.random.Generator) -> UInt8[np.ndarray, "R P"]:
    counts_RP = np.empty((resamples, problems), dtype=np.uint8)
    if problems == 0:
        return counts_RP
    # So few rows at a time that all of it stays in the processor's cache.
    rows = max(1, CACHED_COUNTS // problems)
    for at in range(0, resamples, rows):
        drawn_BP = rng.integers(
            problems, size=(min(rows, resamples - at), problems), dtype=np.int32
        )
        cells_BP = drawn_BP + problems * np.arange(len(drawn_BP))[:, None]
        made = np.bincount(cells_BP.ravel(), minlength=cells_BP.size)
        counts_RP[at : at + rows] = made.reshape(cells_BP.shape)
    return counts_RP


def sum_resamples(
    counts_RP: UInt8[np.ndarray, "R P"], values_PM: Float[np.ndarray, "P M"]
) -> Float[np.ndarray, "R M"]:
    """``counts_RP @ values_PM``, the sums of every resample, some rows at a time."""
    out_RM = np.empty((len(counts_RP), values_PM.shape[1]))
    rows = max(1, PRODUCT_COUNTS // max(len(values_PM), 1))
    for at in range(0, len(counts_RP), rows):
        some_BP = counts_RP[at : at + rows].astype(np.float64)
        np.matmul(some_BP, values_PM, out=out_RM[at : at + rows])
    return out_RM


def evaluate(sums: Sums) -> Float[np.ndarray, " M"]:
    """The statistics themselves; zero denominator → NaN."""
    return _divide(sums.a_PM.sum(axis=0), sums.b_PM.sum(axis=0))


def draw(counts_RP: UInt8[np.ndarray, "R P"], sums: Sums) -> Float[np.ndarray, "R M"]:
    """The statistics of every resample; NaN where a resample's denominator is zero."""
    # One product reads the counts, by far the largest array, once.
    a_RM, b_RM = np.hsplit(sum_resamples(counts_RP, np.hstack([sums.a_PM, sums.b_PM])), 2)
    return _divide(a_RM, b_RM)


def clustered_errors(sums: Sums) -> Float[np.ndarray, " M"]:
    """``sqrt(P/(P-1) sum_i (a_i - r b_i)^2) / sum_i b_i``: standard errors by linearisation.

    P counts problems with ``b_i > 0``; fewer than two → NaN.
    """
    return _errors(_influence(sums), _problems(sums))


def estimate(
    sums: Sums,
    *,
    shares_M: Bool[np.ndarray, " M"],
    n_samples_M: Int[np.ndarray, " M"],
    counts_RP: UInt8[np.ndarray, "R P"],
    level: float = LEVEL,
) -> list[Interval]:
    """Interval of each statistic. ``shares_M``: it lies in [0, 1] whatever is drawn."""
    values_M, n_M, errors_M = evaluate(sums), _problems(sums), clustered_errors(sums)
    low_M, high_M = np.full(values_M.shape, np.nan), np.full(values_M.shape, np.nan)
    if shares_M.any():
        share_M = np.where(shares_M, values_M, np.nan)
        size_M = _effective_sizes(sums, share_M, errors_M, np.maximum(n_samples_M, 1))
        ends = wilson_ends(share_M, size_M, _student(n_M, level=level))
        low_M[shares_M], high_M[shares_M] = (end_M[shares_M] for end_M in ends)
    if not shares_M.all():
        drawn = Sums(sums.a_PM[:, ~shares_M], sums.b_PM[:, ~shares_M])
        low_M[~shares_M], high_M[~shares_M] = expanded_percentiles(
            draw(counts_RP, drawn), n_problems_M=n_M[~shares_M], level=level
        )
    return _intervals(values_M, low_M, high_M, n_M, n_samples_M, errors_M)


def estimate_differences(
    before: Sums,
    after: Sums,
    *,
    shares_M: Bool[np.ndarray, " M"],
    n_samples_M: Int[np.ndarray, " M"],
    counts_RP: UInt8[np.ndarray, "R P"],
) -> list[Interval]:
    """Intervals of after - before; both see the same resampled problems.

    Where a share differs in no problem at all, the interval is ``± z^2 / (P + z^2)``, Wilson's
    bound on the share of problems that could differ.
    """
    values_M = evaluate(after) - evaluate(before)
    n_M = np.minimum(_problems(before), _problems(after))
    influence_PM = _influence(after) - _influence(before)
    errors_M = _errors(influence_PM, n_M)
    draws_RM = draw(counts_RP, after) - draw(counts_RP, before)
    low_M, high_M = expanded_percentiles(draws_RM, n_problems_M=n_M, level=LEVEL)
    still_M = shares_M & (influence_PM == 0).all(axis=0) & (values_M == 0) & (n_M >= 2)
    z_M = _student(n_M, level=LEVEL)
    bound_M = z_M**2 / (n_M + z_M**2)
    return _intervals(
        values_M,
        np.where(still_M, -bound_M, low_M),
        np.where(still_M, bound_M, high_M),
        n_M,
        n_samples_M,
        errors_M,
    )


def expanded_percentiles(
    draws_RM: Float[np.ndarray, "R M"],
    *,
    n_problems_M: Int[np.ndarray, " M"],
    level: float = LEVEL,
) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Percentiles of the defined draws at ``Phi(-+ sqrt(P/(P-1)) t)``; NaN below two problems.

    Ordinary percentiles are narrower by that factor: they leave out that the spread itself is
    estimated, from P problems.
    """
    sorted_RM = np.sort(draws_RM, axis=0)
    defined_M = (~np.isnan(sorted_RM)).sum(axis=0)
    wide_M = _student(n_problems_M, level=level) * np.sqrt(
        n_problems_M / np.maximum(n_problems_M - 1, 1)
    )
    usable_M = (n_problems_M >= 2) & (defined_M > 0)
    ends = []
    for tail_M in (ndtr(-wide_M), ndtr(wide_M)):
        place_M = np.where(usable_M, tail_M, 0.0) * np.maximum(defined_M - 1, 0)
        below_M = np.floor(place_M).astype(np.int64)
        above_M = np.minimum(below_M + 1, np.maximum(defined_M - 1, 0))
        low_M, high_M = (
            np.take_along_axis(sorted_RM, at_M[None], axis=0)[0] for at_M in (below_M, above_M)
        )
        ends.append(np.where(usable_M, low_M + (place_M - below_M) * (high_M - low_M), np.nan))
    return ends[0], ends[1]


def bootstrap_mean(
    values_P: Float[np.ndarray, " P"],
    *,
    n_samples: int,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """``sum_i v_i / P`` over the problems whose value is defined (not NaN)."""
    kept_P1 = values_P[~np.isnan(values_P)][:, None]
    return estimate(
        averages(kept_P1),
        shares_M=np.array([False]),
        n_samples_M=np.array([n_samples]),
        counts_RP=resample_counts(kept_P1.size, rng=rng, resamples=resamples),
        level=level,
    )[0]


def _effective_sizes(
    sums: Sums,
    share_M: Float[np.ndarray, " M"],
    error_M: Float[np.ndarray, " M"],
    n_samples_M: Int[np.ndarray, " M"],
) -> Float[np.ndarray, " M"]:
    """How many independent samples would know a share as well: ``p (1 - p) / error^2``.

    At worst, all samples of a problem agree, and the size is the number of problems P. What it
    exceeds P by is trusted by m / (m + 2) only, m being the problems with any hit or those with
    any miss, whichever are fewer: the error is known from no more than these. Without that, 30
    problems of which 3 or 4 have hits gave intervals that cover 88%. At least 1, at most the
    samples.
    """
    n_problems_M = _problems(sums)
    spread_M = share_M * (1.0 - share_M)
    seen_M = (error_M > 0) & (spread_M > 0)
    size_M = np.where(seen_M, spread_M / np.where(seen_M, error_M, 1.0) ** 2, n_problems_M)
    telling_M = np.minimum((sums.a_PM > 0).sum(axis=0), (sums.a_PM < sums.b_PM).sum(axis=0))
    trusted_M = n_problems_M + (size_M - n_problems_M) * telling_M / (telling_M + 2)
    return np.asarray(np.clip(np.minimum(size_M, trusted_M), 1.0, n_samples_M))


def wilson_ends(
    share_M: Float[np.ndarray, " M"],
    size_M: Float[np.ndarray, " M"],
    z_M: Float[np.ndarray, " M"],
) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Wilson's score interval of a share seen in ``size_M`` independent samples."""
    z2_M, spread_M = z_M**2, share_M * (1.0 - share_M)
    middle_M = (share_M + z2_M / (2 * size_M)) / (1 + z2_M / size_M)
    half_M = np.sqrt(z2_M * (spread_M / size_M + z2_M / (4 * size_M**2))) / (1 + z2_M / size_M)
    # At shares of 0 and 1 the formula gives exactly these ends, but for rounding.
    low_M = np.where(share_M == 0, 0.0, middle_M - half_M)
    return low_M, np.where(share_M == 1, 1.0, middle_M + half_M)


def _student(n_problems_M: Int[np.ndarray, " M"], *, level: float) -> Float[np.ndarray, " M"]:
    quantile_M = stdtrit(np.maximum(n_problems_M - 1, 1), 1 - (1 - level) / 2)
    return np.asarray(np.where(n_problems_M >= 2, quantile_M, np.nan))


def _influence(sums: Sums) -> Float[np.ndarray, "P M"]:
    return _divide(sums.a_PM - evaluate(sums) * sums.b_PM, sums.b_PM.sum(axis=0))


def _errors(
    influence_PM: Float[np.ndarray, "P M"], n_problems_M: Int[np.ndarray, " M"]
) -> Float[np.ndarray, " M"]:
    factor_M = _divide(n_problems_M.astype(np.float64), (n_problems_M - 1).astype(np.float64))
    return np.asarray(np.sqrt(factor_M * (influence_PM**2).sum(axis=0)))


def _problems(sums: Sums) -> Int[np.ndarray, " M"]:
    return np.asarray((sums.b_PM > 0).sum(axis=0))


def _divide(
    over: Float[np.ndarray, "..."], under: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    positive = under > 0
    return np.where(positive, over / np.where(positive, under, 1.0), np.nan)


def _intervals(
    values_M: Float[np.ndarray, " M"],
    low_M: Float[np.ndarray, " M"],
    high_M: Float[np.ndarray, " M"],
    n_problems_M: Int[np.ndarray, " M"],
    n_samples_M: Int[np.ndarray, " M"],
    errors_M: Float[np.ndarray, " M"],
) -> list[Interval]:
    usable_M = (n_problems_M >= 2) & ~np.isnan(values_M)
    columns = (
        values_M,
        np.where(usable_M, low_M, np.nan),
        np.where(usable_M, high_M, np.nan),
        n_problems_M,
        n_samples_M,
        errors_M,
    )
    return [Interval(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
