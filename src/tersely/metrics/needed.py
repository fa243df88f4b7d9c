"""The cap and the cost that an evaluation needs for an accuracy: its curve read the other way."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tersely.metrics.intervals import Interval
from tersely.metrics.records import SampleTable
from tersely.metrics.simultaneous import draw_normal

POINTS, FEWER_POINTS = 128, 48
MANY_PROBLEMS = 20_000
DRAWS = 2000
TAILS = (0.025, 0.975)


class NeededTokens(NamedTuple):
    """The lowest cap with an accuracy, and the mean cost of a question there, in tokens at first.

    NaN where the accuracy is not reached at the sampled cap; an upper end of infinity: the data do
    not rule out that it is not.
    """

    accuracy: float
    cap: Interval
    cost: Interval


class AccuracyCurve(NamedTuple):
    """Accuracy of one vote and mean tokens at F caps, and how they vary together over problems.

    Args:
        covariance_FF: of the means: accuracy at all caps, then tokens at all caps.
        right_N, weight_N: length of each right sample, ascending, and its weight in the mean.
    """

    caps_F: Int[np.ndarray, " F"]
    right_F: Float[np.ndarray, " F"]
    tokens_F: Float[np.ndarray, " F"]
    covariance_FF: Float[np.ndarray, "F F"]
    right_N: Int[np.ndarray, " N"]
    weight_N: Float[np.ndarray, " N"]
    n_problems: int
    n_samples: int


def trace_curve(table: SampleTable) -> AccuracyCurve:
    """The curve over caps from the shortest sample to the sampled cap, 128 at most, 48 for many
    problems."""
    graded_PS = table.graded_PS
    n_P = graded_PS.sum(axis=1)
    points = POINTS if len(n_P) <= MANY_PROBLEMS else FEWER_POINTS
    shortest = max(1, int(table.tokens_PS[graded_PS].min()))
    caps_F = np.unique(np.geomspace(shortest, table.reach_tokens, points).round().astype(np.int64))
    right_PS = table.right_PS
    right_PF = _accumulate(caps_F, table.tokens_PS, right_PS.astype(np.float64))
    ended_PF = _accumulate(caps_F, table.tokens_PS, graded_PS.astype(np.float64))
    spent_PF = _accumulate(caps_F, table.tokens_PS, graded_PS * table.tokens_PS.astype(np.float64))
    spent_PF += caps_F * (n_P[:, None] - ended_PF)
    both_PF = np.hstack([right_PF, spent_PF]) / n_P[:, None]
    problems = len(n_P)
    centred_PF = both_PF - both_PF.mean(axis=0)
    weight_PS = right_PS / (n_P[:, None] * problems)
    order_N = np.argsort(table.tokens_PS[right_PS], kind="stable")
    right_F, tokens_F = np.split(both_PF.mean(axis=0), 2)
    return AccuracyCurve(
        caps_F,
        right_F,
        tokens_F,
        centred_PF.T @ centred_PF / (problems * max(problems - 1, 1)),
        table.tokens_PS[right_PS][order_N],
        weight_PS[right_PS][order_N],
        problems,
        int(n_P.sum()),
    )


def _accumulate(
    caps_F: Int[np.ndarray, " F"], tokens_PS: Int[np.ndarray, "P S"], worth_PS: np.ndarray
) -> Float[np.ndarray, "P F"]:
    """Sum of the worth of each problem's samples that take at most each cap."""
    problems, caps = len(tokens_PS), len(caps_F)
    # A sample above all caps, which a cap of its own made, falls into a column that is dropped.
    column_PS = np.searchsorted(caps_F, tokens_PS)
    cells_PS = np.arange(problems)[:, None] * (caps + 1) + column_PS
    sums_N = np.bincount(
        cells_PS.ravel(), weights=worth_PS.ravel(), minlength=problems * (caps + 1)
    )
    return np.asarray(sums_N.reshape(problems, caps + 1)[:, :caps].cumsum(axis=1))


def find_needed(curve: AccuracyCurve, *, accuracy: float, rng: np.random.Generator) -> NeededTokens:
    """The lowest cap at which the accuracy is reached, exactly, and the mean tokens there.

    Intervals: the whole curve is drawn from the normal law of its means, with Student's correction
    for few problems, and read the other way each time.
    """
    problems, caps = curve.n_problems, len(curve.caps_F)
    reached_N = np.cumsum(curve.weight_N) >= accuracy - 1e-12
    cap, tokens = np.nan, np.nan
    if reached_N.any():
        cap = float(curve.right_N[int(reached_N.argmax())])
        tokens = float(np.interp(cap, curve.caps_F, curve.tokens_F))
    if problems < 2:
        return NeededTokens(accuracy, *(_state(v, np.nan, np.nan, curve) for v in (cap, tokens)))
    scale_R1 = np.sqrt(rng.chisquare(problems - 1, size=(DRAWS, 1)) / (problems - 1))
    noise_RF = draw_normal(curve.covariance_FF, rng=rng, draws=DRAWS) / scale_R1
    right_RF = np.maximum.accumulate(curve.right_F + noise_RF[:, :caps], axis=1)
    tokens_RF = curve.tokens_F + noise_RF[:, caps:]
    above_RF = right_RF >= accuracy
    place_R = np.where(above_RF.any(axis=1), above_RF.argmax(axis=1), caps)
    cap_R = _read_off(np.broadcast_to(curve.caps_F, right_RF.shape), right_RF, place_R, accuracy)
    token_R = _read_off(tokens_RF, right_RF, place_R, accuracy)
    of_cap, of_tokens = (
        np.quantile(drawn_R, TAILS, method="inverted_cdf").tolist() for drawn_R in (cap_R, token_R)
    )
    return NeededTokens(
        accuracy,
        _state(cap, of_cap[0], of_cap[1], curve),
        _state(tokens, of_tokens[0], of_tokens[1], curve),
    )


def _read_off(
    values_RF: np.ndarray,
    right_RF: Float[np.ndarray, "R F"],
    place_R: Int[np.ndarray, " R"],
    accuracy: float,
) -> Float[np.ndarray, " R"]:
    """The value where each curve crosses the accuracy, between two caps; else infinity."""
    caps, rows_R = right_RF.shape[1], np.arange(len(right_RF))
    after_R = np.minimum(place_R, caps - 1)
    before_R = np.maximum(after_R - 1, 0)
    low_R, high_R = right_RF[rows_R, before_R], right_RF[rows_R, after_R]
    rise_R = high_R - low_R
    part_R = np.where(rise_R > 0, (accuracy - low_R) / np.where(rise_R > 0, rise_R, 1.0), 1.0)
    start_R, end_R = values_RF[rows_R, before_R], values_RF[rows_R, after_R]
    crossed_R = start_R + np.clip(part_R, 0.0, 1.0) * (end_R - start_R)
    return np.where(place_R < caps, crossed_R, np.inf)


def _state(value: float, low: float, high: float, curve: AccuracyCurve) -> Interval:
    return Interval(value, float(low), float(high), curve.n_problems, curve.n_samples)
