"""Numbers as text: estimates with their intervals, differences, ratios and p-values."""

import math
from typing import NamedTuple

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
    return Cell(
        _number(interval.estimate, unit, decimals) + ("%" if unit is Unit.SHARE else ""),
        _bracket(interval, [_number(end, unit, decimals) for end in interval[1:3]]),
    )


def format_difference(interval: Interval, unit: Unit, *, p: float = math.nan) -> Cell:
    """A difference with its sign, shares in percentage points."""
    if not math.isfinite(interval.estimate):
        return Cell(UNDEFINED, "")
    decimals = _decimals(max(abs(v) for v in interval[:3] if math.isfinite(v)), unit)
    return Cell(
        _signed(interval.estimate, unit, decimals) + (" pp" if unit is Unit.SHARE else ""),
        _bracket(interval, [_signed(end, unit, decimals) for end in interval[1:3]]),
        clear=beyond_chance(p),
    )


def format_ratio(interval: Interval, *, p: float = math.nan) -> Cell:
    """A ratio as a multiple; ``p`` is of its being 1."""
    if not math.isfinite(interval.estimate):
        return Cell(UNDEFINED, "")
    return Cell(
        f"{interval.estimate:.2f}×",
        _bracket(interval, [f"{end:.2f}" for end in interval[1:3]]),
        clear=beyond_chance(p),
    )


def format_score(interval: Interval, *, p: float = math.nan) -> Cell:
    """A score without a unit, with its sign and two decimals."""
    if not math.isfinite(interval.estimate):
        return Cell(UNDEFINED, "")
    ends = [_sign(end, f"{abs(end):.2f}") for end in interval[1:3]]
    return Cell(
        _sign(interval.estimate, f"{abs(interval.estimate):.2f}"),
        _bracket(interval, ends),
        clear=beyond_chance(p),
    )


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
    return f"{100 * share:.1f} pp" if math.isfinite(share) else UNDEFINED


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


def _bracket(interval: Interval, ends: list[str]) -> str:
    return f"[{', '.join(ends)}]" if math.isfinite(interval.low) else f"[{UNDEFINED}]"


def _decimals(value: float, unit: Unit) -> int:
    match unit:
        case Unit.TOKENS:
            return 0 if abs(value) >= WHOLE_FROM else 1
        case Unit.PER_1000:
            return 2 if abs(value) >= 1 else 3
        case _:
            return 1


def _number(value: float, unit: Unit, decimals: int) -> str:
    if not math.isfinite(value):
        return UNDEFINED
    return f"{100 * value if unit is Unit.SHARE else value:,.{decimals}f}"


def _signed(value: float, unit: Unit, decimals: int) -> str:
    return _sign(value, _number(abs(value), unit, decimals))


def _sign(value: float, text: str) -> str:
    if text == UNDEFINED or not math.isfinite(value) or float(text.replace(",", "")) == 0:
        return text if math.isfinite(value) else UNDEFINED
    return ("+" if value > 0 else "−") + text
