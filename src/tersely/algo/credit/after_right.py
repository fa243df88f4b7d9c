"""A right rollout is reinforced up to its answer, and less or not at all in what follows."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from tersely.algo.credit import Credit, CreditStep


def after_right(step: CreditStep, *, share: Annotated[float, Ge(-1), Le(1)] = 0.0) -> Credit:
    """``A_t = share * A`` on the excess of a rollout with ``A > 0``, ``A`` on every other token.

    Our own, after the finding of arXiv:2509.25827 (DECS) that an advantage of the whole rollout
    reinforces what a right answer is followed by. A negative advantage stays whole on all tokens:
    to lower it after the answer would spare just what is too long.

    With ``share`` 1 every token has its rollout's advantage, to the bit.

    Args:
        share: of the advantage that is left after the answer; 0 leaves the excess alone, below 0
            pushes it down.
    """
    tokens = []
    rows = zip(step.advantage_N, step.tokens_N, *step.excess, strict=True)
    for advantage, count, begin, end in rows:
        advantage_T = np.full(count, advantage)
        if advantage > 0:
            advantage_T[begin:end] *= share
        tokens.append(advantage_T)
    return Credit(step.advantage_N, tuple(tokens))
