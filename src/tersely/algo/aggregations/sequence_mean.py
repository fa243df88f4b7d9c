"""GRPO's mean over rows."""

import numpy as np
from jaxtyping import Int

from tersely.algo.aggregations import Aggregation, require_tokens

EVEN, VERL = False, None


def sequence_mean(tokens_B: Int[np.ndarray, " B"], group_B: Int[np.ndarray, " B"]) -> Aggregation:
    """Every row weighs the same: ``mean over rows of the mean over its tokens``. GRPO's.

    Source: arXiv:2402.03300. A token of a long rollout weighs less, so long wrong answers are
    punished less per token than short ones.

    Raises:
        ValueError: if the update has no loss tokens.
    """
    require_tokens(tokens_B)
    weight_B = np.where(tokens_B > 0, 1 / np.maximum(tokens_B, 1), 0.0)
    return Aggregation(weight_B, int((tokens_B > 0).sum()))
