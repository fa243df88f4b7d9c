"""Numbers as findings say them: with interval and n."""

import math

from tersely.metrics.intervals import Interval

UNKNOWN = "–"


def share(interval: Interval) -> str:
    """``12.2% [8.3, 17.7]``."""
    if not math.isfinite(interval.estimate):
        return UNKNOWN
    return f"{percent(interval.estimate)} {_bracket(100 * interval.low, 100 * interval.high, 1)}"


def bracket(interval: Interval) -> str:
    """A share's interval by itself, with what it rests on: ``[8.3, 17.7], n = 88 problems``."""
    ends = _bracket(100 * interval.low, 100 * interval.high, 1)
    return f"{ends}, n = {interval.n_problems:,} problems"


def tokens(interval: Interval) -> str:
    """``61.0 [54.8, 67.7] tokens``."""
    if not math.isfinite(interval.estimate):
        return UNKNOWN
    digits = 0 if interval.estimate >= 1000 else 1
    ends = _bracket(interval.low, interval.high, digits)
    return f"{interval.estimate:,.{digits}f} {ends} tokens"


def signed(interval: Interval, *, digits: int = 2) -> str:
    """``−0.09 [−0.13, −0.05]``."""
    if not math.isfinite(interval.estimate):
        return UNKNOWN
    return f"{plus(interval.estimate, digits=digits)} " + (
        f"[{plus(interval.low, digits=digits)}, {plus(interval.high, digits=digits)}]"
        if math.isfinite(interval.low)
        else f"[{UNKNOWN}]"
    )


def plus(value: float, *, digits: int = 2) -> str:
    """``−0.09``, ``+0.10``; zero has no sign."""
    if not math.isfinite(value):
        return UNKNOWN
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def percent(value: float) -> str:
    """``12.2%``."""
    return f"{100 * value:.1f}%" if math.isfinite(value) else UNKNOWN


def amount(count: float | int) -> str:
    """A large number in short: ``4.2M``."""
    for bound, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= bound:
            return f"{count / bound:.3g}{unit}"
    return f"{count:.0f}"


def _bracket(low: float, high: float, digits: int) -> str:
    if not math.isfinite(low):
        return f"[{UNKNOWN}]"
    return f"[{low:,.{digits}f}, {high:,.{digits}f}]"
