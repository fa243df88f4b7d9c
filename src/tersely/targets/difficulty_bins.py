"""A target length for easy, middling and hard prompts each, found anew every few steps."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

MOVES = "the bins move for the first time after target.every_steps steps"
KEEPS = "the step, the bins' targets and the right lengths since their last change"

# Group accuracies from which on a prompt counts as easy, and as middling.
EASY, MIDDLING = 2 / 3, 1 / 3


def difficulty_bins(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    start_tokens: Annotated[int, Ge(1)],
    step_tokens: Annotated[int, Ge(1)] = 1024,
    share: Annotated[float, Gt(0), Le(1)] = 0.9,
    every_steps: Annotated[int, Ge(1)] = 20,
) -> Target:
    """``L_T`` of a bin = the least multiple of ``step_tokens`` that ``share`` of the bin's right
    rollouts stay within; bins by the group's accuracy: from 2/3, from 1/3, the rest.

    The published method asks this of a monitor of 500 samples; here the training rollouts since
    the last change are the monitor. A bin without a right rollout in that time keeps its target
    (there it becomes the longest response). No target exceeds ``start_tokens``.
    Source: arXiv:2505.15612 (Laser-D).

    Args:
        state: ``step``, ``tokens`` of the three bins, and right lengths seen since, by bin.
        start_tokens: of every bin until the first change, >= ``step_tokens``.
        every_steps: steps between changes.
    Raises:
        ConfigError: ``start_tokens`` is below ``step_tokens``.
    """
    if start_tokens < step_tokens:
        raise ConfigError(
            f"target.start_tokens = {start_tokens} is below target.step_tokens = {step_tokens}; "
            "lower the step"
        )
    step = int(state.get("step", 0))
    tokens = [float(t) for t in state.get("tokens", [start_tokens] * 3)]
    seen = [list(lengths) for lengths in state.get("seen", [[], [], []])]
    if step and step % every_steps == 0:
        tokens = [
            _cover(lengths, share=share, step_tokens=step_tokens, most=start_tokens) or old
            for lengths, old in zip(seen, tokens, strict=True)
        ]
        seen = [[], [], []]
    bins = [_bin_of(g) for g in groups]
    for g, number in zip(groups, bins, strict=True):
        seen[number] += g.tokens_G[g.right_G].tolist()
    return Target(
        np.array([tokens[number] for number in bins], dtype=np.float64),
        {"step": step + 1, "tokens": tokens, "seen": seen},
    )


def _bin_of(g: GroupView) -> int:
    accuracy = float(g.right_G.mean()) if g.right_G.size else 0.0
    # A third of three is a rounding error below 1/3.
    return 0 if accuracy >= EASY - 1e-9 else 1 if accuracy >= MIDDLING - 1e-9 else 2


def _cover(lengths: list[int], *, share: float, step_tokens: int, most: int) -> float | None:
    if not lengths:
        return None
    needed = sorted(lengths)[int(np.ceil(share * len(lengths) - 1e-9)) - 1]
    return float(min(-(-needed // step_tokens) * step_tokens, most))
