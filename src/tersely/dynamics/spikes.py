"""Single steps of a column that stand far above those about them."""

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view

FEWEST, FEWEST_OF_SERIES, BEFORE, LAST, ABOUT = 30, 60, 50, 5, 5
LARGEST_TIMES, SERIES, ERRORS, LATELY, MOST_SHARE = 3, 3, 4.0, 200, 0.1
THREE_QUARTERS = 1.1503


def jumped(
    value_K: Float[np.ndarray, " K"], *, times: float, step_times: float, least: float
) -> tuple[float, float] | None:
    """The median of the 50 records before the last five, and the median or peak of those, if the
    median is ``times`` as much, or the peak ``step_times`` and three times their largest."""
    if value_K.size < FEWEST:
        return None
    before_K, last_K = value_K[-BEFORE - LAST : -LAST], value_K[-LAST:]
    usual, recent, peak = float(np.median(before_K)), float(np.median(last_K)), float(last_K.max())
    if recent >= max(least, times * usual) and recent > usual:
        return usual, recent
    if peak > 0 and peak >= max(least, step_times * usual, LARGEST_TIMES * float(before_K.max())):
        return usual, peak
    return None


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
