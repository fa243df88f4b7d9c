"""The comparison without a parser, against the one by expressions."""

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersely.tasks.grading.math_answers import compare
from tersely.tasks.grading.plain_math import MOST_CHARS, same


@pytest.fixture(scope="module", autouse=True)
def _without_the_log_of_the_parser() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


EQUAL = [
    ("7", "7.0"),
    ("7", "007"),
    ("-7", "- 7"),
    ("1234", "1,234"),
    ("1,234", "1{,}234"),
    ("0.5", r"\frac{1}{2}"),
    ("1/2", ".5"),
    (r"\frac34", r"\dfrac{3}{4}"),
    (r"\frac{-3}{4}", "-3/4"),
    ("2/4", r"\frac{1}{2}"),
    ("3/2", r"1\frac{1}{2}"),
    ("9", r"9\%"),
    ("0.09", "9%"),
    ("5", r"5\text{ cm}"),
    ("5", "5 km"),
    ("30", r"30^\circ"),
    ("5", r"\$5"),
    ("5", "x = 5"),
    (r"\{1, 2\}", "2, 1"),
    ("1, 2", r"1 \text{ and } 2"),
    ("(1, 2)", "1, 2"),
    ("(1, 2)", r"\left(1,2\right)"),
    ("[1, 3)", r"\left[1, 3\right)"),
    ("(3, 1, 2)", "[3, 1, 2]"),
    ("(A)", "a"),
    (r"\text{(B)}", "B"),
    (r"\sqrt{2} + 1", r"\sqrt{2} + 1"),
]
UNEQUAL = [
    ("7", "8"),
    ("7", "-7"),
    ("7", "7.00001"),
    ("1234", "1,235"),
    ("1/2", "1/3"),
    ("0.09", "9.5%"),
    ("5", r"6\text{ cm}"),
    ("5", "x = 6"),
    ("(1, 2)", "[1, 2]"),
    ("(1, 2)", "(1, 2, 3)"),
    ("(3, 1)", "(1, 3)"),
    ("[1, 3)", "(1, 3]"),
    (r"\{1, 2\}", r"\{1, 3\}"),
    ("2", "1, 2"),
    ("A", "B"),
    ("Monday", "Tuesday"),
    ("5", "none"),
]
# Equal or not, they are for the parser to say.
LEFT_OVER = [
    ("1/0", "1/00"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    ("1, 2", "1,200,3"),
    ("5", "5" * (MOST_CHARS + 1)),
    ("", ""),
    (r"\text{}", r"\text{}"),
    ("}0", "}0"),
    ("{0", "{0"),
]


@pytest.mark.parametrize(("answer", "found"), EQUAL)
def test_equal_plain_answers_are_right(answer: str, found: str) -> None:
    assert same(answer, found) is True
    assert compare(answer, found)


@pytest.mark.parametrize(("answer", "found"), UNEQUAL)
def test_unequal_plain_answers_are_wrong(answer: str, found: str) -> None:
    assert same(answer, found) is False
    assert not compare(answer, found)


@pytest.mark.parametrize(("answer", "found"), LEFT_OVER)
def test_what_is_not_sure_is_left_to_the_parser(answer: str, found: str) -> None:
    assert same(answer, found) is None


def _write(value: int, bottom: int, form: int) -> str:
    """A number in one of the ways in which models write it."""
    sign, size = "-" * (value < 0), abs(value)
    return [
        f"{value}",
        f"{value}.0",
        f"{value / 4}",
        f"{value:,}",
        f"{sign}\\frac{{{size}}}{{{bottom}}}",
        f"\\frac{{{value}}}{{{bottom}}}",
        f"{value}/{bottom}",
        f"{sign}{size}\\frac{{1}}{{{bottom + 1}}}",
        f"{value}\\%",
        f"{value / 4}%",
        f"{value}\\text{{ cm}}",
        f"{value} m",
        f"${value}$",
        f"{value}^\\circ",
        f"0{size}",
        f"x = {value}",
    ][form]


# Few values, so that equal ones meet often.
numbers = st.builds(
    _write,
    st.sampled_from([-1250, -3, -1, 0, 1, 2, 3, 4, 6, 50, 100, 1234, 123456]),
    st.sampled_from([1, 2, 3, 4, 100]),
    st.integers(min_value=0, max_value=15),
)
items = st.sampled_from(["0", "1", "2", "-1", "0.5", "1.50", r"\frac{1}{2}", "3/2", "10", "2.0"])
lists = st.builds(
    lambda marks, parts, comma: marks[0] + comma.join(parts) + marks[1],
    st.sampled_from(
        [
            *(("(", ")"), ("[", "]"), ("(", "]"), ("[", ")"), (r"\{", r"\}"), ("", "")),
            *((r"\left(", r"\right)"), (r"\left\{", r"\right\}")),
        ]
    ),
    st.lists(items, min_size=1, max_size=4),
    st.sampled_from([",", ", ", " and "]),
)
words = st.sampled_from(
    [
        "A",
        "B",
        "(A)",
        "(b)",
        r"\text{(A)}",
        "x",
        "yes",
        "no",
        "eyes",
        "True",
        "cat",
        "act",
        "E",
        "e",
    ]
)
characters = st.text(alphabet="0123,.-+/%$ (){}[]\\x=", min_size=1, max_size=8)
answers = st.one_of(numbers, numbers, lists, lists, words, characters)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(answer=answers, found=answers)
def test_what_is_decided_is_what_the_expressions_say(answer: str, found: str) -> None:
    decided = same(answer, found)
    if decided is not None:
        assert bool(compare(answer, found)) is decided


@settings(max_examples=200, deadline=None, derandomize=True)
@given(answer=st.one_of(lists, numbers), order=st.permutations(["(", ")", "[", "]", r"\{", r"\}"]))
def test_other_marks_around_the_same_items_are_judged_alike(answer: str, order: list[str]) -> None:
    found = answer
    for mark, other in zip(["(", ")", "[", "]", r"\{", r"\}"], order, strict=True):
        if found.startswith(mark) or found.endswith(mark):
            found = found.replace(mark, other)
            break
    decided = same(answer, found)
    if decided is not None:
        assert bool(compare(answer, found)) is decided
