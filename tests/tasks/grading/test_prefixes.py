from time import process_time
from timeit import timeit

import pytest

from tersely.core.types import Grade, Problem
from tersely.tasks import grading
from tersely.tasks.grading.prefixes import answered_budgets, first_correct_tokens

SEVEN = Problem(id="p", prompt="3+4", answer="7", source="s", grader="number")


def is_right(text):
    return grading.grade(SEVEN, text).grade is Grade.CORRECT


def test_prefixes_are_cut_on_token_boundaries_and_graded_one_by_one():
    # thinking is open up to token 3; then "7" is right, "71" is not, "71 no 7" is again
    pieces = ("<think>", "7?", "</think>", "7", "1", " no", " 7")
    budgets = answered_budgets(pieces, budgets=[2, 3, 4, 5, 6, 7, 99], is_right=is_right)
    assert budgets == (4, 7, 99)


@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [
        # 6 stands first, 7 at the third token from the end of its piece
        (("<think>", "3+4", "=6", " wait: ", "3+4", "=7", "</think>", "7"), 6),
        (("so ", "\\boxed", "{", "7", "}", " or", " \\boxed{8}"), 4),
        (("so ", "\\boxed{8}", " no ", "\\boxed{7", "}"), 4),
        (("The answer", " is", " **7", "**", "."), 3),
        (("<think>it is 7 or so", "</think>", "7"), None),
        (("=8 hmm", ", =7 wait", " no"), 2),
        ((), None),
    ],
)
def test_a_correct_answer_first_stands_where_its_marker_does(pieces, tokens):
    assert first_correct_tokens(SEVEN, pieces) == tokens


def test_a_nested_box_is_one_answer():
    half = Problem(id="p", prompt="", answer="\\frac{1}{2}", source="s", grader="exact")
    assert first_correct_tokens(half, ("\\boxed{\\frac{1}", "{2}}")) == 2


def test_a_long_text_of_open_boxes_is_read_in_a_moment():
    assert first_correct_tokens(SEVEN, ("\\boxed{1 ",) * 3000) is None


def test_boxes_nested_three_deep_and_numbers_with_commas_are_whole():
    root = Problem(id="p", prompt="", answer=r"\frac{\sqrt{3}}{2}", source="s", grader="exact")
    assert first_correct_tokens(root, (r"\boxed{\frac{\sqrt{3}}{2}}", " so")) == 1
    thousand = Problem(id="p", prompt="", answer="1234", source="s", grader="number")
    one = Problem(id="p", prompt="", answer="1", source="s", grader="number")
    assert first_correct_tokens(thousand, ("the answer is ", "1,234", ".")) == 2
    assert first_correct_tokens(one, ("the answer is ", "1,234", ".")) is None


@pytest.mark.parametrize(
    "text",
    [
        "= 5" + " " * 50_000 + "x",
        "answer is" + "\n" * 50_000 + ".",
        "answer" + " " * 50_000 + "is",
        "= " + "a" * 50_000 + " wait",
        "\\boxed{" * 10_000,
    ],
    ids=["spaces", "newlines", "before is", "word", "boxes"],
)
def test_a_text_that_went_wild_costs_little(text):
    # Not with the garbage of a whole suite, which a collection in between would count as its own.
    def once() -> None:
        first_correct_tokens(SEVEN, (text,))

    assert timeit(once, timer=process_time, number=1) < 1.0
