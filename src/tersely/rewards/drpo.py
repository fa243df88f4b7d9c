"""DRPO's weights: a group's right answers share 1, the shorter exponentially more."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import require, shortest_right

NEEDS: frozenset[str] = frozenset({"cap_tokens"})


def drpo(
    g: GroupView, *, lam: Annotated[float, Ge(1e-3), Le(1e6)] = 0.1
) -> Float[np.ndarray, "... G"]:
    """``w_i = exp((1 - L_i / cap) / lam)`` over the sum of it among right answers; wrong: 0.

    Source: arXiv:2510.04474, whose equations we did not read; the weights and lam = 0.1 are those
    of its code (Optimization-AI/DRPO). There they weigh right answers inside a discriminative
    loss that sets each against a soft maximum of the wrong ones' likelihoods (temperature 10).

    What a reward loses of that: the contrast with wrong answers, and the guarantee that a long
    right answer is never pushed down, for subtracting a group's mean gives it a negative
    advantage. Take the advantage ``unbaselined`` to keep the second. The code drops groups
    that are all right or all wrong; here they get weights and zeros. A lone right answer gets 1.

    Args:
        lam: the smaller, the more goes to the shortest, in [0.001, 1e6].
    """
    require(g, NEEDS)
    right_G = g.right_G
    # Relative to the shortest, so that nothing overflows: the sum divides the factor out.
    over_G = np.maximum(g.tokens_G - shortest_right(g, otherwise=0.0), 0.0)
    weight_G = np.where(right_G, np.exp(-over_G / g.cap_tokens / lam), 0.0)
    return weight_G / np.where(right_G, weight_G.sum(axis=-1, keepdims=True), 1.0)
