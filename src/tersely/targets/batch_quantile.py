"""A target length that follows the right rollouts of the step."""

from collections.abc import Sequence

import numpy as np

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.targets import Target, TargetState


def batch_quantile(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    start_tokens: int,
    share: float = 0.9,
    floor_tokens: int = 1,
) -> Target:
    """``L_T`` = the ``share`` quantile of the step's right lengths, one target for all groups.

    Quantiles interpolate linearly. A step without a right rollout keeps the last target. The
    paper's adaptive target does not say whether its quantile is of a group or of the batch; see
    ``group_quantile``.  Source: arXiv:2602.20945, Appendix E.

    Args:
        state: ``tokens``, the last target.
        start_tokens: the target until some rollout is right, >= 1.
        share: of the right rollouts that stay within the target, 0 < share <= 1.
        floor_tokens: the target never falls below it, >= 1.
    Raises:
        ConfigError: if a number is out of its bounds.
    """
    check_quantile(share=share, start_tokens=start_tokens, floor_tokens=floor_tokens)
    right_R = np.concatenate([g.tokens_G[g.right_G] for g in groups]) if groups else np.zeros(0)
    tokens = float(state.get("tokens", start_tokens))
    if right_R.size:
        tokens = max(float(np.quantile(right_R, share)), float(floor_tokens))
    return Target(np.full(len(groups), tokens), {"tokens": tokens})


def check_quantile(*, share: float, start_tokens: int, floor_tokens: int) -> None:
    """Refuses what no quantile target can be made from."""
    if not 0 < share <= 1:
        raise ConfigError(f"target.share = {share} is outside (0, 1]; the paper uses 0.9")
    for name, tokens in (("start_tokens", start_tokens), ("floor_tokens", floor_tokens)):
        if tokens < 1:
            raise ConfigError(f"target.{name} = {tokens} is below 1; set it to 1 or more")
