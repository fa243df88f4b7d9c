"""How long completions are, given that they are correct, wrong, or either."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

DEFAULT_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class LengthSummary(NamedTuple):
    """Lengths of one set of samples, pooled over problems; NaN throughout if it is empty."""

    mean_tokens: float
    quantile_tokens_Q: Float[np.ndarray, " Q"]
    truncated_share: float
    n_samples: int


class LengthsByCorrectness(NamedTuple):
    """``all`` is the graded samples, so that it is the mixture of the other two."""

    all: LengthSummary
    correct: LengthSummary
    wrong: LengthSummary


def summarise_lengths(
    tokens_PS: Int[np.ndarray, "P S"],
    finished_PS: Bool[np.ndarray, "P S"],
    among_PS: Bool[np.ndarray, "P S"],
    *,
    quantiles_Q: tuple[float, ...] = DEFAULT_QUANTILES,
) -> LengthSummary:
    """Mean, quantiles and truncated share of the samples in ``among_PS``, pooled.

    Quantiles interpolate linearly between order statistics. A truncated sample enters with the
    length it had when it was cut, so means over it are lower bounds.
    """
    tokens_N = tokens_PS[among_PS].astype(np.float64)
    if tokens_N.size == 0:
        return LengthSummary(np.nan, np.full(len(quantiles_Q), np.nan), np.nan, 0)
    return LengthSummary(
        mean_tokens=float(tokens_N.mean()),
        quantile_tokens_Q=np.quantile(tokens_N, np.array(quantiles_Q)),
        truncated_share=float((~finished_PS[among_PS]).mean()),
        n_samples=tokens_N.size,
    )


def split_lengths(
    correct_PS: Bool[np.ndarray, "P S"],
    finished_PS: Bool[np.ndarray, "P S"],
    tokens_PS: Int[np.ndarray, "P S"],
    graded_PS: Bool[np.ndarray, "P S"],
    *,
    quantiles_Q: tuple[float, ...] = DEFAULT_QUANTILES,
) -> LengthsByCorrectness:
    """Length summaries of all graded samples, of the correct and of the wrong ones.

    Correct is the grader's word at the sampled cap. Ungraded samples are in none of the three.
    """

    def summary(among_PS: Bool[np.ndarray, "P S"]) -> LengthSummary:
        return summarise_lengths(tokens_PS, finished_PS, among_PS, quantiles_Q=quantiles_Q)

    return LengthsByCorrectness(
        all=summary(graded_PS),
        correct=summary(graded_PS & correct_PS),
        wrong=summary(graded_PS & ~correct_PS),
    )
