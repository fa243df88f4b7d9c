"""GDPO: correctness and length normalised apart."""

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.advantages import AdvantageTrait, MaskScope
from tersely.algo.advantages.group_normalised import group_normalised
from tersely.algo.centring import batch_scaled
from tersely.algo.ragged import Ragged
from tersely.core.errors import ConfigError

TRAITS = frozenset({AdvantageTrait.PER_STD})


def decoupled(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    right_N: Bool[np.ndarray, " N"],
    length_weight: float = 1.0,
    scaled: bool = False,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``A_i = normalised(right)_i + length_weight * normalised(reward - right)_i``, in each group.

    Summed first, a term that varies little (a length bonus) vanishes beside one that varies much;
    normalised first, each has unit std and the weight alone says which counts more. Mind that this
    also blows up a length term among answers of nearly equal length. In a group that is all right
    or all wrong the length term alone is left. Source: arXiv:2601.05242 (GDPO), whose last step is
    ``scaled``; TRL and verl use the sample std.

    Args:
        length_weight: of the second term, >= 0.
        scaled: divide by the batch's root mean square at the end, as GDPO does.
    Raises:
        ConfigError: the weight is out of bounds.
    """
    if not 0 <= length_weight < np.inf:
        raise ConfigError(
            f"advantage.length_weight = {length_weight:g} is not in [0, inf); set one that is"
        )
    known_N = np.isfinite(rewards_N)
    correct_N = np.where(known_N, right_N.astype(np.float64), np.nan)
    apart_N = group_normalised(rewards_N - correct_N, keep_N, layout, mask_scope=mask_scope)
    right_only_N = group_normalised(correct_N, keep_N, layout, mask_scope=mask_scope)
    adv_N = right_only_N + length_weight * apart_N
    return batch_scaled(adv_N, keep_N) if scaled else adv_N
