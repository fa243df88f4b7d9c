"""A target length for each prompt, from its own right rollouts."""

from collections.abc import Sequence

import numpy as np

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState
from tersely.targets.batch_quantile import check_quantile


def group_quantile(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    start_tokens: int,
    share: float = 0.9,
    floor_tokens: int = 1,
) -> Target:
    """``L_T`` = the ``share`` quantile of the group's own right lengths.

    A group without a right rollout gets ``start_tokens``; nothing in it could be paid anyway. A
    group with one right rollout is its own target.  Source: arXiv:2602.20945, Appendix E; see
    ``batch_quantile``.

    Raises:
        ConfigError: if a number is out of its bounds.
    """
    check_quantile(share=share, start_tokens=start_tokens, floor_tokens=floor_tokens)
    tokens_P = np.full(len(groups), float(start_tokens))
    for row, g in enumerate(groups):
        if g.right_G.any():
            quantile = float(np.quantile(g.tokens_G[g.right_G], share))
            tokens_P[row] = max(quantile, float(floor_tokens))
    return Target(tokens_P, state)
