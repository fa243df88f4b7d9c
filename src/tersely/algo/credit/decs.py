"""DECS: a reward for each token, lower after the right answer, normalised position by position."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from tersely.algo.credit import Credit, CreditStep, Excess

FROM_VERDICTS = True
_EPSILON = 1e-6


def decs(step: CreditStep, *, bonus: Annotated[float, Ge(0), Le(1)] = 0.1) -> Credit:
    """``A_it = (r_it - mean_i r_it) / (std_i r_it + 1e-6)``, at each position t of a group;
    ``r_it = 1 + bonus`` if right, ``1 + bonus * (1 - L_i / cap)`` on its excess, 0 if wrong.

    A rollout that has ended goes on counting with what it had: its full reward. So where some go on
    after their answer and others are still before it or done, the former are pushed down and the
    latter up, even if all are right. The std is the sample's.

    Source: the code of arXiv:2509.25827 (pixas/DECS, ``valid_ray_trainer.py``); the paper's
    equations were not read. There a model that was trained for it judges pieces of the thinking,
    and the excess begins with the next piece; here it begins with the next token. The method also
    moves the share of easy prompts, which is no part of this. A group of one, which there gets its
    reward, has no advantage here, nor has a position at which all are paid alike.

    Args:
        bonus: what shortness is worth, in [0, 1].
    """
    advantage_N = np.zeros(len(step.tokens_N))
    tokens: list[np.ndarray] = [np.zeros(count) for count in step.tokens_N]
    start = 0
    for size in step.layout.sizes_P:
        places = np.arange(start, start + size)[step.keep_N[start : start + size]]
        start += size
        if len(places) < 2:
            continue
        advantage_KT = _normalised(_paid(step, places, bonus=bonus))
        for place, advantage_T in zip(places, advantage_KT, strict=True):
            tokens[place] = advantage_T[: step.tokens_N[place]]
            if tokens[place].any():
                # Of the mean's sign where it has one: only 0 says that there is nothing to learn.
                advantage_N[place] = tokens[place].mean() or _EPSILON
    return Credit(advantage_N, tuple(tokens))


def _paid(step: CreditStep, places: np.ndarray, *, bonus: float) -> Float[np.ndarray, "K T"]:
    """What each position of the rollouts is paid, beyond their ends as well."""
    tokens_K, excess = step.tokens_N[places], Excess(*(each[places] for each in step.excess))
    reward_KT = np.zeros((len(places), int(tokens_K.max())))
    for row, right in enumerate(step.right_N[places]):
        if right:
            reward_KT[row] = 1.0 + bonus
            lower = 1.0 + bonus * (1.0 - tokens_K[row] / step.cap_tokens)
            reward_KT[row, excess.begin_N[row] : excess.end_N[row]] = lower
    return reward_KT


def _normalised(reward_KT: Float[np.ndarray, "K T"]) -> Float[np.ndarray, "K T"]:
    gap_KT = reward_KT - reward_KT.mean(axis=0)
    made_KT = gap_KT / (reward_KT.std(axis=0, ddof=1) + _EPSILON)
    return np.asarray(np.where(np.ptp(reward_KT, axis=0) > 0, made_KT, 0.0))
