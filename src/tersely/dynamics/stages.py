"""Where length adaptation ends and refinement begins.

Source: arXiv:2602.20945, section 2.2, which names the two stages and the exponential decay of
length; the fit and the thresholds are ours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

REMAINING_DROP = 0.05
SMALLEST_FALL = 0.20
FEWEST_STEPS = 8


class Stages(NamedTuple):
    """The fitted decay; every field is NaN when the run shows no stage one.

    Args:
        stage_end_step: first step at which under 5% of the drop remains; may lie past the last.
        tau_steps: time constant of the decay.
        plateau_tokens: the length that the decay tends to.
        initial_tokens: fitted length at the first step.
        r_squared: share of the variance of length that the fit explains.
    """

    stage_end_step: float
    tau_steps: float
    plateau_tokens: float
    initial_tokens: float
    r_squared: float


NO_STAGES = Stages(np.nan, np.nan, np.nan, np.nan, np.nan)


def estimate_stages(
    step_N: Float[np.ndarray, " N"],
    tokens_mean_N: Float[np.ndarray, " N"],
    *,
    remaining_drop: float = REMAINING_DROP,
    smallest_fall: float = SMALLEST_FALL,
) -> Stages:
    """Fits ``L(t) = plateau + drop exp(-t/tau)``; stage one ends at ``t = tau ln(1/0.05)``, 3 tau.

    t counts from the first step. Least squares over steps with a defined length. No stages (all
    NaN) with fewer than 8 such steps, when the fitted length falls by less than 20% between the
    first and the last step, or when the fit does not converge. A decay that is still under way at
    the last step gives an extrapolated end past it. A length that later rises again is not
    modelled: read ``r_squared``.

    Args:
        remaining_drop: share of the drop still to come at the end of stage one, in (0, 1).
        smallest_fall: least relative fall of length that counts, in (0, 1).
    """
    defined_N = np.isfinite(tokens_mean_N)
    step_N, tokens_N = step_N[defined_N], tokens_mean_N[defined_N]
    if tokens_N.size < FEWEST_STEPS or np.ptp(step_N) == 0 or np.ptp(tokens_N) == 0:
        return NO_STAGES
    elapsed_N = step_N - step_N.min()
    span_steps, top_tokens = float(elapsed_N.max()), float(tokens_N.max())
    edge = max(1, tokens_N.size // 10)
    order_N = np.argsort(elapsed_N)
    first, last = tokens_N[order_N[:edge]].mean(), tokens_N[order_N[-edge:]].mean()
    fit = least_squares(
        lambda p: _decay(elapsed_N, p[0], p[1], p[2]) - tokens_N,
        x0=(last, max(first - last, 0.0), span_steps / 5),
        bounds=([0.0, 0.0, span_steps / 1000], [top_tokens, 2 * top_tokens, span_steps * 10]),
        x_scale=(top_tokens, top_tokens, span_steps),
    )
    if not fit.success:
        return NO_STAGES
    plateau, drop, tau = fit.x
    fall = drop * -np.expm1(-span_steps / tau)
    if fall < smallest_fall * (plateau + drop):
        return NO_STAGES
    residual_N = tokens_N - _decay(elapsed_N, plateau, drop, tau)
    return Stages(
        stage_end_step=float(step_N.min() - tau * np.log(remaining_drop)),
        tau_steps=float(tau),
        plateau_tokens=float(plateau),
        initial_tokens=float(plateau + drop),
        r_squared=float(1.0 - residual_N.var() / tokens_N.var()),
    )


def _decay(
    elapsed_N: Float[np.ndarray, " N"], plateau: float, drop: float, tau: float
) -> Float[np.ndarray, " N"]:
    return np.asarray(plateau + drop * np.exp(-elapsed_N / tau))
