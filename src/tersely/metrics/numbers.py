"""Numbers as text: estimates with their intervals, differences, ratios and p-values.

Findings, tables and pages all write their numbers with these.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tersely.metrics.intervals import Interval
from tersely.metrics.measures import Unit
from tersely.metrics.significance import beyond_chance

UNDEFINED = "–"
# From here on a tenth of a token is noise.
WHOLE_FROM = 1000.0


class Cell(NamedTuple):
    """An estimate and its interval as text; ``clear`` means a difference beyond chance."""

    estimate: str
    interval: str
    clear: bool = False

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"{self.estimate} {self.interval}".strip()


def format_level(interval: Interval, unit: Unit) -> Cell:
    """A value in its unit, such as ``57.1% [54.8, 59.6]``; undefined reads "–"."""
    if not math.isfinite(interval.estimate):
        return Cell(UNDEFINED, "")
    decimals = _decimals(interval.estimate, unit)
    estimate, low, high = (fixed(value, digits=decimals) for value in _scaled(interval, unit))
    return Cell(estimate + ("%" if unit is Unit.SHARE else ""), bracket(low, high))


def format_difference(interval: Interval, unit: Unit, *, p: float = math.nan) -> Cell:
    """A difference with its sign, shares in percentage points."""
    if not math.isfinite(interval.estimate):
        return Cell(UNDEFINED, "")
    decimals = _decimals(max(abs(v) for v in interval[:3] if math.isfinite(v)), unit)
    estimate, low, high = (signed(value, digits=decimals) for value in _scaled(interval, unit))
    return Cell(
        estimate + (" pp" if unit is Unit.SHARE else ""),
        bracket(low, high),
        clear=beyond_chance(p),
    )


def format_ratio(interval: Interval, *, p: float = math.nan) -> Cell:
    """A ratio as a multiple, ``<0.01×`` if it is tiny; ``p`` is of its being 1."""
    if not math.isfinite(interval.estimate):
        return Cell(UNDEFINED, "")
    estimate, low, high = (fixed(value, digits=2) for value in interval[:3])
    if 0 < interval.estimate < 0.005:
        estimate = "<0.01"
    high = "∞" if interval.high == math.inf else high
    return Cell(f"{estimate}×", bracket(low, high), clear=beyond_chance(p))


def format_score(interval: Interval, *, digits: int = 2, p: float = math.nan) -> Cell:
    """A score without a unit, with its sign: ``−0.09 [−0.13, −0.05]``."""
    if not math.isfinite(interval.estimate):
        return Cell(UNDEFINED, "")
    estimate, low, high = (signed(value, digits=digits) for value in interval[:3])
    return Cell(estimate, bracket(low, high), clear=beyond_chance(p))


def fixed(value: float, *, digits: int = 1) -> str:
    """``1,234.5``."""
    return f"{value:z,.{digits}f}" if math.isfinite(value) else UNDEFINED


def percent(share: float) -> str:
    """``12.2%``."""
    return f"{100 * share:.1f}%" if math.isfinite(share) else UNDEFINED


def signed(value: float, *, digits: int = 2) -> str:
    """``−0.09``, ``+0.10``; what rounds to zero has no sign."""
    text = fixed(abs(value), digits=digits)
    if not math.isfinite(value) or not text.strip("0.,"):
        return text
    return ("+" if value > 0 else "−") + text


def bracket(low: str, high: str) -> str:
    """``[8.3, 17.7]``; ``[–]`` where there is no interval."""
    return f"[{UNDEFINED}]" if low == UNDEFINED else f"[{low}, {high}]"


def amount(count: float | int, *, billion: str = "G") -> str:
    """A large number in three digits: ``4.2M``."""
    for bound, unit in ((1e9, billion), (1e6, "M"), (1e3, "k")):
        if count >= bound:
            return f"{count / bound:.3g}{unit}"
    return f"{count:.0f}"


def three_digits(value: float) -> str:
    """``0.0123``, ``1.23``, ``1,234``: three digits, or all of a whole number."""
    return fixed(value, digits=0) if not abs(value) < 100 else f"{value:.3g}"


def defined(value: float) -> float | None:
    """JSON has no NaN: an undefined value is a gap."""
    return float(value) if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """Named tuples as objects, for machines; an undefined number is null."""
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    return defined(value) if isinstance(value, float) else value


def format_p(p_value: float) -> str:
    """A p-value without its leading zero: ``.62``, ``.031``, ``<.001``."""
    if not math.isfinite(p_value):
        return UNDEFINED
    if p_value < 0.001:
        return "<.001"
    text = f"{p_value:.3f}" if p_value < 0.0995 else f"{p_value:.2f}"
    return text.removeprefix("0")


def state_p(p_value: float) -> str:
    """``p = .62``, ``p < .001``."""
    text = format_p(p_value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def format_points(share: float) -> str:
    """A size in percentage points, such as ``3.4 pp``."""
    return f"{fixed(100 * share)} pp" if math.isfinite(share) else UNDEFINED


def count(n: int, noun: str) -> str:
    """``1 problem``, ``2 problems``, ``1,200 problems``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def name_cap(cap_tokens: int | None) -> str:
    """``2,048``, or ``none`` where no cap is known and none was reached."""
    return "none" if cap_tokens is None else f"{cap_tokens:,}"


def say_cap(cap_tokens: int | None) -> str:
    """``cap 2,048 tokens`` or ``no cap``."""
    return "no cap" if cap_tokens is None else f"cap {cap_tokens:,} tokens"


def shorten(text: str, *, width: int) -> str:
    """At most ``width`` characters, the middle left out if there are more."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def _decimals(value: float, unit: Unit) -> int:
    match unit:
        case Unit.TOKENS:
            return 0 if abs(value) >= WHOLE_FROM else 1
        case Unit.PER_1000:
            return 2 if abs(value) >= 1 else 3
        case _:
            return 1


def _scaled(interval: Interval, unit: Unit) -> list[float]:
    """Estimate and ends; shares as percentages."""
    return [100 * value if unit is Unit.SHARE else value for value in interval[:3]]
