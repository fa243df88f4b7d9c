"""TRL's cosine reward: like the original, but with nothing special at the cap."""

import numpy as np
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import bounded, require

NEEDS: frozenset[str] = frozenset({"cap_tokens"})


def cosine_trl(
    g: GroupView,
    *,
    correct_short: float = 1.0,
    correct_long: float = 0.5,
    wrong_short: float = -1.0,
    wrong_long: float = -0.5,
) -> Float[np.ndarray, "... G"]:
    """``long + (short - long) * (1 + cos(pi * min(L_i / cap, 1))) / 2``.

    Source: ``get_cosine_scaled_reward`` of TRL 1.16, after arXiv:2502.03373. Unlike ``cosine``,
    a right answer keeps half its reward at the cap, and a wrong one that was cut off gets the
    best that a wrong one can, so filling the cap pays. TRL's bounds are named by size, min and
    max; ours by length. A group of one and an all-wrong group follow the formula.

    Args:
        correct_short, correct_long: reward of a right answer of 0 and of cap tokens, falling.
        wrong_short, wrong_long: reward of a wrong answer of 0 and of cap tokens, both
            <= correct_long.
    """
    bounded("correct_short", correct_short, low=correct_long)
    bounded("wrong_short", wrong_short, high=correct_long)
    bounded("wrong_long", wrong_long, high=correct_long)
    require(g, NEEDS)
    share_G = (1.0 + np.cos(np.pi * np.minimum(g.tokens_G / g.cap_tokens, 1.0))) / 2.0
    right_pay_G = correct_long + (correct_short - correct_long) * share_G
    wrong_pay_G = wrong_long + (wrong_short - wrong_long) * share_G
    return np.where(g.right_G, right_pay_G, wrong_pay_G)
