"""Cosine: right answers lose with length, wrong ones gain, along half a cosine up to the cap."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import bounded, require

NEEDS: frozenset[str] = frozenset({"cap_tokens"})


def cosine(
    g: GroupView,
    *,
    correct_short: float = 1.0,
    correct_long: float = 0.0,
    wrong_short: Annotated[float, Le(0)] = -1.0,
    wrong_long: Annotated[float, Le(0)] = 0.0,
    exceeded: float = 0.0,
    margin_tokens: Annotated[int, Ge(0)] = 0,
) -> Float[np.ndarray, "... G"]:
    """``long + (short - long) * (1 + cos(pi * L_i / cap)) / 2``; ``exceeded`` at the cap.

    Source: arXiv:2502.03373, whose equations we did not read; form and defaults are those of its
    code (eddycmu/demystify-long-cot), which treats all within 16 tokens of the cap as having
    exceeded it, right ones too (``margin_tokens``), and whose scripts use values up to ten times
    as large. TRL's version differs at the cap and in its defaults: ``cosine_trl``.

    An unfinished rollout that is not right has exceeded the cap, whatever its length. A group of
    one and an all-wrong group follow the formula: only the rollout itself matters.

    Args:
        correct_short, correct_long: reward of a right answer of 0 and of cap tokens, falling.
        wrong_short, wrong_long: reward of a wrong answer of 0 and of cap tokens, both
            <= min(0, correct_long).
        exceeded: reward of reaching the cap, <= correct_long.
        margin_tokens: tokens before the cap that count as reaching it, >= 0.
    """
    bounded("correct_short", correct_short, low=correct_long)
    bounded("wrong_short", wrong_short, high=correct_long)
    bounded("wrong_long", wrong_long, high=correct_long)
    bounded("exceeded", exceeded, high=correct_long)
    require(g, NEEDS)
    right_G = g.right_G
    share_G = (1.0 + np.cos(np.pi * np.minimum(g.tokens_G / g.cap_tokens, 1.0))) / 2.0
    right_pay_G = correct_long + (correct_short - correct_long) * share_G
    wrong_pay_G = wrong_long + (wrong_short - wrong_long) * share_G
    exceeded_G = (g.tokens_G + margin_tokens >= g.cap_tokens) | ~(right_G | g.finished_G)
    return np.where(exceeded_G, exceeded, np.where(right_G, right_pay_G, wrong_pay_G))
