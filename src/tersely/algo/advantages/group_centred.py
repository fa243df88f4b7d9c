"""Dr. GRPO's advantage."""

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.advantages import MaskScope
from tersely.algo.centring import centred
from tersely.algo.ragged import Ragged


def group_centred(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``A_i = r_i - mean`` over the group: Dr. GRPO's, without the std.  Source: arXiv:2503.20783.

    Dr. GRPO's other half is the aggregation ``constant``. A group of one, of equal
    rewards or with nothing kept has zero advantage; verl's pays a group of one its reward.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    return np.where(keep_N, centred(rewards_N, keep_N, layout, mask_scope=mask_scope).gap_N, 0.0)
