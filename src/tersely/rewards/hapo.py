"""HAPO: against the shortest right answer that this prompt has had so far."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import require

NEEDS: frozenset[str] = frozenset({"target_tokens"})


def hapo(
    g: GroupView, *, w: Annotated[float, Ge(0)] = 1.0, floor: Annotated[float, Ge(-1), Le(0)] = -0.7
) -> Float[np.ndarray, "... G"]:
    """``1[right_i] + w * max(s_i, floor)`` if right, ``w * min(s_i, 0)`` if wrong.

    ``s_i = cos(pi / 2 * min(L_i / h, 2))``: 1 at no tokens, 0 at h, -1 from 2 h on, where h is
    the target, which must be the prompt's history minimum. Source: arXiv:2505.11225, whose
    equations we did not read; formula and defaults are those of its code (HCY123902/HAPO).

    An infinite target says that the prompt has no right answer yet: s = 0 and so plain
    correctness, as there. Short wrong answers get 0. A group of one and an all-wrong group
    follow the formula.

    Args:
        w: weight of the length term, >= 0.
        floor: least s of a right answer, in [-1, 0]; with ``w * floor > -1`` every right answer
            gets more than every wrong one.
    """
    require(g, NEEDS)
    right_G = g.right_G
    score_G = np.cos(np.pi / 2.0 * np.minimum(g.tokens_G / g.target_tokens, 2.0))
    score_G = np.where(np.isfinite(g.target_tokens), score_G, 0.0)
    right_pay_G = 1.0 + w * np.maximum(score_G, floor)
    return np.where(right_G, right_pay_G, w * np.minimum(score_G, 0.0))
