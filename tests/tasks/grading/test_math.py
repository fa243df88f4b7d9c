"""The maths grader as a whole: fast path, worker, math-verify."""

from time import perf_counter

import pytest

from tersely.core.types import Grade, Problem
from tersely.tasks import grading
from tersely.tasks.grading.workers import LIMIT_S

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


HOSTILE = {
    "a tower of powers": "9**9**9**9",
    "a tower of powers in LaTeX": "9^{9^{9^{9}}}",
    "a power of powers of powers": "((10^{9})^{9^{9}})!",
    "a brace tower": "{" * 50_000 + "}" * 50_000,
    "a nested fraction": r"\frac{1}{" * 300 + "2" + "}" * 300,
    "a million digits": "1" * 1_000_000,
    "half a character": "\ud800 7",
    "bytes that are no text": b"\xff\xfe7".decode(errors="replace"),
    "what a pattern backtracks on": "1,111" * 1_500 + "x",
    "spaces": "1" + " " * 9_000 + "+",
    "a factorial": "99999999!",
}


@pytest.mark.parametrize("found", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_answer_costs_at_most_its_limit_and_the_next_is_graded(found: str) -> None:
    assert grade(r"\boxed{\sqrt{8}}", r"2\sqrt{2}").grade is Grade.CORRECT  # a worker is up
    began = perf_counter()
    verdict = grade(f"\\boxed{{{found}}}", r"2\sqrt{2}")
    assert perf_counter() - began < LIMIT_S + 2
    assert verdict.grade in (Grade.UNGRADED, Grade.WRONG, Grade.UNPARSED)
    assert grade(r"\boxed{\sqrt{18}}", r"3\sqrt{2}").grade is Grade.CORRECT
    assert grade(r"\boxed{\sqrt{17}}", r"3\sqrt{2}").grade is Grade.WRONG


def test_hostile_answers_among_others_change_no_verdict() -> None:
    problem = Problem(id="p", prompt="?", answer=r"2\sqrt{2}", source="s", grader="math")
    good, bad = r"\boxed{\sqrt{8}}", r"\boxed{\sqrt{7}}"
    hostile = [f"\\boxed{{{found}}}" for found in (*list(HOSTILE.values())[:3], "9^{99999999}")]
    texts = [text for trap in hostile for text in (good, trap, bad)]
    grades = [verdict.grade for verdict in grading.grade_all([(problem, t) for t in texts])]
    assert grades[::3] == [Grade.CORRECT] * len(hostile)
    assert grades[2::3] == [Grade.WRONG] * len(hostile)
    assert Grade.CORRECT not in grades[1::3]
