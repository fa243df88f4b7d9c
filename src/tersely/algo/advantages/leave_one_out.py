"""RLOO."""

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.advantages import MaskScope
from tersely.algo.centring import centred
from tersely.algo.ragged import Ragged


def leave_one_out(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``A_i = r_i - mean of the others = n / (n - 1) * (r_i - mean)``: RLOO.

    Source: arXiv:2402.14740. A group of one, of equal rewards or with nothing kept has zero
    advantage. So it has in TRL and in verl's ``rloo_vectorized``; verl's ``rloo`` pays a group
    of one its reward.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    seen = centred(rewards_N, keep_N, layout, mask_scope=mask_scope)
    factor_P = seen.count_P / np.maximum(seen.count_P - 1, 1)
    return np.where(keep_N, seen.gap_N * layout.spread(factor_P), 0.0)
