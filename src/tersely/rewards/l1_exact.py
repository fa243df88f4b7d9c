"""L1-Exact: answer right, and in as many tokens as the prompt asks for."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import require

NEEDS: frozenset[str] = frozenset({"target_tokens"})
EXCEPTIONS: Mapping[str, str] = {
    "shorter_pays_no_less": "arXiv:2503.04697, Eq. 1: an answer short of the target loses too"
}


def l1_exact(g: GroupView, *, alpha: Annotated[float, Ge(0)] = 3e-4) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[right_i] - alpha * |target - L_i|``.  Source: arXiv:2503.04697, Eq. 1.

    Wrong answers are shaped as well, so an all-wrong group is pulled to the target length. The
    code's linear branch agrees (cmu-l3/l1); its sigmoid branch, which rises with the distance
    from the target, is not offered.

    Args:
        alpha: penalty per token away from the target, >= 0.
    Raises:
        ValueError: the target is infinite.
    """
    require(g, NEEDS)
    if np.isinf(g.target_tokens).any():
        raise ValueError("l1_exact needs a finite target_tokens")
    return np.where(g.right_G, 1.0, 0.0) - alpha * np.abs(g.target_tokens - g.tokens_G)
