"""GRPO-LEAD's advantage."""

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.advantages import AdvantageTrait, MaskScope
from tersely.algo.advantages.group_normalised import group_normalised
from tersely.algo.centring import counted
from tersely.algo.ragged import Ragged


def difficulty_weight(
    accuracy: float | Float[np.ndarray, "..."],
) -> Float[np.ndarray, "..."]:
    """``0.4 + 1.1 / (1 + exp(10 (accuracy - 0.75)))``: 1.5 where nothing is solved, 0.48 where all.

    Source: the code of GRPO-LEAD, arXiv:2504.09696.
    """
    return np.asarray(0.4 + 1.1 / (1 + np.exp(10 * (np.asarray(accuracy) - 0.75))))


TRAITS = frozenset({AdvantageTrait.PER_STD})


def difficulty_reweighted(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    right_N: Bool[np.ndarray, " N"] | None = None,
    positive_only: bool = False,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``group_normalised`` times ``w(accuracy)`` if positive, ``w(1 - accuracy)`` if negative.

    With ``w = difficulty_weight`` a success on a hard problem pushes up to three times as hard as
    one on an easy problem, and a failure on an easy one up to three times as hard as one on a hard
    one. The kept rollouts' mean is therefore no longer zero. Source: the code of GRPO-LEAD,
    arXiv:2504.09696, which uses the sample std. A group of one, of equal rewards or with nothing
    kept has zero advantage; in that code a group of one has its reward times the weight.

    Args:
        right_N: which rollouts are right; accuracy is their share of those that count in the mean.
            None: those of positive reward, as in that code.
        positive_only: leave negative advantages as they are.
    Raises:
        ValueError: if a kept reward is not finite.
    """
    adv_N = group_normalised(rewards_N, keep_N, layout, mask_scope=mask_scope)
    counted_N = counted(rewards_N, keep_N, mask_scope=mask_scope)
    right_N = rewards_N > 0 if right_N is None else right_N
    accuracy_P = layout.sums(right_N & counted_N) / np.maximum(layout.sums(counted_N), 1)
    below_P = np.ones_like(accuracy_P) if positive_only else difficulty_weight(1 - accuracy_P)
    above_N = layout.spread(difficulty_weight(accuracy_P))
    return adv_N * np.where(adv_N > 0, above_N, layout.spread(below_P))
