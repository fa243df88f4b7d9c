"""Short-RL's lazy penalty: only right answers well above the shortest right one lose."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import shortest_right

TAKES: frozenset[str] = frozenset({"weight"})


def lazy_penalty(
    g: GroupView,
    *,
    alpha: Annotated[float, Ge(0), Le(2)] = 1.0,
    tolerance_tokens: Annotated[int, Ge(0)] = 100,
) -> Float[np.ndarray, "... G"]:
    """``1[right_i] * (1 + gate * alpha * s_i)``; s = 0.5 within the tolerance, else falling.

    ``s_i = 0.5 - (L_i - L_min) / (L_max - L_min)`` once ``L_i > L_min + tolerance_tokens``, with
    L_min and L_max over the group's right answers. Source: arXiv:2505.12284, whose equations we
    did not read; formula and tolerance are those of its code (lblankl/Short-RL; 100 for
    mathematics, 200 for logic), where alpha is 1.

    The method also waits: the term counts only while training accuracy is within 0.05 of its
    best. A group cannot know that, so the gate is the group's ``weight``, 0 to 1, where a target
    rule moves one, and else 1. A group of one, and equal lengths, get ``1 + gate * alpha / 2``;
    all wrong: zeros.

    Args:
        alpha: weight of the length term, in [0, 2]; above 2 the longest right answer would get
            less than a wrong one.
        tolerance_tokens: tokens above the shortest right answer that cost nothing, >= 0.
    Raises:
        ValueError: the weight lies outside [0, 1].
    """
    gate = np.where(np.isnan(g.weight), 1.0, g.weight)
    if (bad := (gate < 0.0) | (gate > 1.0)).any():
        raise ValueError(f"weight = {gate[bad][0]:g}, lazy_penalty's gate, must lie in [0, 1]")
    right_G = g.right_G
    over_G = np.where(right_G, g.tokens_G - shortest_right(g, otherwise=0.0), 0.0)
    spread = np.maximum(over_G.max(axis=-1, keepdims=True), 1.0)
    score_G = 0.5 - np.where(over_G > tolerance_tokens, over_G / spread, 0.0)
    return np.where(right_G, 1.0 + gate * alpha * score_G, 0.0)


def idle(*, samples: int, cap_tokens: int, alpha: float, tolerance_tokens: int) -> str:
    """Where no right rollout can be longer than the shortest by more than the tolerance."""
    if tolerance_tokens < cap_tokens - 1:
        return ""
    return (
        f"no two rollouts of up to {cap_tokens:,} tokens differ by more than "
        f"reward.tolerance_tokens = {tolerance_tokens:,}; lower it"
    )
