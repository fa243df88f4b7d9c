"""Curves that a length may follow over training, fitted by maximum likelihood.

Errors are relative (a mean of lengths scatters in proportion to the lengths: 4 to 5% at every
stage of the curves of arXiv:2602.20945) and follow a first-order autoregression whose coefficient
is estimated with the curve, over steps that may be missing. Given the time constant, the place of
a break and that coefficient, a curve is linear in its other parameters: the likelihood is profiled
on a grid of time constants and breaks, in turns with the autocorrelation, and then refined.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import median_filter
from scipy.optimize import minimize_scalar

AUTOCORRELATIONS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
TAUS = 36
# The smallest time constant in a log of more than 5,000 records, in records.
FASTEST = 5.0
BREAKS = 20
ROUNDS = 2
# A restart that puts back less of the drop than this is not told from a decay of another form.
SMALLEST_RESTART = 0.1
# A residual below a millionth of the length is not noise but rounding.
SMALLEST_NOISE = 1e-6
MEDIAN_RECORDS = 11


class DecayShape(StrEnum):
    """How length goes over training; t counts from the first step, e(t) is exp(-t/tau)."""

    UNKNOWN = "unknown"
    CONSTANT = "constant"
    LINE = "line"
    DECAY = "decay"
    DRIFT = "decay and drift"
    REBOUND = "decay and rebound"
    RESTART = "decay with a restart"


class Fit(NamedTuple):
    """A fitted curve.

    Args:
        shape: which curve.
        tau: time constant in steps; NaN without a decay.
        break_at: steps from the first to the rebound or restart; NaN without one.
        rho: autocorrelation of neighbouring records' errors.
        coefficients: level, then what multiplies the shape's other terms, in tokens.
        log_likelihood: of the records, at the maximum.
        bic: -2 log likelihood + parameters * log(records); the smallest is the best described.
    """

    shape: DecayShape
    tau: float
    break_at: float
    rho: float
    coefficients: tuple[float, ...]
    log_likelihood: float
    bic: float


class Data(NamedTuple):
    """What is fitted: elapsed steps, tokens, the noise's scale, gaps in units of the usual gap."""

    elapsed_N: Float[np.ndarray, " N"]
    tokens_N: Float[np.ndarray, " N"]
    scale_N: Float[np.ndarray, " N"]
    gap_N: Float[np.ndarray, " N"]


# Parameters of each curve besides the noise's two.
PARAMETERS = {
    DecayShape.CONSTANT: 1,
    DecayShape.LINE: 2,
    DecayShape.DECAY: 3,
    DecayShape.DRIFT: 4,
    DecayShape.REBOUND: 5,
    DecayShape.RESTART: 5,
}
NO_BREAK = (np.nan,)


def prepare(elapsed_N: Float[np.ndarray, " N"], tokens_N: Float[np.ndarray, " N"]) -> Data:
    """The series with the scale of its noise: the running median of length."""
    width = min(MEDIAN_RECORDS, tokens_N.size // 2 * 2 - 1)
    smooth_N = median_filter(tokens_N, size=width, mode="nearest")
    scale_N = np.maximum(smooth_N, 1e-3 * tokens_N.max())
    gap_N = np.diff(elapsed_N, prepend=0.0)
    return Data(elapsed_N, tokens_N, scale_N, gap_N / np.median(gap_N[1:]))


def best_fit(data: Data) -> Fit:
    """The curve of the smallest BIC among all shapes."""
    return min((fit_shape(data, shape) for shape in PARAMETERS), key=lambda fit: fit.bic)


def fit_shape(data: Data, shape: DecayShape) -> Fit:
    """The most likely curve of one shape; BIC is infinite if none keeps the shape's signs."""
    taus, breaks = _grid(data, shape)
    rho = AUTOCORRELATIONS[1]
    for _ in range(ROUNDS):
        likelihood_TB = _profile(data, shape, taus, breaks, rho).likelihood_TB
        t, b = np.unravel_index(np.argmax(likelihood_TB), likelihood_TB.shape)
        if not np.isfinite(likelihood_TB[t, b]):
            return Fit(shape, np.nan, np.nan, np.nan, (), -np.inf, np.inf)
        tau, break_at = taus[t], breaks[b]
        rho = max(AUTOCORRELATIONS, key=lambda r: _likelihood(data, shape, tau, break_at, r))
    if np.isfinite(tau):
        tau = _refine(data, shape, taus, int(t), break_at, rho)
    best = _profile(data, shape, [tau], [break_at], rho)
    likelihood = float(best.likelihood_TB[0, 0])
    parameters = PARAMETERS[shape] + 2
    return Fit(
        shape=shape,
        tau=float(tau),
        break_at=float(break_at),
        rho=rho,
        coefficients=tuple(float(c) for c in best.coefficients_TBK[0, 0]),
        log_likelihood=likelihood,
        bic=parameters * float(np.log(data.tokens_N.size)) - 2 * likelihood,
    )


def tau_interval(data: Data, fit: Fit, *, drop: float) -> tuple[float, float]:
    """Time constants whose profile likelihood is within ``drop`` of the maximum.

    The autocorrelation and the break are profiled out about their estimates. An end that lies past
    the grid, a thousandth (or 5 records) to ten times the span, is that end of it.

    Args:
        drop: 1.92 for 95% (half the chi-square quantile of one degree of freedom).
    """
    taus, breaks = _grid(data, fit.shape)
    # Fine about the maximum, coarse to the grid's ends.
    near = fit.tau * np.geomspace(0.6, 1.7, 61)
    near = near[(near > taus[0]) & (near < taus[-1])]
    fine = sorted({*taus, *(float(tau) for tau in near)})
    if np.isfinite(fit.break_at):
        breaks = [b for b in breaks if abs(b - fit.break_at) <= data.elapsed_N[-1] / 10]
    near_rho = [rho for rho in AUTOCORRELATIONS if abs(rho - fit.rho) < 0.2]
    rows = [_profile(data, fit.shape, fine, breaks, rho) for rho in near_rho]
    profile_T = np.max([row.likelihood_TB.max(axis=1) for row in rows], axis=0)
    inside = np.flatnonzero(profile_T >= max(profile_T.max(), fit.log_likelihood) - drop)
    if inside.size == 0:
        return fit.tau, fit.tau
    low, high = max(inside[0] - 1, 0), min(inside[-1] + 1, len(fine) - 1)
    return min(fine[low], fit.tau), max(fine[high], fit.tau)


def evaluate(fit: Fit, elapsed_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """The fitted length at these steps, in tokens."""
    terms = _terms(elapsed_N, fit.shape, [fit.tau], [fit.break_at])[0, 0]
    return np.asarray(terms.T @ np.array(fit.coefficients), dtype=np.float64)


class _Profiled(NamedTuple):
    likelihood_TB: Float[np.ndarray, "T B"]
    coefficients_TBK: Float[np.ndarray, "T B K"]


def _grid(data: Data, shape: DecayShape) -> tuple[list[float], list[float]]:
    """Time constants and breaks to try. A break or a drift is told from a decay only where the
    decay has had time to end."""
    span = float(data.elapsed_N[-1])
    if shape in (DecayShape.CONSTANT, DecayShape.LINE):
        return [np.nan], list(NO_BREAK)
    top = span * 10 if shape is DecayShape.DECAY else span / 4
    fastest = min(span / 1000, FASTEST * float(np.median(np.diff(data.elapsed_N))))
    taus = [float(tau) for tau in np.geomspace(fastest, top, TAUS)]
    if shape not in (DecayShape.REBOUND, DecayShape.RESTART):
        return taus, list(NO_BREAK)
    inner = data.elapsed_N[3:-3]
    stride = max(1, inner.size // BREAKS)
    return taus, [float(step) for step in inner[stride // 2 :: stride]] or [span / 2]


def _terms(
    elapsed_N: Float[np.ndarray, " N"],
    shape: DecayShape,
    taus: Sequence[float],
    breaks: Sequence[float],
) -> Float[np.ndarray, "T B K N"]:
    """What the coefficients multiply, at every time constant and break."""
    t_TBN = np.broadcast_to(elapsed_N, (len(taus), len(breaks), elapsed_N.size))
    tau_TBN = np.asarray(taus)[:, None, None]
    one_TBN = np.ones_like(t_TBN)
    if shape is DecayShape.CONSTANT:
        return np.stack([one_TBN], axis=2)
    if shape is DecayShape.LINE:
        return np.stack([one_TBN, t_TBN], axis=2)
    falling_TBN = np.exp(-t_TBN / tau_TBN)
    late_TBN = t_TBN - np.asarray(breaks)[None, :, None]
    if shape is DecayShape.DECAY:
        return np.stack([one_TBN, falling_TBN], axis=2)
    if shape is DecayShape.DRIFT:
        return np.stack([one_TBN, falling_TBN, t_TBN], axis=2)
    if shape is DecayShape.REBOUND:
        return np.stack([one_TBN, falling_TBN, np.maximum(late_TBN, 0.0)], axis=2)
    again_TBN = np.where(late_TBN >= 0, np.exp(-np.maximum(late_TBN, 0.0) / tau_TBN), 0.0)
    return np.stack([one_TBN, falling_TBN, again_TBN], axis=2)


def _profile(
    data: Data, shape: DecayShape, taus: Sequence[float], breaks: Sequence[float], rho: float
) -> _Profiled:
    """The likelihood and the best coefficients at every time constant and break."""
    decay_N = rho**data.gap_N
    decay_N[0] = 0.0
    # Innovations: what a record adds to what the one before it foretells.
    spread_N = np.sqrt(1.0 - decay_N**2)

    def whiten(values: Float[np.ndarray, "*any N"]) -> Float[np.ndarray, "*any N"]:
        scaled = values / data.scale_N
        before = np.concatenate([np.zeros_like(scaled[..., :1]), scaled[..., :-1]], axis=-1)
        return np.asarray((scaled - decay_N * before) / spread_N)

    terms_TBKN = whiten(_terms(data.elapsed_N, shape, taus, breaks))
    tokens_N = whiten(data.tokens_N)
    gram_TBKK = terms_TBKN @ np.swapaxes(terms_TBKN, -1, -2)
    diagonal_TBK = np.maximum(np.diagonal(gram_TBKK, axis1=-2, axis2=-1), 1e-300)
    norm_TBK = np.sqrt(diagonal_TBK)
    gram_TBKK = gram_TBKK / norm_TBK[..., :, None] / norm_TBK[..., None, :]
    moment_TBK = (terms_TBKN @ tokens_N) / norm_TBK
    ridge = 1e-10 * np.eye(gram_TBKK.shape[-1])
    scaled_TBK = np.linalg.solve(gram_TBKK + ridge, moment_TBK[..., None])[..., 0]
    coefficients_TBK = scaled_TBK / norm_TBK
    fitted_TBN = (coefficients_TBK[..., None, :] @ terms_TBKN)[..., 0, :]
    residual_TBN = tokens_N - fitted_TBN
    count = data.tokens_N.size
    variance_TB = np.maximum((residual_TBN**2).mean(axis=-1), SMALLEST_NOISE**2)
    constant = np.log(spread_N).sum() + np.log(data.scale_N).sum() + count / 2
    likelihood_TB = -count / 2 * np.log(2 * np.pi * variance_TB) - constant
    allowed_TB = _keeps_signs(shape, coefficients_TBK)
    return _Profiled(np.where(allowed_TB, likelihood_TB, -np.inf), coefficients_TBK)


def _likelihood(data: Data, shape: DecayShape, tau: float, break_at: float, rho: float) -> float:
    return float(_profile(data, shape, [tau], [break_at], rho).likelihood_TB[0, 0])


def _keeps_signs(
    shape: DecayShape, coefficients_TBK: Float[np.ndarray, "T B K"]
) -> Bool[np.ndarray, "T B"]:
    """A decay falls to a level that is no less than 0; a rebound and a restart rise."""
    level_TB = coefficients_TBK[..., 0]
    if shape in (DecayShape.CONSTANT, DecayShape.LINE):
        return np.asarray(np.isfinite(level_TB))
    drop_TB = coefficients_TBK[..., 1]
    allowed_TB = (level_TB >= 0) & (drop_TB > 0)
    if shape is DecayShape.REBOUND:
        allowed_TB &= coefficients_TBK[..., 2] > 0
    if shape is DecayShape.RESTART:
        allowed_TB &= coefficients_TBK[..., 2] > SMALLEST_RESTART * drop_TB
    return np.asarray(allowed_TB)


def _refine(
    data: Data, shape: DecayShape, taus: Sequence[float], place: int, break_at: float, rho: float
) -> float:
    low, high = taus[max(place - 1, 0)], taus[min(place + 1, len(taus) - 1)]

    def loss(log_tau: float) -> float:
        likelihood = _likelihood(data, shape, float(np.exp(log_tau)), break_at, rho)
        return -likelihood if np.isfinite(likelihood) else 1e300

    found = minimize_scalar(
        loss, bounds=(np.log(low), np.log(high)), method="bounded", options={"xatol": 1e-7}
    )
    refined = float(np.exp(found.x))
    return refined if found.fun <= loss(float(np.log(taus[place]))) else taus[place]
