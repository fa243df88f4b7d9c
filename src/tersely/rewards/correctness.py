"""Correctness alone: the reward without any pressure on length."""

import numpy as np
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import Trait

TRAITS: frozenset[Trait] = frozenset({Trait.FEW_KINDS, Trait.VERDICT_ONLY})


def correctness(g: GroupView) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[correct_i]``; an unfinished rollout is wrong.  Source: arXiv:2602.20945, Eq. 1.

    The equation does not treat a rollout that was cut off by the cap. Here it has no answer to
    grade, so it gets 0 even where a grader read one off it.
    """
    return np.where(g.right_G, 1.0, 0.0)
