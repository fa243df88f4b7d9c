"""Single steps of a column that stand far above those about them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from tersely.dynamics.log import StepLog

FEWEST, FEWEST_OF_SERIES, BEFORE, LAST, ABOUT = 30, 60, 50, 5, 5
LARGEST_TIMES, SERIES, ERRORS, LATELY, MOST_SHARE = 3, 3, 4.0, 200, 0.1
THREE_QUARTERS = 1.1503


class Jumps(NamedTuple):
    """Of each stretch of records: the median before its last five, their own median and largest,
    and whether the median or the largest jumped."""

    usual_K: Float[np.ndarray, " K"]
    recent_K: Float[np.ndarray, " K"]
    peak_K: Float[np.ndarray, " K"]
    rose_K: Bool[np.ndarray, " K"]
    peaked_K: Bool[np.ndarray, " K"]


def jumped(
    value_K: Float[np.ndarray, " K"], *, times: float, step_times: float, least: float
) -> tuple[float, float] | None:
    """The median of the 50 records before the last five, and the median or peak of those, if the
    median is ``times`` as much, or the peak ``step_times`` and three times their largest."""
    if value_K.size < FEWEST:
        return None
    found = _jumps(value_K[None, -BEFORE - LAST :], times, step_times, least)
    if found.rose_K[0]:
        return float(found.usual_K[0]), float(found.recent_K[0])
    return (float(found.usual_K[0]), float(found.peak_K[0])) if found.peaked_K[0] else None


def jump_moments(
    log: StepLog, name: str, *, times: float, step_times: float, least: float
) -> Int[np.ndarray, " M"]:
    """After how many records of the log a jump of this column comes to be seen."""
    value_N = log.columns.get(name, np.zeros(0))
    (known_K,) = np.nonzero(np.isfinite(value_N))
    value_K = value_N[known_K]
    longest, seen_K = BEFORE + LAST, np.zeros(value_K.size, dtype=bool)
    for count in range(FEWEST, min(longest, value_K.size + 1)):
        short = jumped(value_K[:count], times=times, step_times=step_times, least=least)
        seen_K[count - 1] = short is not None
    if value_K.size >= longest:
        found = _jumps(sliding_window_view(value_K, longest), times, step_times, least)
        seen_K[longest - 1 :] = found.rose_K | found.peaked_K
    return np.asarray(known_K[seen_K & ~np.append(False, seen_K)[:-1]] + 1)


def _jumps(
    value_KW: Float[np.ndarray, "K W"], times: float, step_times: float, least: float
) -> Jumps:
    before_KW, last_KW = value_KW[:, :-LAST], value_KW[:, -LAST:]
    usual_K, recent_K = np.median(before_KW, axis=1), np.median(last_KW, axis=1)
    peak_K, largest_K = last_KW.max(axis=1), before_KW.max(axis=1)
    rose_K = (recent_K >= np.maximum(least, times * usual_K)) & (recent_K > usual_K)
    bound_K = np.maximum(step_times * usual_K, LARGEST_TIMES * largest_K)
    peaked_K = (peak_K > 0) & (peak_K >= np.maximum(least, bound_K))
    return Jumps(usual_K, recent_K, peak_K, rose_K, peaked_K)


def spikes(value_K: Float[np.ndarray, " K"], *, times: float) -> Int[np.ndarray, " S"]:
    """The places of at least 3 among the last 200 records that stand ``times`` above the median of
    eleven and four standard deviations (of logarithms) above it; none where as many, or a third of
    that, stand as far below it or a tenth of all above it, for then the column is so anyway."""
    value_K = value_K[-LATELY:]
    none_S = np.zeros(0, dtype=int)
    if value_K.size < FEWEST_OF_SERIES or not (value_K > 0).all():
        return none_S
    log_K = np.log(value_K)
    window = 2 * ABOUT + 1
    padded = np.pad(log_K, ABOUT, mode="reflect")
    about_K = np.partition(sliding_window_view(padded, window), ABOUT, axis=-1)[:, ABOUT]
    over_K = log_K - about_K
    usual = float(np.sort(np.abs(over_K))[3 * over_K.size // 4]) / THREE_QUARTERS
    far = max(np.log(times), ERRORS * usual)
    (up_S,), (down_S,) = np.nonzero(over_K >= far), np.nonzero(over_K <= -far)
    few = up_S.size < MOST_SHARE * value_K.size
    return up_S if few and up_S.size >= max(SERIES, SERIES * down_S.size) else none_S
