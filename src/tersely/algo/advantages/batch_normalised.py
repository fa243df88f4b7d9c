"""REINFORCE++'s advantage with the group's baseline."""

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.advantages import MaskScope
from tersely.algo.centring import batch_scaled, centred
from tersely.algo.ragged import Ragged


def batch_normalised(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``A_i = (r_i - group mean) / batch std``: REINFORCE++ with the group's baseline; DLER's.

    The std is the population's, of ``r_i - group mean`` over all rollouts of the batch that
    count, those of groups without signal included; its mean is zero by construction. An
    all-wrong group, a group of one and a batch without signal have zero advantage.

    Source: arXiv:2501.03262 names the method. verl whitens over *tokens*: it subtracts the
    token-weighted batch mean and divides by the token-weighted sample std. As long answers are
    mostly the wrong ones, that mean is mostly negative and an all-wrong group gets a positive
    advantage. TRL's ``scale_rewards="batch"`` divides by the sample std of the rewards themselves,
    which holds the spread between problems too.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    seen = centred(rewards_N, keep_N, layout, mask_scope=mask_scope)
    scaled_N = batch_scaled(seen.gap_N, seen.counted_N)
    return np.where(keep_N, scaled_N, 0.0)
