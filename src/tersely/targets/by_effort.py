"""A target length for each level of effort that prompts ask for."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, MinLen

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

NEEDS = frozenset({"effort"})


def by_effort(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    tokens: Annotated[dict[str, Annotated[int, Ge(1)]], MinLen(1)],
) -> Target:
    """``L_T = tokens[level]`` of the group's level; none (NaN) where the level has no entry.

    Source: NeMo-RL's code (nemo_rl/experience/rollouts.py, EffortLevelsConfig), which has a bound
    for one level; ThinkDial (arXiv:2508.18773, whose equations we did not read) has three levels.

    Args:
        state: passed on as it is.
        tokens: the target length of each level that has one, in tokens.
    """
    held = [float(tokens.get(g.effort, np.nan)) for g in groups]
    return Target(np.array(held, dtype=np.float64), state)
