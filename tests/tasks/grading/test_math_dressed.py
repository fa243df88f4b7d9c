"""What stands around the value in a box: a letter of a choice, a modulus, a noun, a colour."""

import pytest

from tersely.core.types import Grade, Problem
from tersely.tasks import grading


def verdict(found: str, gold: str, *, grader: str = "math") -> Grade:
    problem = Problem(id="p", prompt="?", answer=gold, source="s", grader=grader)
    return grading.grade(problem, f"So it is $\\boxed{{{found}}}$.").grade


LABELLED = [r"\textbf{(C)}\ %s", r"\textbf{(C)}~%s", r"\textbf{(C) }%s", r"\text{C) } %s", "C. %s"]
LABELLED += [r"\text{(C)}\; %s", r"(C)\ %s", "C) %s", r"\mathrm{(C)}\quad %s"]
LABELLED += [r"(\text{C})\ %s", r"\textbf{C.}\ %s", r"\textbf{(C)}%s"]


@pytest.mark.parametrize("form", LABELLED)
@pytest.mark.parametrize("value", ["5", r"\frac{3}{4}", "-2"])
def test_a_choice_with_its_letter_is_that_letter_and_its_value(form: str, value: str) -> None:
    for gold in ("C", "(C)", r"\text{(C)}", r"\textbf{C}", value):
        assert verdict(form % value, gold) is Grade.CORRECT, gold
    for gold in ("D", r"\textbf{(D)}", "6", f"-{value}"):
        assert verdict(form % value, gold) is not Grade.CORRECT, gold
    assert verdict(form % value, "C", grader="choice") is Grade.CORRECT
    assert verdict(form % value, "D", grader="choice") is Grade.WRONG


def test_the_value_may_stand_in_the_text_of_its_letter() -> None:
    for gold in ("C", "5"):
        assert verdict(r"\textbf{(C) 5}", gold) is Grade.CORRECT
        assert verdict(r"\textbf{(D) 6}", gold) is Grade.WRONG


@pytest.mark.parametrize(
    "found",
    [
        *(r"\textbf{(C)}\ 5, \textbf{(D)}\ 6", r"\textbf{(C)} \text{ or } \textbf{(D)}"),
        *("C. 5, D. 6", "(C) or (D)", "(C)(D)", "C) D", r"(C) \text{ and } D", r"\textbf{(C)}\ D"),
        *("(C) + 5", "C - 5", "C.5", "(C), 5", "C, D", "(C) and D", "C. not 5"),
        *(r"(C) \cap D", r"(C) \times 5", r"(C) \neq 5", r"\text{(C) is wrong}", "(C) 5 or D"),
    ],
)
def test_several_letters_or_a_sum_with_one_are_no_choice(found: str) -> None:
    for gold in ("C", "D", "5"):
        assert verdict(found, gold) is not Grade.CORRECT, gold


def test_a_gold_answer_with_a_letter_is_right_as_it_is_written() -> None:
    for gold in (r"\textbf{(C)}\ 5", "C. 5"):
        assert verdict(gold, gold) is Grade.CORRECT
        assert verdict(gold.replace("5", "6"), gold) is not Grade.CORRECT
        assert verdict(gold.replace("C", "D"), gold) is not Grade.CORRECT


MODULI = [r"%s \pmod{12}", r"%s\mod 12", r"%s \pmod {12}", r"%s \bmod{12}", r"%s\ (\mod 12)"]
MODULI += [r"%s \text{ (mod } 12)", r"%s \text{ mod } 12", "%s mod 12", "%s (mod 12)"]
MODULI += [r"%s \; (\text{mod } 12)", r"%s \text{ (mod 12)}"]


@pytest.mark.parametrize("form", MODULI)
def test_a_residue_is_its_number_and_its_modulus_is_compared(form: str) -> None:
    for residue in ("7", r"x \equiv 7", "x = 7"):
        found = form % residue
        for gold in ("7", r"7 \pmod{12}", r"x \equiv 7 \pmod{12}"):
            assert verdict(found, gold) is Grade.CORRECT, (found, gold)
        wrong = ("8", "12", "-5", "19", r"7 \pmod{13}", r"x \equiv 7 \pmod{13}", r"8 \pmod{12}")
        for gold in wrong:
            assert verdict(found, gold) in (Grade.WRONG, Grade.UNPARSED), (found, gold)


@pytest.mark.parametrize(
    ("found", "gold"),
    [
        ("7", r"7 \pmod{12}"),
        ("x = 7", r"x \equiv 7 \pmod{12}"),
        (r"19 \mod 12", "19"),
        (r"19 \pmod{12}", "19"),
        (r"12 \mod 12", "12"),
        (r"3, 7 \pmod{12}", r"3, 7 \pmod{13}"),
        (r"3 \pmod{12}, 7 \pmod{13}", r"3 \pmod{11}, 7 \pmod{13}"),
        (r"7 \mod x", "7"),
        (r"7 \mod 0", "7"),
    ],
)
def test_a_residue_without_its_modulus_or_not_reduced_is_wrong_and_fails_no_worker(
    found: str, gold: str
) -> None:
    assert verdict(found, gold) in (Grade.WRONG, Grade.UNPARSED)


NOUNS = ["27 ways", "27 people", r"\text{27 ways}", "27 ordered pairs", r"\text{27 people}"]


@pytest.mark.parametrize("found", NOUNS)
def test_a_noun_behind_a_number_is_what_is_counted(found: str) -> None:
    assert verdict(found, "27") is Grade.CORRECT
    assert verdict("27", found) is Grade.CORRECT
    assert verdict(found, "28") is Grade.WRONG
    assert verdict(found, "72") is Grade.WRONG


@pytest.mark.parametrize(
    "found",
    [
        *("27 hundreds", "27 thousands", "27 thirds", "27 tenths", "27 halves", "27 or less"),
        *("27 minus", "27 cos", "27xyzs", "27 a b", "27 times", "27 dozens", "27 is less"),
        *("27 over fours", "27 quarters", "27 divided by tens", "27 choose fives", "3 + 27 ways"),
    ],
)
def test_a_word_that_changes_a_number_is_no_noun(found: str) -> None:
    assert verdict(found, "27") is not Grade.CORRECT


def test_coins_marked_as_text_are_counted() -> None:
    assert verdict(r"27 \text{ quarters}", "27") is Grade.CORRECT
    assert verdict(r"27 \text{ quarters}", "28") is Grade.WRONG


DRESSES = [r"\color{red}{%s}", r"\textcolor{red}{%s}", r"{\color{blue} %s}", r"\color{red} %s"]
DRESSES += [r"\textcolor[rgb]{1,0,0}{%s}", r"%s\\", "%s\\\\\n"]


@pytest.mark.parametrize("form", DRESSES)
@pytest.mark.parametrize("grader", ["math", "number"])
def test_a_colour_and_the_end_of_a_line_mean_nothing(form: str, grader: str) -> None:
    assert verdict(form % "7", "7", grader=grader) is Grade.CORRECT
    assert verdict(form % "7", "1", grader=grader) is Grade.WRONG
    if grader == "math":
        assert verdict(form % r"\sqrt{8}", r"2\sqrt{2}") is Grade.CORRECT


@pytest.mark.parametrize(
    "form", [r"\text{The answer is }%s", r"\text{The final answer is: } %s", "The answer is %s"]
)
def test_words_that_lead_to_the_answer_are_no_part_of_it(form: str) -> None:
    assert verdict(form % "7", "7") is Grade.CORRECT
    assert verdict(form % "7", "8") is Grade.WRONG
    assert verdict(form % "not 7", "7") is not Grade.CORRECT
    assert verdict(form % r"\text{not }7", "7") is not Grade.CORRECT
