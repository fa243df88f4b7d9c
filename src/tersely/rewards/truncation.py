"""Truncation: a correct answer is paid only within the target length."""

import numpy as np
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import Trait, require

NEEDS: frozenset[str] = frozenset({"target_tokens"})
TRAITS: frozenset[Trait] = frozenset({Trait.FEW_KINDS, Trait.NOTHING_BEYOND_TARGET, Trait.CELLS})


def truncation(g: GroupView) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[correct_i] * 1[tokens_i <= target]``.  Source: arXiv:2602.20945, Eq. 2.

    The boundary is inclusive, as printed. A rollout that was cut off by the cap is wrong and gets
    0, whatever a grader read off it, unless unfinished rollouts are paid. A target below every
    length of the group gives zeros, and so no advantage.
    """
    require(g, NEEDS)
    short_G = g.tokens_G <= g.target_tokens
    return np.where(g.right_G & short_G, 1.0, 0.0)
