"""Kimi k1.5: among a group's lengths, shorter right answers gain and longer answers lose."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import place_between


def kimi(
    g: GroupView, *, alpha: Annotated[float, Ge(0), Le(2)] = 0.4
) -> Float[np.ndarray, "... G"]:
    """``1 + alpha * s_i`` if right, ``min(0, alpha * s_i)`` if wrong.

    ``s_i = 0.5 - (L_i - L_min) / (L_max - L_min)``, over all rollouts of the group, wrong and
    unfinished ones included.  Source: arXiv:2602.20945, Eq. 3-4; after arXiv:2501.12599.

    A group of one, or of equal lengths, has s = 0, as in Kimi's report. All wrong: 0 for the
    shorter half, down to ``-alpha / 2`` for the longest. The Laser authors' code
    (hkust-nlp/Laser) adds the same term to 1 / -0.5 / -1, leaves answers that cannot be read
    without it, and takes a group of one to have L_min = 0 and L_max = 1.

    Args:
        alpha: reward between the shortest and the longest right answer, in [0, 2]; above 2 the
            longest right answer would get less than a short wrong one.
    """
    score_G = 0.5 - place_between(g)
    return np.where(g.right_G, 1.0 + alpha * score_G, np.minimum(0.0, alpha * score_G))
