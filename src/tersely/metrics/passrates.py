"""Pass rates of prompts, and which prompts to keep by them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import binomtest

from tersely.core.errors import ConfigError

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


def pass_rate(
    problem: str,
    source: str,
    *,
    right_S: Bool[np.ndarray, " S"],
    tokens_S: Int[np.ndarray, " S"],
    finished_S: Bool[np.ndarray, " S"],
    graded_S: Bool[np.ndarray, " S"],
) -> PassRate:
    """The pass rate of one prompt from its samples; ungraded ones are counted apart."""
    n, right = int(graded_S.sum()), int((right_S & graded_S).sum())
    low, high = wilson(right, n)
    of_right_S = right_S & graded_S
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
    )


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share; NaN for n = 0."""
    if n == 0:
        return float("nan"), float("nan")
    found = binomtest(right, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def in_band(
    rate_P: Float[np.ndarray, " P"], *, low: float, high: float, open_low: bool = False
) -> Bool[np.ndarray, " P"]:
    """``low <= rate <= high``, or ``low < rate`` where ``open_low``; unknown rates are outside."""
    above_P = rate_P > low if open_low else rate_P >= low
    return np.asarray(above_P & (rate_P <= high))


def between_quantiles(
    rate_P: Float[np.ndarray, " P"], *, low: float, high: float
) -> Bool[np.ndarray, " P"]:
    """The prompts whose rate lies within these quantiles of the known rates, ends included."""
    known_P = rate_P[np.isfinite(rate_P)]
    if not known_P.size:
        return np.zeros(rate_P.shape, dtype=bool)
    ends = np.quantile(known_P, [low, high])
    return in_band(rate_P, low=float(ends[0]), high=float(ends[1]))


def densest(density_P: Float[np.ndarray, " P"], *, wanted: float) -> Bool[np.ndarray, " P"]:
    """As many prompts as possible whose mean positive density is at least ``wanted``.

    Positive density: the share of a prompt's samples that are right within the target length, so
    that truncation would reward them. Prompts are taken from the densest on, of equal ones in
    order, as long as the mean of those taken does not fall below ``wanted``.

    Raises:
        ConfigError: no prompt is that dense.
    """
    known_P = np.where(np.isfinite(density_P), density_P, -np.inf)
    order_P = np.argsort(-known_P, kind="stable")
    taken = known_P[order_P]
    taken = taken[np.isfinite(taken)]
    means = np.cumsum(taken) / np.arange(1, taken.size + 1)
    enough = np.flatnonzero(means >= wanted - 1e-12)
    if not enough.size:
        most = f"{taken[0]:.2f}" if taken.size else "unknown"
        raise ConfigError(
            f"--density {wanted:g} is above the densest prompt's {most}; lower it or raise "
            "--target-tokens"
        )
    keep_P = np.zeros(density_P.shape, dtype=bool)
    keep_P[order_P[: enough[-1] + 1]] = True
    return keep_P


def count_bands(rates: Sequence[PassRate]) -> dict[str, int]:
    """How many prompts are easy, hard, never solved, and not known."""
    return {
        f"pass rate > {EASY_ABOVE:g}": sum(each.rate > EASY_ABOVE for each in rates),
        f"0 < pass rate <= {EASY_ABOVE:g}": sum(0 < each.rate <= EASY_ABOVE for each in rates),
        "pass rate 0": sum(each.rate == 0 for each in rates),
        "not graded": sum(each.n == 0 for each in rates),
    }


def equal_mixes(
    rates: Sequence[PassRate], *, seed: int, size: int | None = None
) -> dict[str, list[str]]:
    """Ids of an easy, a hard and a full set of equally many prompts, drawn by ``seed``.

    Easy: rate > 0.5; hard: rate <= 0.5; full: all with a known rate. The size is that of the
    smaller of easy and hard unless given.

    Raises:
        ConfigError: a set is empty, or smaller than ``size``.
    """
    rate_P = np.array([each.rate for each in rates])
    pools = {
        "easy": in_band(rate_P, low=EASY_ABOVE, high=1.0, open_low=True),
        "hard": in_band(rate_P, low=0.0, high=EASY_ABOVE),
        "full": np.isfinite(rate_P),
    }
    smallest = min(pools, key=lambda name: pools[name].sum())
    fewest = int(pools[smallest].sum())
    wanted = fewest if size is None else size
    if not 1 <= wanted <= fewest:
        raise ConfigError(
            f"{smallest} holds {fewest:,} prompts, and the mixes need {max(wanted, 1):,} of each; "
            "sample more prompts or lower --limit"
        )
    rng = np.random.default_rng(seed)
    mixes = {}
    for name, pool in pools.items():
        places = np.sort(rng.permutation(np.flatnonzero(pool))[:wanted])
        mixes[name] = [rates[int(place)].problem for place in places]
    return mixes
