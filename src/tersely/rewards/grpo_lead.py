"""GRPO-LEAD: right answers scaled by their standing in length, wrong ones explicitly negative."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import right_standing


def grpo_lead(
    g: GroupView,
    *,
    alpha: Annotated[float, Ge(0), Le(10)] = 0.05,
    wrong: Annotated[float, Le(0)] = -1.0,
    from_tokens: Annotated[int, Ge(0)] = 0,
) -> Float[np.ndarray, "... G"]:
    """``exp(-alpha * z_i)`` if right, ``wrong`` if not; z over the group's right lengths.

    ``z_i = (L_i - mean) / std`` with the population std; a single right answer, or equal
    lengths, has z = 0 and gets 1. Source: arXiv:2504.09696, from summaries that quote the
    formula. The code (aeroplanepaper/GRPO-LEAD) takes the sample std, shapes only groups whose
    three shortest rollouts average more than 4,000 tokens (``from_tokens``), and gives an
    unfinished rollout 0, more than a wrong one: here it gets ``wrong``.

    The method's weight by difficulty multiplies advantages and is no part of this reward. All
    wrong: ``wrong`` for all, and so no advantage.

    Args:
        alpha: strength of the scaling, in [0, 10], where it is still finite.
        wrong: reward of a wrong or unfinished answer, <= 0.
        from_tokens: mean length of the three shortest rollouts from which on a group is shaped,
            >= 0; 0 shapes every group.
    """
    shaped = np.sort(g.tokens_G)[..., :3].mean(axis=-1, keepdims=True) > from_tokens
    right_pay_G = np.where(shaped, np.exp(-alpha * right_standing(g)), 1.0)
    return np.where(g.right_G, right_pay_G, wrong)


def idle(*, samples: int, cap_tokens: int, alpha: float, wrong: float, from_tokens: int) -> str:
    """Where no group is long enough to be shaped."""
    if from_tokens < cap_tokens:
        return ""
    return (
        f"no group of rollouts of up to {cap_tokens:,} tokens is longer than reward.from_tokens = "
        f"{from_tokens:,}; lower it"
    )
