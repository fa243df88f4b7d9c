"""The maths grader as a whole: fast path, worker, math-verify."""

import pytest

from tersely.core.types import Grade
from tersely.tasks import grading

grade = grading.load("math")


@pytest.mark.parametrize(
    ("gold", "found", "expected"),
    [
        (r"\frac{\pi}{6}", r"\frac{2\pi}{12}", Grade.CORRECT),
        (r"3\sqrt{2}", r"\sqrt{18}", Grade.CORRECT),
        ("x^2 + 2x", "x(x + 2)", Grade.CORRECT),
        ("x^2 + 2x", "x(x + 3)", Grade.WRONG),
        # Python's powers, which math-verify alone takes for any number in them
        ("48*z**2 - 3", "48*z^2 - 3", Grade.CORRECT),
        ("48*z**2 - 3", "48*z**3 - 3", Grade.WRONG),
        ("48*z**2 - 3", "48", Grade.WRONG),
        ("7", r"7.0", Grade.CORRECT),
        ("7", "8", Grade.WRONG),
    ],
)
def test_what_is_equal_is_right(gold: str, found: str, expected: Grade) -> None:
    text = f"<think>\\boxed{{{gold}}}?</think> So \\boxed{{{found}}}."
    assert grade(text, gold).grade is expected


def test_without_a_box_after_the_thinking_there_is_no_answer() -> None:
    assert grade(r"<think>\boxed{7}</think> It is 7.", "7").grade is Grade.UNPARSED
    assert grade(r"<think>\boxed{7}", "7").grade is Grade.UNPARSED
