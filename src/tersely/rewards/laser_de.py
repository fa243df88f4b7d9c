"""Laser-DE: Laser-D, and long wrong answers get the bonus too, for having explored."""

from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import Trait, bounded, require

NEEDS: frozenset[str] = frozenset({"target_tokens"})
TRAITS: frozenset[Trait] = frozenset({Trait.FEW_KINDS})


def laser_de(
    g: GroupView,
    *,
    alpha: Annotated[float, Ge(0)] = 0.5,
    correct: float = 1.0,
    wrong: float = -0.5,
    unformatted: float = -1.0,
) -> Float[np.ndarray, "... G"]:
    """``laser_d`` plus ``alpha * 1[L_i > target]`` for readable wrong answers.

    Source: arXiv:2505.15612, whose equations we did not read; scale, defaults and boundary are
    those of its code (hkust-nlp/Laser). The code withholds the bonus from an answer that repeats
    itself; a group does not say which do, so here repetition is paid. An answer that cannot be
    read, so most unfinished rollouts, gets no bonus. All wrong: by length and readability alone.

    Args:
        alpha: bonus for short right and long wrong answers, in [0, correct - wrong]; above that
            a long wrong answer would get more than a long right one.
        correct: reward of a right answer beyond the target, any number.
        wrong: reward of a readable wrong answer within the target, <= correct.
        unformatted: reward where no answer could be read, <= wrong.
    """
    bounded("wrong", wrong, high=correct)
    bounded("unformatted", unformatted, high=wrong)
    bounded("alpha", alpha, high=correct - wrong)
    require(g, NEEDS)
    short_G = g.tokens_G <= g.target_tokens
    wrong_pay_G = np.where(g.formatted_G, wrong + alpha * ~short_G, unformatted)
    return np.where(g.right_G, correct + alpha * short_G, wrong_pay_G)
