"""A target length that shrinks by a constant factor every few steps."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

MOVES = "it shrinks by target.factor every target.every_steps steps"
KEEPS = "the step"


def decaying(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    start_tokens: Annotated[int, Ge(1)],
    factor: Annotated[float, Gt(0), Le(1)],
    every_steps: Annotated[int, Ge(1)],
    floor_tokens: Annotated[int, Ge(1)] = 1,
) -> Target:
    """``L_T = max(floor_tokens, start_tokens * factor ** (step // every_steps))``.

    Source: arXiv:2508.08940 (curriculum GRPO), from a summary that quotes the formula with a floor
    of 1; its figure decays by 0.7. The length reward of that paper is not part of this. Lengths are
    not rounded to whole tokens.

    Args:
        state: ``step``, counted from 0.
        start_tokens: the target at step 0.
        factor: what is left of the target after each change.
        every_steps: steps between changes.
        floor_tokens: the target never falls below it.
    """
    step = int(state.get("step", 0))
    tokens = max(float(floor_tokens), start_tokens * factor ** (step // every_steps))
    return Target(np.full(len(groups), tokens), {"step": step + 1})
