"""NeMo-RL's effort levels: length counts only where the prompt asks for less thinking."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt
from jaxtyping import Float

from tersely.core.types import GroupView

TAKES: frozenset[str] = frozenset({"target_tokens"})


def effort(
    g: GroupView,
    *,
    weight: Annotated[float, Gt(0)] = 1.0,
    penalty: Annotated[float, Ge(0)] = 1.0,
) -> Float[np.ndarray, "... G"]:
    """``r_i + r_i * max(l_i, 0) + penalty * min(l_i, 0)``, ``r_i = 1[right_i]``,
    ``l_i = min(1, weight * (1 - L_i / target))``; a group without a target gets ``r_i``.

    Source: NeMo-RL's code (nemo_rl/experience/rollouts.py, EffortLevelsConfig). There one level,
    "low", has a bound, its share of the rollouts is found by a text in the prompt, and the bound's
    default is 64,000 tokens; here every level may have one, by the target ``by_effort``, and a
    level without one is the "high" of that code. Wrong rollouts gain nothing by being short, and
    lose beyond the target as right ones do. All wrong: 0 up to the target, and falling beyond it.

    Args:
        weight: slope of the term, above 0; from its value 1 on the shortest rollout is paid twice.
        penalty: weight of what lies beyond the target, >= 0.
    """
    right_G = np.where(g.right_G, 1.0, 0.0)
    term_G = np.minimum(1.0, weight * (1.0 - g.tokens_G / g.target_tokens))
    term_G = np.where(np.isnan(g.target_tokens), 0.0, term_G)
    return right_G * (1.0 + np.maximum(term_G, 0.0)) + penalty * np.minimum(term_G, 0.0)
