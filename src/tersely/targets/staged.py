"""A target length that is lowered (or raised) at set steps."""

from collections.abc import Sequence

import numpy as np

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.targets import Target, TargetState


def staged(
    state: TargetState, groups: Sequence[GroupView], *, tokens: list[int], every_steps: int
) -> Target:
    """``L_T = tokens[step // every_steps]``, the last one from then on.

    ThinkPrune lowers it (4k, 3k, 2k; arXiv:2504.01296), DeepScaleR raises the cap instead. There a
    stage ends when its run has converged; here after a set number of steps.

    Args:
        state: ``step``, counted from 0.
        tokens: the target length of each stage, each >= 1.
        every_steps: steps a stage lasts, >= 1.
    Raises:
        ConfigError: if there is no stage, or a number is out of its bounds.
    """
    if not tokens or min(tokens) < 1:
        raise ConfigError(f"target.tokens = {tokens} must be a list of lengths of 1 or more")
    if every_steps < 1:
        raise ConfigError(f"target.every_steps = {every_steps} is below 1; set it to 1 or more")
    step = int(state.get("step", 0))
    stage = min(step // every_steps, len(tokens) - 1)
    return Target(np.full(len(groups), float(tokens[stage])), {"step": step + 1})
