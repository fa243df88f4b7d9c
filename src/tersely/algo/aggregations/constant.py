"""Dr. GRPO's constant denominator."""

import numpy as np
from jaxtyping import Int

from tersely.algo.aggregations import Aggregation, require_tokens

EVEN, VERL = True, None


def constant(
    tokens_B: Int[np.ndarray, " B"], group_B: Int[np.ndarray, " B"], *, tokens_per_row: int
) -> Aggregation:
    """``sum / (rows * tokens_per_row)``: Dr. GRPO's.  Source: arXiv:2503.20783.

    No length in the denominator, so the gradient's scale does not move with the lengths of the
    batch. It is ``token_mean`` where every row has ``tokens_per_row`` tokens.

    Args:
        tokens_per_row: the same for the whole run, > 0; TRL and Dr. GRPO take the cap L_R.
    Raises:
        ValueError: if ``tokens_per_row`` is not positive or the update has no loss tokens.
    """
    require_tokens(tokens_B)
    if not tokens_per_row > 0:
        raise ValueError(f"tokens_per_row must be positive, got {tokens_per_row}")
    return Aggregation(np.ones(len(tokens_B)), int((tokens_B > 0).sum()) * tokens_per_row)
