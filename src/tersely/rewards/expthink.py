"""ExpThink: right answers within a length that the prompt's own history sets."""

import numpy as np
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import Trait, require

NEEDS: frozenset[str] = frozenset({"target_tokens"})
TRAITS: frozenset[Trait] = frozenset({Trait.FEW_KINDS, Trait.NOTHING_BEYOND_TARGET})


def expthink(g: GroupView) -> Float[np.ndarray, "... G"]:
    """``1[right_i] * 1[L_i <= target]``, the target being the prompt's ``history_quantile``.

    Source: arXiv:2605.07501, of which we read the abstract; the rule is that of its code
    (CarnegieBin/ExpThink, of March 2026). The abstract speaks of three tiers, with a discount for
    right answers that are too long, where the code gives them 0; for a discount take
    ``truncation`` with ``treatment.cells.correct_long``. The abstract's advantage, normalised by
    the count of right answers, is in neither that code nor here.

    An infinite target, of a prompt that is not solved often enough yet, is plain correctness. All
    wrong, or all beyond the target: zeros, and no advantage.
    """
    require(g, NEEDS)
    return np.where(g.right_G & (g.tokens_G <= g.target_tokens), 1.0, 0.0)
