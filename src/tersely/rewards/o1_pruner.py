"""O1-Pruner: shorter than a reference policy on the same prompt, and no less right."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float
from pydantic import AllowInfNan

from tersely.core.types import GroupView
from tersely.rewards import require

NEEDS: frozenset[str] = frozenset({"reference_tokens", "reference_accuracy"})


def o1_pruner(
    g: GroupView,
    *,
    lam: Annotated[float, Ge(0)] = 2.0,
    lowest: Annotated[float, Le(0), AllowInfNan()] = -np.inf,
    highest: Annotated[float, Ge(0), AllowInfNan()] = np.inf,
) -> Float[np.ndarray, "... G"]:
    """``r_i = reference_tokens / L_i - 1 + lam * (1[right_i] - reference_accuracy)``, clipped.

    Source: arXiv:2501.12570, from a summary that quotes the formula; lam = 2 there, 5 in the
    code's README. The code (StarDewXXX/O1-Pruner) clips to [-2, 4] and then standardises over its
    whole offline data set; set ``lowest`` and ``highest`` for the clip, and leave the second to
    the advantage, since a reward sees one group.

    Wrong answers are shaped as well, and without bound: a wrong answer of one token gets about
    ``reference_tokens``, more than any long right one. Set ``highest`` against that. A group of
    one and an all-wrong group follow the formula.

    Args:
        lam: weight of being right, >= 0.
        lowest: least reward, <= 0; the code's -2, no clip by default.
        highest: greatest reward, >= 0; the code's 4, no clip by default.
    """
    require(g, NEEDS)
    shorter_G = g.reference_tokens / np.maximum(g.tokens_G, 1) - 1.0
    reward_G = shorter_G + lam * (np.where(g.right_G, 1.0, 0.0) - g.reference_accuracy)
    return np.asarray(np.clip(reward_G, lowest, highest))
