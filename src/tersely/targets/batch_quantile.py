"""A target length that follows the right rollouts of the step."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

MOVES = "it follows the right lengths, so the pressure does not end"
KEEPS = "the last target"


def batch_quantile(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    start_tokens: Annotated[int, Ge(1)],
    share: Annotated[float, Gt(0), Le(1)] = 0.9,
    floor_tokens: Annotated[int, Ge(1)] = 1,
) -> Target:
    """``L_T`` = the ``share`` quantile of the step's right lengths, one target for all groups.

    Quantiles interpolate linearly. A step without a right rollout keeps the last target. The
    paper's adaptive target does not say whether its quantile is of a group or of the batch; see
    ``group_quantile``.  Source: arXiv:2602.20945, Appendix E.

    Args:
        state: ``tokens``, the last target.
        start_tokens: the target until some rollout is right.
        share: of the right rollouts that stay within the target; the paper's is 0.9.
        floor_tokens: the target never falls below it.
    """
    right_R = np.concatenate([g.tokens_G[g.right_G] for g in groups]) if groups else np.zeros(0)
    tokens = float(state.get("tokens", start_tokens))
    if right_R.size:
        tokens = max(float(np.quantile(right_R, share)), float(floor_tokens))
    return Target(np.full(len(groups), tokens), {"tokens": tokens})
