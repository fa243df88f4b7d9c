"""Arora & Zanette: a right answer loses by its standing among the group's right lengths."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import right_standing


def rloo_lp(
    g: GroupView, *, alpha: Annotated[float, Ge(0), Le(1)] = 0.1
) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[right_i] * (1 - alpha * sigmoid((L_i - mean) / std))`` over right lengths.

    Source: arXiv:2502.04463, whose equations we did not read; formula and population std are
    those of its code (Zanette-Labs/efficient-reasoning), which adds 1e-7 to the std. Here equal
    lengths give exactly ``1 - alpha / 2``, as does a single right answer. The code also counts
    a rollout without a stop token as wrong. All wrong: zeros.

    Args:
        alpha: greatest share of the reward that length can take, in [0, 1]; the authors tried
            0.05 to 0.4.
    """
    return np.where(g.right_G, 1.0 - alpha / (1.0 + np.exp(-right_standing(g))), 0.0)
