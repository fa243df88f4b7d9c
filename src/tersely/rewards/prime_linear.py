"""prime-rl's linear penalty: a price for length that grows with the share solved."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import share_right


def prime_linear(
    g: GroupView, *, output_weight: Annotated[float, Ge(0), Le(1)] = 0.25
) -> Float[np.ndarray, "... G"]:
    """``1[right_i] - p * output_weight * L_i / max L``, p the share of right ones in the group.

    Source: prime-rl's ``orchestrator/algo/grpo.py`` (August 2026). Its price has two more terms,
    0.1 each: for input tokens and for turns, as shares of the group's greatest. In a single turn
    all rollouts of a group have the same prompt and one turn, so that both are one constant, which
    an advantage that subtracts the group's mean does not see; they are left out here. There the
    advantage is the reward less the group's mean, ``group_centred``, and the reward may be any
    number, where here it is the verdict.

    Wrong and unfinished answers pay for their tokens too. Nothing is charged in an all-wrong group:
    zeros. A group of one follows the formula.

    Args:
        output_weight: price of the longest rollout of a group that is solved, in [0, 1]; up to 1 a
            right answer never gets less than a wrong one.
    """
    price = output_weight * share_right(g)
    return np.asarray(g.right_G - price * g.tokens_G / g.tokens_G.max(axis=-1, keepdims=True))
