"""The mean over prompts."""

import numpy as np
from jaxtyping import Int

from tersely.algo.aggregations import Aggregation, require_tokens

EVEN, VERL = False, None


def prompt_mean(tokens_B: Int[np.ndarray, " B"], group_B: Int[np.ndarray, " B"]) -> Aggregation:
    """Every prompt weighs the same: ``mean over prompts of the mean over all its tokens``.

    Within a prompt it is ``token_mean``: a hard prompt with long rollouts does not drown the
    easy ones. For one row a prompt it is ``sequence_mean``, for a single prompt ``token_mean``.
    Neither TRL 1.16 nor verl 0.9.1 has it.

    Raises:
        ValueError: if the update has no loss tokens.
    """
    require_tokens(tokens_B)
    _, place_B = np.unique(group_B, return_inverse=True)
    tokens_P = np.bincount(place_B, weights=tokens_B)
    weight_B = np.where(tokens_B > 0, 1 / np.maximum(tokens_P, 1)[place_B], 0.0)
    return Aggregation(weight_B, int((tokens_P > 0).sum()))
