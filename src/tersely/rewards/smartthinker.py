"""SmartThinker: right answers longer than the group's likeliest right length lose, but mildly."""

import numpy as np
from jaxtyping import Bool, Float

from tersely.core.types import GroupView


def smartthinker(g: GroupView) -> Float[np.ndarray, " G"]:
    """``r_i = 1[right_i] * (1 - price * max(0, L_i - best))``.

    ``best`` is the length, between the group's shortest and longest, where a normal density
    fitted to the right lengths is largest relative to one fitted to all lengths. ``price`` is
    the greatest that leaves the worst right answer at the group's mean reward, so with an
    advantage of 0 and never a negative one. Source: arXiv:2603.08000, from a summary; formulas
    are those of its code (SJTU-RTEAS/SmartThinker). Where both fits are equally wide the
    code takes the longest length if right answers are the *shorter*, against its own derivation;
    here the nearer end.

    All right or all wrong: no pressure on length, plain correctness; so is a group of one.
    """
    right_G = g.right_G
    reward_G = np.where(right_G, 1.0, 0.0)
    if right_G.all() or not right_G.any():
        return reward_G
    over_G = np.where(right_G, np.maximum(0.0, g.tokens_G - _best_tokens(g, right_G)), 0.0)
    if over_G.max() == 0.0:
        return reward_G
    price = (1.0 - right_G.mean()) / (over_G.max() - over_G.mean())
    return np.asarray(reward_G - price * over_G)


def idle(*, samples: int, cap_tokens: int) -> str:
    """Where a group that is neither all right nor all wrong has one right rollout: its length is
    the best one."""
    if samples > 2:
        return ""
    return (
        f"of {samples} rollouts one is right at most in a group with a wrong one, and its own "
        "length is the best; raise sampling.samples_per_prompt to 3 or more"
    )


def _best_tokens(g: GroupView, right_G: Bool[np.ndarray, " G"]) -> float:
    """Where the density of right lengths over that of all lengths peaks, within the group."""
    tokens_G = g.tokens_G.astype(np.float64)
    tokens_R = tokens_G[right_G]
    shortest, longest = float(tokens_G.min()), float(tokens_G.max())
    mean, mean_right = tokens_G.mean(), tokens_R.mean()
    variance, variance_right = tokens_G.var(), tokens_R.var()
    if abs(variance_right - variance) <= 1e-9 * variance:
        return longest if mean_right > mean else shortest
    if variance_right > variance:
        return shortest
    peak = (variance * mean_right - variance_right * mean) / (variance - variance_right)
    return float(np.clip(peak, shortest, longest))
