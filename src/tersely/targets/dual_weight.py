"""A price for length that rises while accuracy holds and falls when it does not."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

MOVES = "the price of length begins at target.start_weight and moves with accuracy"
KEEPS = "the price per token"
GIVES = frozenset({"weight"})


def dual_weight(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    accuracy: Annotated[float, Ge(0), Le(1)],
    start_weight: Annotated[float, Ge(0)] = 1e-3,
    rate: Annotated[float, Gt(0)] = 1e-3,
) -> Target:
    """``lambda <- max(0, lambda + rate (A - accuracy))``, A the step's share of right rollouts.

    The step is rewarded at the price from before it. Lengths have no target (NaN).
    Source: arXiv:2505.18298 (A-DLP).

    Args:
        state: ``weight``, the price per token after the last step.
        accuracy: what the run must keep.
        start_weight: price per token at step 0.
        rate: step size.
    """
    weight = float(state.get("weight", start_weight))
    right_R = np.concatenate([g.right_G for g in groups]) if groups else np.zeros(0, dtype=bool)
    moved = max(0.0, weight + rate * (float(right_R.mean()) - accuracy)) if right_R.size else weight
    return Target(np.full(len(groups), np.nan), {"weight": moved}, weight)
