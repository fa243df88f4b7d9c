"""How many groups of another size would teach nothing, from the samples there are."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import comb

# Pass rates that prompts may have, and how far the fit of their distribution is driven.
RATES_R = np.linspace(0.0, 1.0, 101)
FIT_STEPS = 50


class Chance(NamedTuple):
    """A share of groups of another size, and whether it was counted or fitted."""

    share: float
    unbiased: bool


def silent_share(
    kinds_PV: Int[np.ndarray, "P V"], masked_P: Int[np.ndarray, " P"], *, draws: int
) -> Chance:
    """The share of groups of ``draws`` rollouts in which all that the loss sees is paid the same.

    ``sum over kinds v of E[(m + q_v)^N] - (V - 1) E[m^N]``, ``q_v`` and ``m`` being the shares of
    kind v and of masked rollouts of a prompt: two kinds are together in it only if all is masked.

    Args:
        kinds_PV: of each prompt's rollouts, how many the loss sees of each kind of pay.
        masked_P: how many it does not see.
        draws: N, the rollouts of a group, >= 1.
    """
    of_P = kinds_PV.sum(axis=1) + masked_P
    parts = [chance_all(masked_P + column_P, of_P, draws=draws) for column_P in kinds_PV.T]
    nothing = chance_all(masked_P, of_P, draws=draws)
    total = sum(part.share for part in parts) - (len(parts) - 1) * nothing.share
    return Chance(float(np.clip(total, 0.0, 1.0)), nothing.unbiased)


def chance_all(
    count_P: Int[np.ndarray, " P"], of_P: Int[np.ndarray, " P"], *, draws: int
) -> Chance:
    """``E[q^N]``: the chance that all N rollouts of a prompt are of one kind.

    With at least N samples of every prompt the mean of ``C(count, N) / C(of, N)``, which is
    without bias: it counts the groups that could be drawn from the samples. With fewer, the mean of
    ``q^N`` under ``spread_rates``. No prompt at all gives NaN.
    """
    if not of_P.size:
        return Chance(np.nan, True)
    if (of_P >= draws).all():
        return Chance(float((comb(count_P, draws) / comb(of_P, draws)).mean()), True)
    if not count_P.any() or (count_P == of_P).all():
        return Chance(float(count_P.any()), False)
    return Chance(float(spread_rates(count_P, of_P) @ RATES_R**draws), False)


def spread_rates(
    count_P: Int[np.ndarray, " P"], of_P: Int[np.ndarray, " P"]
) -> Float[np.ndarray, " R"]:
    """How the prompts' rates are spread over ``RATES_R``: weights that sum to 1.

    Maximum likelihood without a family of distributions, by EM from equal weights; stopped after
    ``FIT_STEPS`` it stays smooth (source: N. Laird and T. Louis, "Smoothing the non-parametric
    estimate of a prior distribution by roughening", 1991). A beta-binomial, the usual choice, is
    off where prompts are of two sorts: on the lab, from 8 samples, it gives .45 silent groups of
    24 where .34 are counted, and this .36. For six distributions we simulated, the share of silent
    groups of 24 is off by at most .07 (root mean square) from 8 samples of 100 prompts, by .11
    from 4.
    """
    seen, times = np.unique(np.stack([count_P, of_P], axis=1), axis=0, return_counts=True)
    # Half a second to load, which every command would wait for.
    from scipy.stats import binom

    likely_KR = binom.pmf(seen[:, :1], seen[:, 1:], RATES_R[None, :])
    weight_R = np.full(len(RATES_R), 1 / len(RATES_R))
    for _ in range(FIT_STEPS):
        joint_KR = likely_KR * weight_R
        weight_R = (times @ (joint_KR / joint_KR.sum(axis=1, keepdims=True))) / times.sum()
    return np.asarray(weight_R)
