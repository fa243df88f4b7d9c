"""Conditions, names behind a number, and marks of layout around an answer."""

import pytest

from tersely.core.types import Grade
from tersely.tasks import grading

grade = grading.load("math")


def is_right(found: str, gold: str) -> bool:
    return grade(f"So it is $\\boxed{{{found}}}$.", gold).grade is Grade.CORRECT


ALL = r"3k\pi, k \in \mathbb{Z}"
SAID = r"3k\pi \text{ where } k \text{ is an integer}"


@pytest.mark.parametrize(
    "found",
    [SAID, r"3k\pi \text{ for any integer } k", r"3k\pi \text{ for } k \in \mathbb{Z}", r"3k\pi"],
)
def test_all_integers_are_one_condition_in_signs_and_in_words(found: str) -> None:
    assert is_right(found, ALL)


@pytest.mark.parametrize("gold", [ALL, SAID])
@pytest.mark.parametrize("which", ["a positive", "an odd", "a nonnegative", "not an"])
def test_some_of_the_integers_are_another_condition_than_all(gold: str, which: str) -> None:
    assert not is_right(rf"3k\pi \text{{ where }} k \text{{ is {which} integer}}", gold)


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        ("5f_1", r"f_1 \cdot 5"),
        (r"9E_{\text{max}}", r"9 \cdot E_{\text{max}}"),
        ("7A_{2}", r"7\,A_2"),
    ],
)
def test_a_number_times_a_name_of_a_hexadecimal_letter_is_a_product(gold: str, found: str) -> None:
    assert is_right(found, gold)
    assert not is_right(found.replace("_", "'_"), gold)


def test_digits_of_a_base_stay_what_they_are() -> None:
    assert is_right("9a_{16}", "9A_{16}")
    assert not is_right("9A_{12}", "9A_{16}")
    assert not is_right("154", "9A_{16}")
    assert not is_right("12", "12_{2}")


@pytest.mark.parametrize("found", [r"\large 494", r"\Large 494", "\\ 494\\ ", "494\\ "])
def test_sizes_and_spaces_around_an_answer_mean_nothing(found: str) -> None:
    assert is_right(found, "494")
    assert not is_right(found, "495")
