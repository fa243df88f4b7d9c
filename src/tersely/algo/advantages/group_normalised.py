"""The paper's advantage."""

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.advantages import AdvantageTrait, MaskScope
from tersely.algo.centring import over_std
from tersely.algo.ragged import Ragged

TRAITS = frozenset({AdvantageTrait.PER_STD})


def group_normalised(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``A_i = (r_i - mean) / std`` over the group, population std.

    Source: arXiv:2602.20945, Appendix D, which names the normalisation and prints no formula.
    {1, 0, 0, 0} pays its one success exactly sqrt(3), {1, 1, 1, 0} each of its three 1/sqrt(3). A
    group of one, of equal rewards or with nothing kept has zero advantage.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    return over_std(rewards_N, keep_N, layout, mask_scope=mask_scope, spare=0)
