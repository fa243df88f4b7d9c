"""Accuracy at token budgets, from one sampling at the largest: the *finished* protocol."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.core.errors import ConfigError
from tersely.metrics.means import average_defined


class BudgetHits(NamedTuple):
    """Hits of each sample at each budget, and their means.

    Args:
        hits_PSB: 1 where the sample is right within the budget, else 0; NaN if ungraded.
        accuracy_PB: mean over the graded samples of a problem; NaN if it has none.
        accuracy_B: mean over the problems that have a graded sample.
    """

    budgets_B: Int[np.ndarray, " B"]
    hits_PSB: Float[np.ndarray, "P S B"]
    accuracy_PB: Float[np.ndarray, "P B"]
    accuracy_B: Float[np.ndarray, " B"]


def score_budgets(
    correct_PS: Bool[np.ndarray, "P S"],
    finished_PS: Bool[np.ndarray, "P S"],
    tokens_PS: Int[np.ndarray, "P S"],
    graded_PS: Bool[np.ndarray, "P S"],
    *,
    budgets_B: Int[np.ndarray, " B"],
    cap_tokens: int,
) -> BudgetHits:
    """``hit = correct and finished and tokens <= budget``.

    A completion capped at b is the b-token prefix of one capped higher, so one sampling at the
    cap gives every budget up to it. A right answer in a completion that did not stop by itself
    is no hit at any budget. An ungraded sample is left out at every budget, also at those that
    its length alone already rules out: keeping it only there would count misses but no hits.

    Raises:
        ConfigError: if a budget is below 1 or above the sampled cap.
    """
    for budget in budgets_B.tolist():
        if budget > cap_tokens:
            raise ConfigError(
                f"budget {budget} exceeds sampled cap {cap_tokens}; "
                f"resample with --max-tokens {budget}"
            )
        if budget < 1:
            raise ConfigError(f"budget {budget} is below 1 token; give a positive budget")
    right_PS = correct_PS & finished_PS
    hits_PSB = (right_PS[:, :, None] & (tokens_PS[:, :, None] <= budgets_B)).astype(np.float64)
    hits_PSB[~graded_PS] = np.nan
    accuracy_PB = average_defined(hits_PSB, axis=1)
    return BudgetHits(
        budgets_B=budgets_B,
        hits_PSB=hits_PSB,
        accuracy_PB=accuracy_PB,
        accuracy_B=average_defined(accuracy_PB, axis=0),
    )
