"""AdaptThink: answering without thinking is paid a little more, given accuracy holds."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import require

NEEDS: frozenset[str] = frozenset({"thought_G", "reference_accuracy"})
EXCEPTIONS: Mapping[str, str] = {
    "shorter_pays_no_less": "arXiv:2505.13417: the bonus is for not thinking, at any length"
}


def adaptthink(
    g: GroupView, *, delta: Annotated[float, Ge(0), Le(1)] = 0.05
) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[right_i] - reference_accuracy + delta * 1[no thinking_i]``.

    Source: arXiv:2505.13417, whose equations we did not read; formula and delta are those of its
    code (THU-KEG/AdaptThink). There half the rollouts are forced to skip thinking, and those get
    the bonus; here the rollouts whose thinking is empty do. The reference accuracy is a constant
    within a group: a baseline for updates that do not subtract the group's mean, and of no effect
    on those that do. Wrong answers without thinking get the bonus too. A group of one and an
    all-wrong group follow the formula.

    Args:
        delta: bonus for not thinking, in [0, 1]; above 1 a wrong answer without thinking would
            get more than a right one with it.
    """
    require(g, NEEDS)
    assert g.thought_G is not None
    return np.where(g.right_G, 1.0, 0.0) - g.reference_accuracy + delta * ~g.thought_G
