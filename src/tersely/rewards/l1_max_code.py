"""L1-Max as its code computes it: half the slope that the paper prints."""

from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import require

NEEDS: frozenset[str] = frozenset({"target_tokens"})


def l1_max_code(
    g: GroupView, *, alpha: Annotated[float, Ge(0)] = 3e-4
) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[right_i] * (clip(alpha * (target - L_i), -1, 1) + 1) / 2``.

    Source: cmu-l3/l1, ``math_reward.py``, the code of arXiv:2503.04697. Its Eq. 2 (``l1_max``)
    has slope alpha and reaches 1 after ``0.5 / alpha`` tokens below the target; the code has
    slope alpha / 2 and takes ``1 / alpha``. All wrong: zeros.

    Args:
        alpha: twice the reward per token saved, >= 0.
    """
    require(g, NEEDS)
    if alpha == 0.0:  # an infinite target times 0 would be NaN
        return np.where(g.right_G, 0.5, 0.0)
    score_G = np.clip(alpha * (g.target_tokens - g.tokens_G), -1.0, 1.0)
    return np.where(g.right_G, (score_G + 1.0) / 2.0, 0.0)
