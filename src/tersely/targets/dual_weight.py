"""A price for length that rises while accuracy holds and falls when it does not."""

from collections.abc import Sequence

import numpy as np

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.targets import Target, TargetState


def dual_weight(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    accuracy: float,
    start_weight: float = 1e-3,
    rate: float = 1e-3,
) -> Target:
    """``lambda <- max(0, lambda + rate (A - accuracy))``, A the step's share of right rollouts.

    The step is rewarded at the price from before it. Lengths have no target (NaN).
    Source: arXiv:2505.18298 (A-DLP).

    Args:
        state: ``weight``, the price per token after the last step.
        accuracy: what the run must keep, 0 to 1.
        start_weight: price per token at step 0, >= 0.
        rate: step size, > 0.
    Raises:
        ConfigError: if a number is out of its bounds.
    """
    for name, value, broken, bound in (
        ("accuracy", accuracy, not 0 <= accuracy <= 1, "outside 0 to 1"),
        ("start_weight", start_weight, start_weight < 0, "below 0"),
        ("rate", rate, rate <= 0, "not above 0"),
    ):
        if broken:
            raise ConfigError(f"target.{name} = {value} is {bound}; set it within its bounds")
    weight = float(state.get("weight", start_weight))
    right_R = np.concatenate([g.right_G for g in groups]) if groups else np.zeros(0, dtype=bool)
    moved = max(0.0, weight + rate * (float(right_R.mean()) - accuracy)) if right_R.size else weight
    return Target(np.full(len(groups), np.nan), {"weight": moved}, weight)
