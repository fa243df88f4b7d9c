"""Nemotron's group relative length control: thinking and answer have prices of their own."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import bounded, require

NEEDS: frozenset[str] = frozenset({"thinking_G"})
EXCEPTIONS: Mapping[str, str] = {
    "shorter_pays_no_less": "arXiv:2512.20848: thinking and answer have prices of their own, and "
    "a shorter whole may hold the dearer part"
}


def grlc(
    g: GroupView,
    *,
    thinking_coef: Annotated[float, Ge(0), Le(1)] = 0.1,
    answer_coef: Annotated[float, Ge(0), Le(1)] = 0.1,
) -> Float[np.ndarray, "... G"]:
    """``1[right_i] + thinking_coef * w(thinking_i) + answer_coef * w(answer_i)``,
    ``w(x_i) = s_i - mean(s)``, ``s_i = 1 - (x_i - x_min) / (x_max - x_min)``.

    Source: arXiv:2512.20848 (Nemotron 3 Nano), whose equations we did not read; the formula is that
    of its code (NVIDIA-NeMo/Gym, resources_servers/genrm_compare/utils.py), whose settings are
    ``group_reasoning_length_penalty_coeff`` and ``group_answer_length_penalty_coeff``. There the
    terms are added to a judge's scores of 1 to 5, with coefficients of 0.08 to 0.5, and lengths are
    characters; here they are added to the verdict, and lengths are tokens. The code's bonuses for
    the shortest of the best are left out. Each term sums to zero over the group, wrong rollouts
    included, so it moves no mean; a part that is as long in all of them, and a group of one, has 0.
    A cut rollout that never ended its thinking has the shortest answer, as there. All wrong: the
    two terms alone.

    Args:
        thinking_coef: reward between the shortest and the longest thinking, in [0, 1].
        answer_coef: the same of the answer, in [0, 1 - thinking_coef]; above that a right rollout
            could get less than a wrong one.
    """
    bounded("answer_coef", answer_coef, high=round(1.0 - thinking_coef, 9))
    require(g, NEEDS)
    assert g.thinking_G is not None
    answer_G = g.tokens_G - g.thinking_G
    paid_G = np.where(g.right_G, 1.0, 0.0)
    return paid_G + thinking_coef * _centred(g.thinking_G) + answer_coef * _centred(answer_G)


def _centred(tokens_G: np.ndarray) -> Float[np.ndarray, "... G"]:
    """1 for the shortest to 0 for the longest, less their mean; zeros where all are equal."""
    shortest = tokens_G.min(axis=-1, keepdims=True)
    span = tokens_G.max(axis=-1, keepdims=True) - shortest
    short_G = 1.0 - (tokens_G - shortest) / np.maximum(span, 1)
    return np.asarray(short_G - short_G.mean(axis=-1, keepdims=True))
