"""The reward itself."""

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.advantages import AdvantageTrait, MaskScope
from tersely.algo.centring import counted
from tersely.algo.ragged import Ragged

TRAITS = frozenset({AdvantageTrait.PUSHES_ALONE})


def unbaselined(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``A_i = r_i``: what on-policy SFT (arXiv:2602.13407) and DRPO's weights ask for.

    The one advantage that is not zero in a group of equal rewards. ``mask_scope`` changes nothing,
    there being no mean.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    layout.split(rewards_N)  # refuses a layout that does not fit
    counted(rewards_N, keep_N, mask_scope=mask_scope)
    return np.where(keep_N, rewards_N, 0.0)
