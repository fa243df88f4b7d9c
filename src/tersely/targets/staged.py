"""A target length that is lowered (or raised) at set steps."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, MinLen

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

MOVES = "later stages are not checked"
KEEPS = "the step"


def staged(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    tokens: Annotated[list[Annotated[int, Ge(1)]], MinLen(1)],
    every_steps: Annotated[int, Ge(1)],
) -> Target:
    """``L_T = tokens[step // every_steps]``, the last one from then on.

    ThinkPrune lowers it (4k, 3k, 2k; arXiv:2504.01296), DeepScaleR raises the cap instead. There a
    stage ends when its run has converged; here after a set number of steps.

    Args:
        state: ``step``, counted from 0.
        tokens: the target length of each stage.
        every_steps: steps a stage lasts.
    """
    step = int(state.get("step", 0))
    stage = min(step // every_steps, len(tokens) - 1)
    return Target(np.full(len(groups), float(tokens[stage])), {"step": step + 1})
