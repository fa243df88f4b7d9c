"""Which rollouts of a group the loss may use."""

from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView


class GfpoRank(StrEnum):
    """What GFPO ranks a group by."""

    SHORTEST = "shortest"
    REWARD_PER_TOKEN = "reward_per_token"


def gfpo_keep(
    g: GroupView, rewards_G: Float[np.ndarray, "... G"], *, keep: int, by: GfpoRank
) -> Bool[np.ndarray, "... G"]:
    """The ``keep`` best of the group by ``-L_i`` or by ``r_i / L_i``; the others are masked.

    Source: arXiv:2508.09726, of which we read the abstract and summaries. Mean and std of the
    advantage are those of the kept, so pass the mask on to it. Ranked by length, wrong answers are
    kept as readily as right ones: sample many more than are kept. Ranked by reward per token,
    rewards should be >= 0: a negative one ranks higher the longer its rollout. Equals are kept in
    sample order, and a group of no more than ``keep`` is kept whole. All wrong with rewards of 0:
    the shortest, or the first, are kept, and have no advantage.

    Args:
        keep: rollouts to keep, >= 1.
    Raises:
        ConfigError: ``keep`` is below 1.
        ValueError: a reward is not finite.
    """
    if keep < 1:
        raise ConfigError(f"filter.keep = {keep} is below 1; set filter.keep >= 1")
    if not np.isfinite(rewards_G).all():
        raise ValueError(f"rewards must be finite, got {rewards_G.tolist()}")
    cost_G = g.tokens_G.astype(np.float64)
    if by is GfpoRank.REWARD_PER_TOKEN:
        cost_G = -rewards_G / np.maximum(cost_G, 1.0)
    keep_G = np.zeros(cost_G.shape, dtype=np.bool_)
    best = np.argsort(cost_G, axis=-1, kind="stable")[..., :keep]
    np.put_along_axis(keep_G, best, True, axis=-1)
    return keep_G
