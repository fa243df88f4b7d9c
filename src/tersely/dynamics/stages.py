"""Where length adaptation ends and refinement begins, and how sure that is.

Source: arXiv:2602.20945, section 2.2, which names the two stages and the exponential decay of
length; the curves it is held against, the fit and the thresholds are ours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tersely.dynamics.decay import Data, DecayShape, Fit, best_fit, evaluate, prepare, tau_interval
from tersely.dynamics.noise import NoisyColumn
from tersely.dynamics.thinning import kept_of

REMAINING_DROP = 0.05
SMALLEST_FALL = 0.20
FEWEST_STEPS = 8
PLAIN_R_SQUARED, NOISE_TIMES, TINY = 0.8, 1.4, 1e-9
# Half the 95% quantile of the chi-square distribution with one degree of freedom.
HALF_CHI_SQUARE = 1.92


class Stages(NamedTuple):
    """The fitted decay; every number is NaN when the run shows no stage one.

    Args:
        stage_end_step: first step at which under 5% of the drop remains; may lie past the last.
        tau_steps: time constant of the decay.
        plateau_tokens: the length that the decay tends to; a drift goes on from it.
        initial_tokens: fitted length at the first step.
        r_squared: share of the variance of length that the fit explains.
        end_low, end_high: 95% interval of ``stage_end_step``, by the profile likelihood.
        shape: the curve that describes the length best by BIC.
        break_step: where the rebound or restart begins; NaN without one.
    """

    stage_end_step: float
    tau_steps: float
    plateau_tokens: float
    initial_tokens: float
    r_squared: float
    end_low: float = np.nan
    end_high: float = np.nan
    shape: DecayShape = DecayShape.UNKNOWN
    break_step: float = np.nan


NO_STAGES = Stages(np.nan, np.nan, np.nan, np.nan, np.nan)


def estimate_stages(
    step_N: Float[np.ndarray, " N"],
    tokens_mean_N: Float[np.ndarray, " N"],
) -> Stages:
    """Fits ``L(t) = plateau + drop exp(-t/tau)``; stage one ends at ``t = tau ln(1/0.05)``, 3 tau.

    t counts from the first step. The decay is held against a constant, a line, and itself with a
    drift, a later rise or a restart, by BIC (``decay``). No stages (all NaN but ``shape``) with
    fewer than 8 steps of defined length, when no decay describes them best, or when the decay
    lowers length by less than 20% between the first and the last step, and where what it leaves is
    more than noise. A decay that is still under
    way at the last step gives an extrapolated end past it. After a restart that put back more than
    5% of the drop, stage one ends when 5% of it remains again. Of more than 1,068 lengths the
    middle ones are thinned.
    """
    defined_N = np.isfinite(tokens_mean_N) & np.isfinite(step_N)
    step_N, tokens_N = step_N[defined_N], tokens_mean_N[defined_N]
    step_N, first_N = np.unique(step_N, return_index=True)
    tokens_N = tokens_N[first_N]
    kept = kept_of(tokens_N.size)
    step_N, tokens_N = step_N[kept], tokens_N[kept]
    if tokens_N.size < FEWEST_STEPS or tokens_N.max() <= 0:
        return NO_STAGES
    data = prepare(step_N - step_N[0], tokens_N)
    fit = best_fit(data)
    found = NO_STAGES._replace(shape=fit.shape)
    if fit.shape in (DecayShape.CONSTANT, DecayShape.LINE):
        return found
    plateau, drop = fit.coefficients[:2]
    fall = drop * -np.expm1(-data.elapsed_N[-1] / fit.tau)
    if fall < SMALLEST_FALL * (plateau + drop):
        return found
    if not _describes(data, fit):
        return found
    low, high = tau_interval(data, fit, drop=HALF_CHI_SQUARE)
    ends = [_end(fit._replace(tau=tau)) for tau in (low, high)]
    return found._replace(
        stage_end_step=float(step_N[0] + _end(fit)),
        tau_steps=fit.tau,
        plateau_tokens=plateau,
        initial_tokens=plateau + drop,
        r_squared=_r_squared(data, fit),
        end_low=float(step_N[0] + ends[0]),
        end_high=float(step_N[0] + ends[1]),
        break_step=float(step_N[0] + fit.break_at),
    )


def _end(fit: Fit) -> float:
    """Steps from the first until less than ``REMAINING_DROP`` of the drop remains for good."""
    end = -fit.tau * float(np.log(REMAINING_DROP))
    if fit.shape is not DecayShape.RESTART:
        return end
    _, drop, again = fit.coefficients
    # After the restart what remains is (drop + again e^(break/tau)) e^(-t/tau).
    log_again = np.log(again / drop) + fit.break_at / fit.tau
    after = fit.tau * float(np.logaddexp(0.0, log_again) - np.log(REMAINING_DROP))
    return after if after > fit.break_at else end


def _describes(data: Data, fit: Fit) -> bool:
    """What the curve leaves is as much as the noise of neighbours, or a fifth of the variance."""
    if _r_squared(data, fit) >= PLAIN_R_SQUARED:
        return True
    curve_N = evaluate(fit, data.elapsed_N)
    log_N = np.log(np.maximum(data.tokens_N, TINY))
    residual_N = log_N - np.log(np.maximum(curve_N, TINY))
    return bool(residual_N.std() <= NOISE_TIMES * NoisyColumn(data.elapsed_N, log_N).noise)


def _r_squared(data: Data, fit: Fit) -> float:
    residual_N = data.tokens_N - evaluate(fit, data.elapsed_N)
    return float(1.0 - residual_N.var() / data.tokens_N.var())
