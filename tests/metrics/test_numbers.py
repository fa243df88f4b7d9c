"""Numbers as text; tables of them are in ``tests/report/tables``."""

import math

import pytest

from tersely.metrics.intervals import Interval
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import (
    UNDEFINED,
    Cell,
    amount,
    bracket,
    defined,
    fixed,
    format_level,
    format_p,
    format_score,
    percent,
    plain,
    shorten,
    signed,
    three_digits,
)

NAN = math.nan


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (fixed(1234.56), "1,234.6"),
        (fixed(0.0625, digits=3), "0.062"),
        (fixed(NAN), UNDEFINED),
        (percent(0.12249), "12.2%"),
        (percent(NAN), UNDEFINED),
        (signed(-0.094), "−0.09"),
        (signed(0.1), "+0.10"),
        # What rounds to zero has no sign.
        (signed(-0.004), "0.00"),
        (signed(0.04, digits=0), "0"),
        (signed(-1234.5, digits=1), "−1,234.5"),
        (signed(NAN), UNDEFINED),
        (bracket("8.3", "17.7"), "[8.3, 17.7]"),
        (bracket(UNDEFINED, UNDEFINED), f"[{UNDEFINED}]"),
        (amount(999), "999"),
        (amount(15_640), "15.6k"),
        (amount(4_200_000), "4.2M"),
        (amount(7.62e9), "7.62G"),
        (amount(7.62e9, billion="B"), "7.62B"),
        (three_digits(0.01234), "0.0123"),
        (three_digits(12.34), "12.3"),
        (three_digits(1234.4), "1,234"),
        (three_digits(NAN), UNDEFINED),
    ],
)
def test_a_number_is_written(written: str, text: str) -> None:
    assert written == text


def test_an_interval_is_written_with_its_estimate() -> None:
    share = Interval(0.122, 0.083, 0.177, n_problems=88, n_samples=704)
    assert format_level(share, Unit.SHARE).text == "12.2% [8.3, 17.7]"
    drift = Interval(-0.0872, -0.126, 0.0004, n_problems=88, n_samples=704)
    assert format_score(drift, digits=3).text == "−0.087 [−0.126, 0.000]"
    unknown = Interval(0.5, NAN, NAN, n_problems=1, n_samples=4)
    assert format_level(unknown, Unit.SHARE) == Cell("50.0%", f"[{UNDEFINED}]")
    nothing = Interval(NAN, NAN, NAN, n_problems=0, n_samples=0)
    assert format_score(nothing) == Cell(UNDEFINED, "")


def test_a_p_value_loses_its_leading_zero() -> None:
    shown = [format_p(p) for p in (0.6214, 0.0312, 0.0996, 0.0005, 1.0, NAN)]
    assert shown == [".62", ".031", ".10", "<.001", "1.00", UNDEFINED]


def test_a_shortened_name_keeps_both_its_ends() -> None:
    assert shorten("a-name-that-is-long", width=9) == "a-na…long"
    assert shorten("short", width=9) == "short"


def test_for_machines_named_tuples_are_objects_and_undefined_is_null() -> None:
    assert defined(NAN) is None
    assert defined(2.0) == 2.0
    level = Interval(0.5, NAN, math.inf, n_problems=1, n_samples=4)
    assert plain({8: [level], "name": "x"}) == {
        "8": [
            {
                "estimate": 0.5,
                "low": None,
                "high": None,
                "n_problems": 1,
                "n_samples": 4,
                "standard_error": None,
            }
        ],
        "name": "x",
    }
