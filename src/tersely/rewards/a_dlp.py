"""A-DLP: a price for each token that rises while accuracy holds and falls when it does not."""

import numpy as np
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import require

NEEDS: frozenset[str] = frozenset({"weight"})


def a_dlp(g: GroupView) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[right_i] - weight * L_i``, the weight being a target rule's dual variable.

    Source: the code JinyanSu1/A-DLP; its paper was not opened. The weight starts at 1e-3 and
    moves by ``max(0, weight + 1e-3 * (accuracy - 0.62))`` after each step there; that update is
    the target rule's. Wrong and unfinished answers pay for their tokens too.

    Dividing advantages by the group's std undoes the weight where all are right or all are
    wrong: any weight above 0 then acts alike. A group of one follows the formula.

    Raises:
        ValueError: the weight is NaN, negative or infinite.
    """
    require(g, NEEDS)
    if np.isinf(g.weight).any():
        raise ValueError("a_dlp needs a finite weight")
    return np.where(g.right_G, 1.0, 0.0) - g.weight * g.tokens_G
