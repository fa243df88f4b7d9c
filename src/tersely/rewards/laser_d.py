"""Laser-D: Laser's bonus under a target that follows training and difficulty."""

from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import Trait, bounded, require

NEEDS: frozenset[str] = frozenset({"target_tokens"})
TRAITS: frozenset[Trait] = frozenset({Trait.FEW_KINDS})


def laser_d(
    g: GroupView,
    *,
    alpha: Annotated[float, Ge(0)] = 0.5,
    correct: float = 1.0,
    wrong: float = -0.5,
    unformatted: float = -1.0,
) -> Float[np.ndarray, "... G"]:
    """``correct + alpha * 1[L_i <= target]`` if right, ``wrong`` or ``unformatted`` if not.

    Source: arXiv:2505.15612, whose equations we did not read; scale, defaults and the inclusive
    boundary are those of its code (hkust-nlp/Laser). Dynamic and difficulty-aware is the target:
    take a rule that bins prompts by difficulty; under a fixed one this is that code's Laser.

    The code's target for its hardest bin needs full coverage and else becomes the longest answer
    of the batch; that is the target rule's affair. An unfinished rollout is unformatted when no
    answer could be read off it. All wrong: ``wrong`` and ``unformatted``.

    Args:
        alpha: bonus for a right answer within the target, >= 0.
        correct: reward of a right answer beyond the target, any number.
        wrong: reward of a readable wrong answer, <= correct.
        unformatted: reward where no answer could be read, <= wrong.
    """
    bounded("wrong", wrong, high=correct)
    bounded("unformatted", unformatted, high=wrong)
    require(g, NEEDS)
    right_pay_G = correct + alpha * (g.tokens_G <= g.target_tokens)
    return np.where(g.right_G, right_pay_G, np.where(g.formatted_G, wrong, unformatted))
