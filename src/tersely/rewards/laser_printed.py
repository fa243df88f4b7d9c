"""Laser with a bonus for long wrong answers, as one equation prints it; not Laser-D."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import Trait, require

NEEDS: frozenset[str] = frozenset({"target_tokens"})
TRAITS: frozenset[Trait] = frozenset({Trait.FEW_KINDS})


def laser_printed(
    g: GroupView, *, alpha: Annotated[float, Ge(0), Le(1)] = 0.4
) -> Float[np.ndarray, "... G"]:
    """``laser`` plus ``1[wrong_i] * alpha * 1[L_i >= target]``.  Source: arXiv:2602.20945, Eq. 6.

    The paper calls this Laser-D. The published Laser-D (arXiv:2505.15612; here ``laser_d``) has
    another target for each difficulty and pays wrong answers nothing for length; the bonus for
    long wrong answers is Laser-DE's (``laser_de``). Under one target for all prompts, as here,
    only a short wrong answer gets 0.

    An unfinished rollout is wrong and long, and gets alpha. All wrong: alpha or 0 by length.

    Args:
        alpha: bonus for short right and long wrong answers, in [0, 1]; above 1 a long wrong
            answer would get more than a long right one.
    """
    require(g, NEEDS)
    short_G = g.tokens_G < g.target_tokens
    return np.where(g.right_G, 1.0 + alpha * short_G, alpha * ~short_G)
