"""From what the task pays to what the loss uses."""

import numpy as np
from jaxtyping import Bool, Float

# Rewards closer than this, relative to the largest, are one reward seen through rounding.
_SAME_REWARD = 1e-9


def group_normalised(
    rewards_G: Float[np.ndarray, " G"], keep_G: Bool[np.ndarray, " G"]
) -> Float[np.ndarray, " G"]:
    """``A_i = (r_i - mean) / std`` over the kept rollouts of one group, population std.

    Source: arXiv:2602.20945, Appendix D, which names the normalisation and prints no formula:
    that masked rollouts are left out of mean and std, and get 0, is our choice. No epsilon is
    added, so {1, 0, 0, 0} pays its one success exactly sqrt(3). A group of one, of equal rewards
    or with nothing kept has zero advantage.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    adv_G = np.zeros(rewards_G.shape, dtype=np.float64)
    kept_G = rewards_G[keep_G].astype(np.float64)
    if not np.isfinite(kept_G).all():
        raise ValueError(f"kept rewards must be finite, got {kept_G.tolist()}")
    if kept_G.size == 0 or np.ptp(kept_G) <= _SAME_REWARD * np.abs(kept_G).max():
        return adv_G
    adv_G[keep_G] = (kept_G - kept_G.mean()) / kept_G.std()
    return adv_G
