"""How long completions are, given that they are correct, wrong, cut off, or any of these."""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import stdtrit

from tersely.metrics.intervals import LEVEL, Interval, Sums, clustered_errors
from tersely.metrics.records import UNKNOWN_TOKENS, SampleTable

# Lengths at which the distribution function is given.
POINTS = 80
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Among(StrEnum):
    """Sets of graded samples. Correct and wrong make up all; a truncated sample is a wrong one."""

    ALL = "all"
    CORRECT = "correct"
    WRONG = "wrong"
    TRUNCATED = "truncated"


class Part(StrEnum):
    """Parts of a length: the thinking with its marks, what follows it, and what right samples
    write after a right answer first stands."""

    THINKING = "thinking"
    REPLY = "reply"
    AFTER_RIGHT = "after the first right answer"


# What the mean of each is called.
MEANS = {
    Part.THINKING: "mean thinking tokens",
    Part.REPLY: "mean reply tokens",
    Part.AFTER_RIGHT: "mean tokens after the first right answer",
}


SETS: tuple[Among | Part, ...] = (*Among, *Part)


def mean_name(among: Among | Part) -> str:
    """What the mean of these lengths is called."""
    if isinstance(among, Part):
        return MEANS[among]
    return "mean tokens" if among is Among.ALL else f"mean tokens given {among}"


class SampleLengths(NamedTuple):
    """Tokens of every sample, and the samples that are meant.

    Args:
        mean_name: what their mean is called.
        unknown: graded samples of which the tokens are not known; then no sample is meant, for
            those that happen to be known are no fair choice.
    """

    mean_name: str
    tokens_PS: Int[np.ndarray, "P S"]
    among_PS: Bool[np.ndarray, "P S"]
    unknown: int = 0


class LengthSummary(NamedTuple):
    """Lengths of one set of samples, pooled over problems; NaN and empty if there are none.

    ``cdf_X`` is the share of the set with at most ``grid_X`` tokens. ``unknown`` is as in
    ``SampleLengths``.
    """

    among: Among | Part
    quantiles: tuple[Interval, ...]
    grid_X: Float[np.ndarray, " X"]
    cdf_X: Float[np.ndarray, " X"]
    n_samples: int
    unknown: int = 0


def mask(table: SampleTable, among: Among) -> Bool[np.ndarray, "P S"]:
    """Which samples are in the set; ungraded ones are in none."""
    kept_PS = {
        Among.ALL: table.graded_PS,
        Among.CORRECT: table.right_PS,
        Among.WRONG: ~table.right_PS,
        Among.TRUNCATED: ~table.finished_PS,
    }[among]
    return np.asarray(table.graded_PS & kept_PS)


def lengths_of(table: SampleTable, among: Among | Part) -> SampleLengths:
    """Whole lengths of a set of samples, or a part of all lengths."""
    if isinstance(among, Among):
        return SampleLengths(mean_name(among), table.tokens_PS, mask(table, among))
    after = among is Part.AFTER_RIGHT
    end_PS = table.answer_tokens_PS if after else table.thinking_PS
    among_PS = table.right_PS if after else table.graded_PS
    if end_PS is None:
        end_PS = np.full_like(table.tokens_PS, UNKNOWN_TOKENS)
    unknown = int((among_PS & (end_PS == UNKNOWN_TOKENS)).sum())
    end_PS = np.minimum(end_PS, table.tokens_PS)
    part_PS = end_PS if among is Part.THINKING else table.tokens_PS - end_PS
    return SampleLengths(MEANS[among], part_PS, among_PS & (unknown == 0), unknown)


def summarise_lengths(
    table: SampleTable,
    among: Among | Part,
    *,
    quantiles_Q: tuple[float, ...] = QUANTILES,
) -> LengthSummary:
    """Quantiles with intervals, and the distribution function on a log grid up to the cap.

    Quantiles interpolate linearly between order statistics; their intervals are Woodruff's: the
    interval of the distribution function there, clustered by problem, read back as lengths.
    Source: R. Woodruff, JASA 47 (1952). A truncated sample enters with the length it had when it
    was cut, so what is beyond the cap is a lower bound.
    """
    _, tokens_PS, among_PS, unknown = lengths_of(table, among)
    tokens_N = np.sort(tokens_PS[among_PS]).astype(np.float64)
    grid_X = np.geomspace(1.0, float(table.reach_tokens), POINTS)
    cdf_X = (
        np.searchsorted(tokens_N, grid_X, side="right") / tokens_N.size
        if tokens_N.size
        else np.full(POINTS, np.nan)
    )
    return LengthSummary(
        among=among,
        quantiles=_quantiles(tokens_PS, among_PS, tokens_N, np.array(quantiles_Q)),
        grid_X=grid_X,
        cdf_X=cdf_X,
        n_samples=tokens_N.size,
        unknown=unknown,
    )


def _quantiles(
    tokens_PS: Int[np.ndarray, "P S"],
    among_PS: Bool[np.ndarray, "P S"],
    sorted_N: Float[np.ndarray, " N"],
    q_Q: Float[np.ndarray, " Q"],
) -> tuple[Interval, ...]:
    n_samples = sorted_N.size
    if not n_samples:
        return (Interval(np.nan, np.nan, np.nan, 0, 0),) * len(q_Q)
    count_P = among_PS.sum(axis=1).astype(np.float64)
    n_problems = int((count_P > 0).sum())
    value_Q = read_quantiles(sorted_N, q_Q)
    low_Q = high_Q = np.full(len(q_Q), np.nan)
    if n_problems >= 2:
        below_PQ = np.stack(
            [(among_PS & (tokens_PS <= value)).sum(axis=1) for value in value_Q], axis=1
        ).astype(np.float64)
        count_PQ = np.broadcast_to(count_P[:, None], below_PQ.shape)
        errors_Q = clustered_errors(Sums(below_PQ, count_PQ))
        reach_Q = float(stdtrit(n_problems - 1, 1 - (1 - LEVEL) / 2)) * errors_Q
        low_Q = read_quantiles(sorted_N, np.clip(q_Q - reach_Q, 0.0, 1.0))
        high_Q = read_quantiles(sorted_N, np.clip(q_Q + reach_Q, 0.0, 1.0))
    columns = (value_Q.tolist(), low_Q.tolist(), high_Q.tolist())
    return tuple(Interval(*ends, n_problems, n_samples) for ends in zip(*columns, strict=True))


def read_quantiles(
    sorted_N: Float[np.ndarray, " N"], q_Q: Float[np.ndarray, " Q"]
) -> Float[np.ndarray, " Q"]:
    """``np.quantile`` of what is sorted already, to the last bit, in a tenth of its time."""
    place_Q = q_Q * (sorted_N.size - 1)
    low_Q = np.floor(place_Q).astype(np.int64)
    part_Q = place_Q - low_Q
    below_Q, above_Q = sorted_N[low_Q], sorted_N[np.minimum(low_Q + 1, sorted_N.size - 1)]
    step_Q = above_Q - below_Q
    read_Q = np.where(part_Q < 0.5, below_Q + step_Q * part_Q, above_Q - step_Q * (1.0 - part_Q))
    return np.asarray(read_Q)


def average_tokens(table: SampleTable) -> Float[np.ndarray, " P"]:
    """Mean tokens of each problem's graded samples; none → NaN."""
    count_P = table.graded_PS.sum(axis=1)
    total_P = np.where(table.graded_PS, table.tokens_PS, 0).sum(axis=1)
    return np.where(count_P > 0, total_P / np.maximum(count_P, 1), np.nan)
