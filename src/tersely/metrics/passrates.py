"""Pass rates of prompts, and which prompts to keep by them."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

from tersely.core.errors import ConfigError
from tersely.metrics.intervals import LEVEL, wilson_ends

# "Easy" of arXiv:2602.20945: more than half of the rollouts right.
EASY_ABOVE = 0.5


class PassRate(NamedTuple):
    """What k samples of a prompt showed. NaN where it is not known.

    Args:
        n: graded samples.
        right: of these, correct and ended by themselves.
        rate: ``right / n``.
        low: lower end of Wilson's 95% interval of the rate.
        high: upper end.
        tokens_correct_median: median length of the right ones, in tokens.
        tokens_mean: mean length of all graded ones, in tokens.
        truncated_share: of the graded ones, cut at the cap.
        ungraded: samples that could not be graded; no part of the above.
        density: positive density, the share of the graded ones that are right within the target
            length, so that truncation rewards them; not known where no target is given.
    """

    problem: str
    source: str
    n: int
    right: int
    rate: float
    low: float
    high: float
    tokens_correct_median: float
    tokens_mean: float
    truncated_share: float
    ungraded: int
    density: float = float("nan")


def pass_rate(
    problem: str,
    source: str,
    *,
    right_S: Bool[np.ndarray, " S"],
    tokens_S: Int[np.ndarray, " S"],
    finished_S: Bool[np.ndarray, " S"],
    graded_S: Bool[np.ndarray, " S"],
    target_tokens: int | None = None,
) -> PassRate:
    """The pass rate of one prompt from its samples; ungraded ones are counted apart.

    ``target_tokens`` is L_T, the most tokens that count for the positive density.
    """
    n, right = int(graded_S.sum()), int((right_S & graded_S).sum())
    low, high = wilson(right, n)
    of_right_S = right_S & graded_S
    within = None if target_tokens is None else int((tokens_S[of_right_S] <= target_tokens).sum())
    nothing = float("nan")
    return PassRate(
        problem=problem,
        source=source,
        n=n,
        right=right,
        rate=right / n if n else nothing,
        low=low,
        high=high,
        tokens_correct_median=float(np.median(tokens_S[of_right_S])) if right else nothing,
        tokens_mean=float(tokens_S[graded_S].mean()) if n else nothing,
        truncated_share=float((~finished_S[graded_S]).mean()) if n else nothing,
        ungraded=int((~graded_S).sum()),
        density=within / n if n and within is not None else nothing,
    )


@cache
def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share; NaN for n = 0."""
    if n == 0:
        return float("nan"), float("nan")
    z = ndtri(0.5 + LEVEL / 2)
    low_M, high_M = wilson_ends(np.array([right / n]), np.array([float(n)]), np.array([z]))
    return float(low_M[0]), float(high_M[0])


def in_band(
    rate_P: Float[np.ndarray, " P"], *, low: float, high: float, open_low: bool = False
) -> Bool[np.ndarray, " P"]:
    """``low <= rate <= high``, or ``low < rate`` where ``open_low``; unknown rates are outside."""
    above_P = rate_P > low if open_low else rate_P >= low
    return np.asarray(above_P & (rate_P <= high))


def easy_hard_full(rate_P: Float[np.ndarray, " P"]) -> dict[str, Bool[np.ndarray, " P"]]:
    """Which prompts are easy (rate > 0.5), hard (0 < rate <= 0.5), and known at all.

    Source: arXiv:2602.20945, section 3.1, whose hard half also holds the prompts that were never
    solved; those give no reward to learn from and stand in the full set only.
    """
    return {
        "easy": in_band(rate_P, low=EASY_ABOVE, high=1.0, open_low=True),
        "hard": in_band(rate_P, low=0.0, high=EASY_ABOVE, open_low=True),
        "full": np.isfinite(rate_P),
    }


def quantile_ends(
    rate_P: Float[np.ndarray, " P"], *, low: float, high: float
) -> tuple[float, float]:
    """The pass rates at two quantiles of the known ones; NaN where none is known."""
    known_P = rate_P[np.isfinite(rate_P)]
    if not known_P.size:
        return float("nan"), float("nan")
    ends = np.quantile(known_P, [low, high])
    return float(ends[0]), float(ends[1])


def nearest_density(density_P: Float[np.ndarray, " P"], *, wanted: float) -> Bool[np.ndarray, " P"]:
    """The prompts whose mean positive density is as near to ``wanted`` as one cut brings it.

    Prompts are ordered from the densest on, equal ones as they come. If the mean of all is above
    ``wanted``, the densest leave one by one, else the least dense; of the sets on the way, all
    prompts among them, the one whose mean is nearest is kept, of equally near ones the largest.

    Raises:
        ConfigError: no set can be near, for ``wanted`` is outside of all densities.
    """
    order_P = np.argsort(-np.where(np.isfinite(density_P), density_P, -np.inf), kind="stable")
    order_P = order_P[np.isfinite(density_P[order_P])]
    if not order_P.size or not density_P[order_P[-1]] <= wanted <= density_P[order_P[0]]:
        ends = density_P[order_P[[-1, 0]]] if order_P.size else [np.nan, np.nan]
        raise ConfigError(
            f"--density {wanted:g} is outside of the prompts' {ends[0]:.3g} to {ends[1]:.3g}; "
            "choose one within, or another --target-tokens"
        )
    if density_P[order_P].mean() > wanted:
        order_P = order_P[::-1]
    sizes = np.arange(order_P.size, 0, -1)
    means = np.cumsum(density_P[order_P])[::-1] / sizes
    # Rounded, so that sums of floats do not decide between equally near sets.
    size = sizes[np.argmin(np.round(np.abs(means - wanted), 12))]
    keep_P = np.zeros(density_P.shape, dtype=bool)
    keep_P[order_P[:size]] = True
    return keep_P


def count_bands(rates: Sequence[PassRate]) -> dict[str, int]:
    """How many prompts have a pass rate above 0.5, one up to it, and 0."""
    return {
        f"> {EASY_ABOVE:g}": sum(each.rate > EASY_ABOVE for each in rates),
        f"up to {EASY_ABOVE:g}": sum(0 < each.rate <= EASY_ABOVE for each in rates),
        "0": sum(each.rate == 0 for each in rates),
    }


def draw_some(
    fits_P: Bool[np.ndarray, " P"], *, size: int | None, rng: np.random.Generator
) -> Bool[np.ndarray, " P"]:
    """At most ``size`` of the prompts that fit, all of them for None."""
    drawn_P = np.zeros(fits_P.shape, dtype=bool)
    drawn_P[rng.permutation(np.flatnonzero(fits_P))[:size]] = True
    return drawn_P


def common_size(fits: Mapping[str, Bool[np.ndarray, " P"]], *, limit: int | None) -> int:
    """How many prompts each of several sets of one size holds: as many as the smallest can, or
    ``limit``.

    Raises:
        ConfigError: a set is empty, or smaller than ``limit``.
    """
    counts = {name: int(fits_P.sum()) for name, fits_P in fits.items()}
    smallest = min(counts, key=lambda name: counts[name])
    size = counts[smallest] if limit is None else limit
    if not 1 <= size <= counts[smallest]:
        raise ConfigError(
            f"{smallest} holds {counts[smallest]:,} prompts, and sets of one size need "
            f"{max(size, 1):,} of each; sample more prompts or lower --limit"
        )
    return size
