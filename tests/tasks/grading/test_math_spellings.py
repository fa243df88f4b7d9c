"""Spellings of maths answers that the parser would misread, and near ones that are wrong."""

import pytest

from tersely.core.types import Grade, Problem
from tersely.tasks import grading


def verdict(gold: str, answer: str) -> Grade:
    problem = Problem(id="p", prompt="?", answer=gold, source="s", grader="math")
    return grading.grade(problem, f"So \\boxed{{{answer}}}.").grade


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\$450", r"\text{\$450}"),
        (r"\$450", "450"),
        ("€3.50", r"3.50 \text{ euros}"),
        (r"2 \times 10^{14}", r"2 \times {10}^{14}"),
        ("312_{5}", "{312}_{5}"),
        (r"\frac{7}{30}", r"0.2\overline3"),
        (r"\frac{7}{3}", r"2.\overline {3}"),
        (r"v_{\text{in}}", r"v_\text{in}"),
        (r"\frac{v_{\text{in}}}{4}", r"\frac14 v_\text{in}"),
        (r"\binom{9}{4}", r"{9 \choose 4}"),
        (r"3\sqrt{14}", "3√14"),
        ("3:8", "3{:}8"),
        (r"40 \text{ milliliters}", "40 milliliters"),
        ("g'(2)", "g'(2)"),
        ("g''", r"g^{\prime\prime}"),
    ],
)
def test_another_spelling_is_right(gold: str, answer: str) -> None:
    assert verdict(gold, answer) is Grade.CORRECT


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\$450", "€450"),
        ("£12", r"\$12"),
        ("g'", "g''"),
        ("g'(2)", "g''(2)"),
        ("g'", "g"),
        ("y' = 3y", "y'' = 3y"),
        (r"3 \text{ feet}", "3''"),
        ("312_{5}", "{312}_{6}"),
        (r"\frac{7}{30}", r"0.\overline{23}"),
        (r"3\sqrt{14}", "3√1 4"),
        (r"\binom{9}{4}", r"{9 \choose 3}"),
        (r"40 \text{ milliliters}", "40 centiliters"),
    ],
)
def test_a_near_spelling_of_something_else_is_not(gold: str, answer: str) -> None:
    assert verdict(gold, answer) is not Grade.CORRECT


def test_bulleted_boxes_are_a_list() -> None:
    problem = Problem(id="p", prompt="?", answer="4, 9", source="s", grader="math")
    text = "The roots:\n\n- $x = \\boxed{4}$\n- $x = \\boxed{9}$"
    assert grading.grade(problem, text).grade is Grade.CORRECT
    one = Problem(id="p", prompt="?", answer="9", source="s", grader="math")
    assert grading.grade(one, text).grade is Grade.WRONG
