"""A target length for each prompt, from its own right rollouts."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

MOVES = "it follows the right lengths, so the pressure does not end"


def group_quantile(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    start_tokens: Annotated[int, Ge(1)],
    share: Annotated[float, Gt(0), Le(1)] = 0.9,
    floor_tokens: Annotated[int, Ge(1)] = 1,
) -> Target:
    """``L_T`` = the ``share`` quantile of the group's own right lengths.

    A group without a right rollout gets ``start_tokens``; nothing in it could be paid anyway. A
    group with one right rollout is its own target.  Source: arXiv:2602.20945, Appendix E; see
    ``batch_quantile``.
    """
    tokens_P = np.full(len(groups), float(start_tokens))
    for row, g in enumerate(groups):
        if g.right_G.any():
            quantile = float(np.quantile(g.tokens_G[g.right_G], share))
            tokens_P[row] = max(quantile, float(floor_tokens))
    return Target(tokens_P, state)
