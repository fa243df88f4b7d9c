"""Verdicts: whether an interval supports a claim that was written down in advance."""

import math
from enum import StrEnum

from tersely.metrics.crossed import Effect


class Relation(StrEnum):
    """How a claim binds its effect to its bound."""

    ABOVE = "above"
    BELOW = "below"
    WITHIN = "within"


class ClaimVerdict(StrEnum):
    """The verdict on a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPPOSITE = "the opposite holds"
    UNKNOWN = "cannot tell"


# Two seeds may happen to agree: where seeds vary much, their intervals cover 88% instead of 95%.
FEWEST_SEEDS = 3


def judge(effect: Effect, *, relation: Relation, bound: float) -> ClaimVerdict:
    """Holds if the whole interval lies where the claim puts the effect, fails if none of it does.

    Where ``above`` has a bound of 0 or more, an interval wholly below minus the bound is the
    opposite; ``below`` mirrors it. Within means between minus and plus the bound, and has none.
    No interval, or fewer than three seeds → cannot tell.
    """
    if relation is Relation.BELOW:
        turned = effect._replace(low=-effect.high, high=-effect.low)
        return judge(turned, relation=Relation.ABOVE, bound=-bound)
    if effect.n_seeds < FEWEST_SEEDS or math.isnan(effect.low):
        return ClaimVerdict.UNKNOWN
    low, high = effect.low, effect.high
    if relation is Relation.WITHIN:
        if -bound < low and high < bound:
            return ClaimVerdict.HOLDS
        return ClaimVerdict.FAILS if low > bound or high < -bound else ClaimVerdict.UNKNOWN
    if low > bound:
        return ClaimVerdict.HOLDS
    if bound >= 0 and high < -bound:
        return ClaimVerdict.OPPOSITE
    return ClaimVerdict.FAILS if high < bound else ClaimVerdict.UNKNOWN
