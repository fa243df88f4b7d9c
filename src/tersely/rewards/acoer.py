"""ACOER: a bonus for short right answers, whose size and budget a control loop moves."""

from typing import Annotated

import numpy as np
from annotated_types import Gt, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import require

NEEDS: frozenset[str] = frozenset({"target_tokens", "weight"})


def acoer(
    g: GroupView, *, scale: Annotated[float, Gt(0), Le(10**6)] = 5.0
) -> Float[np.ndarray, "... G"]:
    """``1[right_i] * (1 + weight * log(1 + scale * s_i) / log(1 + scale))``.

    ``s_i = 1 - min(L_i / target, 1)``: 1 at no tokens, 0 from the target on. Wrong and unfinished
    answers get 0 whatever their length: the paper finds that a price on their length is what makes
    training collapse. Weight and target come from the rule ``accuracy_control``.

    Source: arXiv:2606.22716, of which we read the abstract; the formula is that of its code
    (js-lee-AI/ACOER). There the length is that of the thinking, its characters divided by 4; here
    it is all completion tokens. A reward for the format, which its training adds, is no part of
    this.

    All wrong: zeros. A group of one follows the formula.

    Args:
        scale: how soon the bonus saturates, > 0; near 0 it is linear in the length.
    Raises:
        ValueError: the weight is NaN, negative or infinite, or the target is not positive.
    """
    require(g, NEEDS)
    if np.isinf(g.weight).any():
        raise ValueError("acoer needs a finite weight")
    short_G = 1.0 - np.minimum(g.tokens_G / g.target_tokens, 1.0)
    bonus_G = np.log1p(scale * short_G) / np.log1p(scale)
    return np.where(g.right_G, 1.0 + g.weight * bonus_G, 0.0)
