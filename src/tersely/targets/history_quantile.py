"""The least length that a share of a prompt's right rollouts stayed within, once it is solved."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

MOVES = "it falls with the shortest right rollouts that each prompt has had"
KEEPS = "each problem's least length and its mean share of right rollouts"
NEEDS = frozenset({"problem"})


def history_quantile(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    share: Annotated[float, Ge(0), Le(1)] = 0.3,
    solved: Annotated[float, Ge(0), Le(1)] = 0.4,
    gain: Annotated[float, Gt(0), Le(1)] = 0.1,
) -> Target:
    """``L_T`` = the least ``share`` quantile of right lengths that any group of the problem had,
    this step's among them; infinite while fewer than ``solved`` of its rollouts are right.

    The share of right ones is an exponential mean over the problem's groups, from the first group
    with a right rollout on. Source: the code of arXiv:2605.07501 (ExpThink, CarnegieBin/ExpThink),
    which may also start from lengths and shares that were sampled before training; its run takes
    0.1 for ``share``. Quantiles are rounded down to whole tokens, as there.

    Args:
        state: ``tokens`` and ``right`` by problem id.
        share: 0 is the shortest right rollout of a group.
        gain: weight of the newest group in the mean.
    """
    tokens, right = dict(state.get("tokens", {})), dict(state.get("right", {}))
    found = np.full(len(groups), np.inf)
    for row, g in enumerate(groups):
        rate = float(g.right_G.mean()) if g.right_G.size else 0.0
        if g.problem in right:
            right[g.problem] = gain * rate + (1 - gain) * right[g.problem]
        if g.right_G.any():
            right.setdefault(g.problem, rate)
            length = max(int(np.quantile(g.tokens_G[g.right_G], share)), 1)
            tokens[g.problem] = min(tokens.get(g.problem, length), length)
        if right.get(g.problem, -1.0) >= solved:
            found[row] = float(tokens[g.problem])
    return Target(found, {"tokens": tokens, "right": right})
