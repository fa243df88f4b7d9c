"""The shortest right rollout that was ever seen of each prompt."""

from collections.abc import Sequence

import numpy as np

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

MOVES = "no prompt has a history yet, so none has a target until its second turn"
KEEPS = "each problem's shortest right length"
NEEDS = frozenset({"problem"})


def history_minimum(state: TargetState, groups: Sequence[GroupView]) -> Target:
    """``L_T`` = the least length of a right rollout of the problem in earlier steps.

    This step's rollouts are judged by what was known before it and remembered after. The published
    code keeps whole numbers of an average in one of its modes; this is the minimum.
    Source: arXiv:2505.11225 (HAPO).

    A problem that was never solved has no target: infinity.

    Args:
        state: ``tokens`` by problem id.
    """
    known = dict(state.get("tokens", {}))
    tokens_P = np.array([float(known.get(g.problem, np.inf)) for g in groups])
    for g in groups:
        if g.right_G.any():
            shortest = int(g.tokens_G[g.right_G].min())
            known[g.problem] = min(known.get(g.problem, shortest), shortest)
    return Target(tokens_P, {"tokens": known})
