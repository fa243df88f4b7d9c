"""Arora & Zanette: a right answer loses by its standing among the group's right lengths."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView


def rloo_lp(
    g: GroupView, *, alpha: Annotated[float, Ge(0), Le(1)] = 0.1
) -> Float[np.ndarray, " G"]:
    """``r_i = 1[right_i] * (1 - alpha * sigmoid((L_i - mean) / std))`` over right lengths.

    Source: arXiv:2502.04463, whose equations we did not read; formula and population std are
    those of its code (Zanette-Labs/efficient-reasoning), which adds 1e-7 to the std. Here equal
    lengths give exactly ``1 - alpha / 2``, as does a single right answer. The code also counts
    a rollout without a stop token as wrong. All wrong: zeros.

    Args:
        alpha: greatest share of the reward that length can take, in [0, 1]; the authors tried
            0.05 to 0.4.
    """
    right_G = g.right_G
    reward_G = np.zeros(right_G.shape)
    if not right_G.any():
        return reward_G
    tokens_R = g.tokens_G[right_G].astype(np.float64)
    spread = tokens_R.std() if np.ptp(tokens_R) > 0 else np.inf
    standing_R = (tokens_R - tokens_R.mean()) / spread
    reward_G[right_G] = 1.0 - alpha / (1.0 + np.exp(-standing_R))
    return reward_G
