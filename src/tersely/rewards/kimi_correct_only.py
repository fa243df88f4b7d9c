"""Kimi k1.5's length score, given to right answers alone."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import place_between


def kimi_correct_only(
    g: GroupView, *, alpha: Annotated[float, Ge(0), Le(2)] = 0.4
) -> Float[np.ndarray, "... G"]:
    """``1[right_i] * (1 + alpha * s_i)``, with s as in ``kimi``; wrong ones get 0.

    ``s_i = 0.5 - (L_i - L_min) / (L_max - L_min)``, over all rollouts of the group. A wrong
    answer feels no pressure on its length, so there is nothing to gain by being wrong and short.
    Source: a variant of arXiv:2501.12599, our own.

    A group of one, or of equal lengths, is plain correctness; all wrong: zeros.

    Args:
        alpha: reward between the shortest and the longest right answer, in [0, 2]; above 2 the
            longest right answer would get less than a wrong one.
    """
    score_G = 0.5 - place_between(g)
    return np.where(g.right_G, 1.0 + alpha * score_G, 0.0)
