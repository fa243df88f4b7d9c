"""Rewards less their group's mean, over all groups of a step at once: what advantages are made of.

No epsilon is added to a std: rewards that differ by rounding alone count as equal, and equal
rewards have zero advantage. TRL 1.16 adds 1e-4, verl 0.9.1 adds 1e-6.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.advantages import MaskScope
from tersely.algo.ragged import Ragged

# Rewards closer than this, relative to the largest, are one reward seen through rounding.
SAME_REWARD = 1e-9


class Centred(NamedTuple):
    """Rewards less their group's mean (0 off the counted ones), and what that was taken over."""

    gap_N: Float[np.ndarray, " N"]
    counted_N: Bool[np.ndarray, " N"]
    count_P: Float[np.ndarray, " P"]


def counted(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Bool[np.ndarray, " N"]:
    """Which rollouts enter mean and std.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    finite_N = np.isfinite(rewards_N)
    if not finite_N[keep_N].all():
        bad = rewards_N[keep_N & ~finite_N].tolist()
        raise ValueError(f"kept rewards must be finite, got {bad}")
    return keep_N if mask_scope is MaskScope.EVERYWHERE else finite_N


def centred(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope,
) -> Centred:
    """The gaps to the group's mean; zeros in a group of one, of equal rewards or not kept."""
    counted_N = counted(rewards_N, keep_N, mask_scope=mask_scope)
    count_P = layout.sums(counted_N)
    mean_P = layout.sums(np.where(counted_N, rewards_N, 0.0)) / np.maximum(count_P, 1)
    low_P = layout.minima(np.where(counted_N, rewards_N, np.inf))
    high_P = layout.maxima(np.where(counted_N, rewards_N, -np.inf))
    differs_P = high_P - low_P > SAME_REWARD * np.maximum(np.abs(low_P), np.abs(high_P))
    signal_N = counted_N & layout.spread(differs_P)
    return Centred(
        gap_N=np.where(signal_N, rewards_N - layout.spread(mean_P), 0.0),
        counted_N=counted_N,
        count_P=count_P,
    )


def over_std(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope,
    spare: int,
) -> Float[np.ndarray, " N"]:
    """The gaps over their group's std, divided by the count less ``spare``."""
    seen = centred(rewards_N, keep_N, layout, mask_scope=mask_scope)
    squares_P = layout.sums(seen.gap_N**2)
    std_P = np.sqrt(squares_P / np.maximum(seen.count_P - spare, 1))
    std_P[squares_P == 0] = 1.0
    return np.where(keep_N, seen.gap_N / layout.spread(std_P), 0.0)


def batch_scaled(
    adv_N: Float[np.ndarray, " N"], keep_N: Bool[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """``A_i / sqrt(mean of A^2 over the kept rollouts of the batch)``; zeros stay zeros.

    The last step of GDPO, arXiv:2601.05242. For advantages that already have mean zero this is the
    batch's population std. No mean is subtracted, so that a group without signal keeps zero. TRL
    subtracts the mean over rollouts, verl the mean over *tokens*, and both use the sample std.
    """
    kept = max(int(keep_N.sum()), 1)
    scale = np.sqrt((adv_N[keep_N] ** 2).sum() / kept)
    return np.where(keep_N, adv_N / scale, 0.0) if scale > 0 else np.zeros_like(adv_N)
