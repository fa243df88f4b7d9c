"""ThinkPrune: right within a budget that shrinks from stage to stage."""

import numpy as np
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import Trait, require

NEEDS: frozenset[str] = frozenset({"target_tokens"})
TRAITS: frozenset[Trait] = frozenset({Trait.FEW_KINDS, Trait.NOTHING_BEYOND_TARGET})


def thinkprune(g: GroupView) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[right_i] * 1[L_i <= budget]``, the budget being the target of the stage.

    Source: arXiv:2504.01296, of which we read the abstract: a token limit beyond which what is
    unfinished is discarded and gets zero, made stricter in rounds. The formula is ``truncation``'s,
    the method its schedule, 4k then 3k then 2k tokens, so take a staged target. There a rollout is
    cut at the budget; sample with the cap at the first budget for the same effect. All wrong, or
    all beyond the budget: zeros.
    """
    require(g, NEEDS)
    return np.where(g.right_G & (g.tokens_G <= g.target_tokens), 1.0, 0.0)
