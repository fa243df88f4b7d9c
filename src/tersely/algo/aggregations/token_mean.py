"""DAPO's mean over all loss tokens."""

import numpy as np
from jaxtyping import Int

from tersely.algo.aggregations import Aggregation, require_tokens

EVEN, VERL = True, "token-mean"


def token_mean(tokens_B: Int[np.ndarray, " B"], group_B: Int[np.ndarray, " B"]) -> Aggregation:
    """Every token weighs the same: ``sum / loss tokens``. DAPO's (arXiv:2503.14476), and ours.

    A long rollout pulls harder than a short one, in proportion.

    Raises:
        ValueError: if the update has no loss tokens.
    """
    require_tokens(tokens_B)
    return Aggregation(np.ones(len(tokens_B)), int(tokens_B.sum()))
