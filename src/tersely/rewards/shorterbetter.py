"""ShorterBetter: keep to the length of the group's shortest right answer."""

from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import shortest_right


def shorterbetter(
    g: GroupView, *, alpha: Annotated[float, Ge(0)] = 2.0, beta: Annotated[float, Ge(0)] = 1e-3
) -> Float[np.ndarray, "... G"]:
    """``r_i = alpha * 1[right_i] - beta * |L_i - best|``, best = the shortest right length.

    With nothing right, best is the mean length of the group. Source: arXiv:2504.21370, whose
    equations we did not read; formula and defaults are those of its code
    (JingyangYi/ShorterBetter).

    Wrong answers are shaped as well: one shorter than the shortest right one loses. A right
    answer more than ``alpha / beta`` tokens over the best goes negative. A group of one gets
    ``alpha`` or 0; all wrong, 0 at the mean length and less away from it.

    Args:
        alpha: reward of a right answer, >= 0.
        beta: penalty per token away from the best length, >= 0.
    """
    best = shortest_right(g, otherwise=g.tokens_G.mean(axis=-1, keepdims=True))
    return np.asarray(np.where(g.right_G, alpha, 0.0) - beta * np.abs(g.tokens_G - best))
