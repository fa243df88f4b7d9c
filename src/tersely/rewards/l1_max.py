"""L1-Max: a right answer is paid by how far it stays below the budget of its prompt."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import require

NEEDS: frozenset[str] = frozenset({"target_tokens"})


def l1_max(
    g: GroupView,
    *,
    alpha: Annotated[float, Ge(0)] = 3e-4,
    delta: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[right_i] * clip(alpha * (target - L_i) + delta, 0, 1)``.

    Source: arXiv:2503.04697, Eq. 2. The paper's code has half the slope: ``l1_max_code``. Beyond
    ``target + delta / alpha`` a right answer gets no more than a wrong one. All wrong: zeros.

    Args:
        alpha: reward per token saved, >= 0.
        delta: reward of a right answer exactly at the target, in [0, 1].
    """
    require(g, NEEDS)
    if alpha == 0.0:  # an infinite target times 0 would be NaN
        return np.where(g.right_G, delta, 0.0)
    pay_G = np.clip(alpha * (g.target_tokens - g.tokens_G) + delta, 0.0, 1.0)
    return np.where(g.right_G, pay_G, 0.0)
