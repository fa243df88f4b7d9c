"""DOT: in a group that is solved, right answers of outlying length get nothing."""

import math
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import share_right


def dot(
    g: GroupView,
    *,
    deviations: Annotated[float, Ge(0), Le(100)] = 3.0,
    margin_tokens: Annotated[int, Ge(1)] = 32,
    solved: Annotated[float, Gt(0), Le(1)] = 1.0,
) -> Float[np.ndarray, "... G"]:
    """``1[right_i]``, but 0 where ``L_i - T >= margin_tokens`` in a group that is solved.

    ``T = floor(mean + deviations * std)`` of all lengths of the group, with the sample std. Source:
    the authors' code for arXiv:2601.03969 (``projects/dot/length_truncation.py``); the paper's
    equations were not read. There an outlier is cut at T, graded anew, and its tokens beyond T
    leave the loss; the answer stands at the end, so what is left is nearly always wrong. Here the
    whole rollout gets 0, and all of its tokens are trained.

    Of n lengths none can lie more than (n - 1) / sqrt(n) deviations above the mean: with fewer than
    11 rollouts a group, 3 deviations are never reached, and this is plain correctness (the paper
    samples 32). All wrong, or a group of one: plain correctness.

    Args:
        deviations: standard deviations above the mean from which on a length is an outlier.
        margin_tokens: an outlier is longer than T by at least as many, >= 1.
        solved: share of right rollouts from which on a group is looked at, in (0, 1].
    """
    right_G = g.right_G
    reward_G = np.where(right_G, 1.0, 0.0)
    if right_G.shape[-1] < 2:
        return reward_G
    mean = g.tokens_G.mean(axis=-1, keepdims=True)
    std = g.tokens_G.std(axis=-1, ddof=1, keepdims=True)
    outlier_G = g.tokens_G - np.floor(mean + deviations * std) >= margin_tokens
    return np.where(outlier_G & (share_right(g) >= solved), 0.0, reward_G)


def idle(
    *, samples: int, cap_tokens: int, deviations: float, margin_tokens: int, solved: float
) -> str:
    """Where not even one rollout at the cap beside others of one token is an outlier."""
    reach = (cap_tokens - 1) * (1 - 1 / samples - deviations / math.sqrt(samples))
    if reach > margin_tokens - 1:
        return ""
    most = (samples - 1) / math.sqrt(samples)
    if most <= deviations:
        return (
            f"none of {samples} lengths lies more than {most:.2f} deviations above their mean, and "
            f"reward.deviations is {deviations:g}; raise sampling.samples_per_prompt or lower it"
        )
    return (
        f"of {samples} rollouts of up to {cap_tokens:,} tokens none can be reward.margin_tokens = "
        f"{margin_tokens:,} longer than an outlier begins; lower it"
    )
