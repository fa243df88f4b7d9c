"""TRL's and verl's GRPO."""

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.advantages import AdvantageTrait, MaskScope
from tersely.algo.centring import over_std
from tersely.algo.ragged import Ragged

TRAITS = frozenset({AdvantageTrait.PER_STD})


def group_normalised_sample(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``A_i = (r_i - mean) / std`` over the group, sample std (divided by n - 1).

    TRL's and verl's GRPO but for their epsilon: smaller than ``group_normalised`` by
    sqrt((n - 1) / n), so {1, 0, 0, 0} pays 1.5. A group of one, of equal rewards or with nothing
    kept has zero advantage; verl's pays a group of one its reward.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    return over_std(rewards_N, keep_N, layout, mask_scope=mask_scope, spare=1)
