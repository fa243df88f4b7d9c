"""DAPO's soft overlong punishment: a ramp down in the last stretch before the cap."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import bounded, require

NEEDS: frozenset[str] = frozenset({"cap_tokens"})


def soft_overlong(
    g: GroupView,
    *,
    buffer_share: Annotated[float, Ge(1e-3), Le(1)] = 0.2,
    factor: Annotated[float, Ge(0)] = 1.0,
    correct: float = 1.0,
    wrong: float = -1.0,
) -> Float[np.ndarray, "... G"]:
    """``(correct or wrong) + factor * clip((cap - buffer - L_i) / buffer, -1, 0)``.

    Source: arXiv:2503.14476, Eq. 13 as TRL reproduces it. DAPO's buffer is 4,096 of 20,480
    tokens; we set it as a share of the cap, so that it fits any cap. The code in verl lacks the
    floor at -1, which matters only beyond the cap.

    Wrong answers are punished as well. All within the first ``1 - buffer_share`` of the cap:
    plain ``correct`` and ``wrong``, and a group of one is no special case.

    Args:
        buffer_share: the ramp as a share of the cap, in [0.001, 1].
        factor: punishment at the cap, >= 0.
        correct: reward of a right answer before punishment, any number.
        wrong: reward of a wrong or unfinished one before punishment, <= correct.
    """
    bounded("wrong", wrong, high=correct)
    require(g, NEEDS)
    # Written in shares of the cap, so that an infinite cap gives no punishment.
    over_G = (1.0 - buffer_share - g.tokens_G / g.cap_tokens) / buffer_share
    return np.where(g.right_G, correct, wrong) + factor * np.clip(over_G, -1.0, 0.0)
