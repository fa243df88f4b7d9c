"""On-policy SFT: learn from right answers within a length, and from nothing else."""

import numpy as np
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import Trait, require

NEEDS: frozenset[str] = frozenset({"target_tokens"})
TRAITS: frozenset[Trait] = frozenset({Trait.FEW_KINDS, Trait.NOTHING_BEYOND_TARGET})


def on_policy_sft(g: GroupView) -> Float[np.ndarray, "... G"]:
    """``w_i = 1[right_i] * 1[L_i <= target]``, a weight of cross-entropy rather than a reward.

    Source: arXiv:2602.13407, of which we read the abstract: without the KL term and the group's
    normalisation, a truncation reward leaves supervised fine-tuning on what the policy itself got
    right and short. The limit of 3,500 tokens is from a summary. The numbers are ``truncation``'s;
    the method is what becomes of them: take the advantage ``unbaselined``, and nothing ever pushes
    an answer down. With a baseline subtracted this is truncation.

    All wrong, or all beyond the target: zeros, and the group teaches nothing.
    """
    require(g, NEEDS)
    return np.where(g.right_G & (g.tokens_G <= g.target_tokens), 1.0, 0.0)
