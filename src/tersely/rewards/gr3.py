"""GR3: the reward is divided by a measure of length relative to the group's mean."""

from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from tersely.core.types import GroupView


def gr3(g: GroupView, *, alpha: Annotated[float, Ge(0)] = 0.33) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[right_i] / (1 + alpha * L_i / mean)``, mean over all rollouts of the group.

    Source: arXiv:2603.10535, from a summary that quotes the formula; prime-rl computed the same
    and recommended 0.33. The product leaves a wrong answer at 0 whatever its length, so being
    short and wrong never pays. The paper multiplies any reward; ours is correctness. Its
    calibration of alpha on advantages is not part of this.

    A group of one gets ``1 / (1 + alpha)`` or 0; all wrong: zeros.

    Args:
        alpha: strength: a right answer of mean length gets ``1 / (1 + alpha)``; >= 0.
    """
    mean = np.maximum(g.tokens_G.mean(axis=-1, keepdims=True), 1.0)
    return np.where(g.right_G, 1.0 / (1.0 + alpha * g.tokens_G / mean), 0.0)
