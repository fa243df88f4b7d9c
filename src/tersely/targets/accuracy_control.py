"""A bonus for short answers that grows while accuracy holds, and a budget below the mean length."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

MOVES = "weight and budget stay until target.warmup_steps and then follow accuracy and length"
KEEPS = "weight, budget, step, and moving means of accuracy and right length"
GIVES = frozenset({"target_tokens", "weight"})


def accuracy_control(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    start_tokens: Annotated[int, Ge(1)],
    floor_tokens: Annotated[int, Ge(1)] = 512,
    share: Annotated[float, Gt(0), Le(1)] = 0.85,
    start_weight: Annotated[float, Gt(0)] = 0.02,
    least_weight: Annotated[float, Gt(0)] = 0.01,
    most_weight: Annotated[float, Gt(0)] = 0.5,
    up: Annotated[float, Ge(1)] = 1.02,
    down: Annotated[float, Gt(0), Le(1)] = 0.95,
    drop: Annotated[float, Ge(0), Le(1)] = 0.02,
    span_steps: Annotated[int, Ge(1)] = 50,
    window_steps: Annotated[int, Ge(1)] = 100,
    warmup_steps: Annotated[int, Ge(1)] = 200,
) -> Target:
    """``weight *= up``, or ``down`` where accuracy fell by more than ``drop`` over the window;
    ``L_T = max(floor_tokens, share * mean right length)``. Both means are exponential.

    The step is rewarded with what was set before it. Source: the code of arXiv:2606.22716 (ACOER,
    js-lee-AI/ACOER), which measures thinking in characters, and where a batch without a right
    answer counts as one of length 0; here such a step leaves the mean length as it is.

    Args:
        state: ``step``, ``weight``, ``tokens``, ``accuracy``, ``right_tokens``, ``past``.
        start_tokens: the budget until it moves.
        span_steps: the means weigh a new step by 2 / (span_steps + 1).
        window_steps: accuracy is compared with its mean that many steps ago, this one counted.
    Raises:
        ConfigError: ``least_weight``, ``start_weight`` and ``most_weight`` do not rise.
    """
    if not least_weight <= start_weight <= most_weight:
        raise ConfigError(
            f"target.start_weight = {start_weight:g} is outside target.least_weight = "
            f"{least_weight:g} to target.most_weight = {most_weight:g}; set it between them"
        )
    step, weight = int(state.get("step", 0)), float(state.get("weight", start_weight))
    tokens = float(state.get("tokens", start_tokens))
    means = _moved(state, groups, gain=2.0 / (span_steps + 1))
    past = [*state.get("past", []), means["accuracy"]][-window_steps:]
    moved = {"step": step + 1, "weight": weight, "tokens": tokens, "past": past, **means}
    if step >= warmup_steps and len(past) == window_steps:
        fell = past[0] - past[-1] > drop
        moved["weight"] = (
            max(least_weight, weight * down) if fell else min(most_weight, weight * up)
        )
        if means["right_tokens"] is not None:
            moved["tokens"] = max(float(floor_tokens), share * means["right_tokens"])
    return Target(np.full(len(groups), tokens), moved, weight)


def _moved(
    state: TargetState, groups: Sequence[GroupView], *, gain: float
) -> dict[str, float | None]:
    """The exponential means after this step; None: nothing was right so far."""
    right_R = np.concatenate([g.right_G for g in groups]) if groups else np.zeros(0, dtype=bool)
    tokens_R = np.concatenate([g.tokens_G for g in groups]) if groups else np.zeros(0)
    seen = {
        "accuracy": float(right_R.mean()) if right_R.size else None,
        "right_tokens": float(tokens_R[right_R].mean()) if right_R.any() else None,
    }
    means: dict[str, float | None] = {}
    for name, new in seen.items():
        old = state.get(name)
        known = old is not None and new is not None
        means[name] = gain * new + (1 - gain) * old if known else old if new is None else new
    return means
