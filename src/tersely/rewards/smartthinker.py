"""SmartThinker: right answers longer than the group's likeliest right length lose, but mildly."""

import numpy as np
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import moments, share_right


def smartthinker(g: GroupView) -> Float[np.ndarray, "... G"]:
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
    over_G = np.where(right_G, np.maximum(0.0, g.tokens_G - _best_tokens(g)), 0.0)
    gap = over_G.max(axis=-1, keepdims=True) - over_G.mean(axis=-1, keepdims=True)
    # No price where nothing is wrong, or no right answer is over the best length.
    price = (1.0 - share_right(g)) / np.where(gap > 0.0, gap, np.inf)
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


def _best_tokens(g: GroupView) -> Float[np.ndarray, "... 1"]:
    """Where the density of right lengths over that of all lengths peaks, within the group."""
    shortest, longest = (f(g.tokens_G, axis=-1, keepdims=True) for f in (np.min, np.max))
    mean, variance = moments(g.tokens_G, np.ones_like(g.right_G))
    mean_right, variance_right = moments(g.tokens_G, g.right_G)
    narrower = variance - variance_right
    alike = np.abs(narrower) <= 1e-9 * variance
    peak = variance * mean_right - variance_right * mean
    peak = np.clip(peak / np.where(narrower > 0.0, narrower, 1.0), shortest, longest)
    end = np.where(mean_right > mean, longest, shortest)
    return np.asarray(np.where(alike, end, np.where(narrower < 0.0, shortest, peak)))
