"""Which boxes are the answer: a list of them, or the last one that replaces the others."""

from itertools import product

import pytest

from tersely.core.types import Grade
from tersely.tasks import grading
from tersely.tasks.grading.answer import last_boxed

grade = grading.load("math")

# Endings with two boxes that are one answer.
LISTS = [
    r"So the solutions are \boxed{%s}, \boxed{%s}.",
    r"Hence $\boxed{%s}$ and $\boxed{%s}$ both work.",
    r"We get \(\boxed{%s}\) or \(\boxed{%s}\)",
    r"\[\boxed{%s} \quad \text{and} \quad \boxed{%s}\]",
    r"\[ x = \boxed{%s}, \quad y = \boxed{%s} \]",
    "The two parts:\n(a) $\\boxed{%s}$\n(b) $\\boxed{%s}$",
    "1. $\\boxed{%s}$.\n2. $\\boxed{%s}$.",
    "**Final answers**\n\n- \\boxed{%s}\n- \\boxed{%s}",
    "$$x_1 = \\boxed{%s}$$\n\n$$x_2 = \\boxed{%s}$$",
    r"One root is \boxed{%s} and the other is \boxed{%s}.",
    r"The values are \fbox{%s} and \fbox{%s}.",
    r"$n = \boxed{%s}$; $m = \boxed{%s}$",
    r"It is $\boxed{%s},\ \boxed{%s}$.",
    r"We find $\alpha=\boxed{%s}$ and $\beta=\boxed{%s}$.",
    r"Part (a): \boxed{%s}. Part (b): \boxed{%s}.",
    "\\boxed{%s} \\\\\n\\boxed{%s}",
    r"\boxed{\boxed{%s}, \boxed{%s}}",
]
# Endings of which the last box alone is the answer.
CORRECTIONS = [
    r"So it is \boxed{%s}. Wait, I forgot a case: \boxed{%s}",
    r"\boxed{%s}... no, \boxed{%s}",
    r"I get \boxed{%s}, but the sign is wrong, so \boxed{%s}.",
    r"\boxed{%s}? Hmm. \boxed{%s}.",
    "The answer is $\\boxed{%s}$.\n\nTwo and two... Actually it is $\\boxed{%s}$.",
    r"\boxed{%s} is what I had; corrected: \boxed{%s}",
    r"\boxed{%s}, or rather \boxed{%s}",
    r"Sorry, not \boxed{%s}, \(\boxed{%s}\) instead.",
    "First step: $a = \\boxed{%s}$, which gives\n$$b = 2a + 1$$\nand so $\\boxed{%s}$",
    "**Answer:** \\boxed{%s}\n\n**Correction:** \\boxed{%s}",
    r"With \boxed{%s} squares each, the total comes to \boxed{%s}.",
    r"\boxed{%s} should be \boxed{%s}",
    r"Not \boxed{%s} but \boxed{%s}.",
    r"\boxed{%s} (a slip) \boxed{%s}",
    r"\boxed{%s}, which simplifies to \boxed{%s}",
    r"\boxed{%s} $\to$ \boxed{%s}",
    r"From \boxed{%s} and the condition on $k$ we conclude \boxed{%s}.",
]
PAIRS = [("3", "5"), (r"\frac{1}{2}", "-4"), ("x=1", "x=2"), (r"\sqrt{2}", r"\{1,2\}"), ("17", "0")]
PAIRS += [("(1, 2)", "(3, 4)"), (r"2\pi", "7"), ("-1", r"\frac{3}{4}")]


def test_there_are_200_endings_and_more() -> None:
    assert len(PAIRS) * (len(LISTS) + len(CORRECTIONS)) >= 200


@pytest.mark.parametrize(("ending", "pair"), list(product(LISTS, PAIRS)))
def test_boxes_that_stand_as_a_list_are_one_answer(ending: str, pair: tuple[str, str]) -> None:
    assert last_boxed(ending % pair) == ", ".join(pair)


@pytest.mark.parametrize(("ending", "pair"), list(product(CORRECTIONS, PAIRS)))
def test_a_later_box_replaces_an_earlier_one(ending: str, pair: tuple[str, str]) -> None:
    assert last_boxed(ending % pair) == pair[1]


def test_a_list_of_boxes_is_right_only_for_all_of_its_items() -> None:
    for ending in LISTS:
        assert grade(ending % ("3", "5"), "3, 5").grade is Grade.CORRECT
        assert grade(ending % ("3", "5"), "5").grade is Grade.WRONG
    for ending in CORRECTIONS:
        assert grade(ending % ("3", "5"), "5").grade is Grade.CORRECT
        assert grade(ending % ("5", "3"), "5").grade is Grade.WRONG


def test_a_box_written_twice_is_one_answer() -> None:
    assert last_boxed("$$\\boxed{7}$$\n\n$\\boxed{7}$") == "7"


def test_three_boxes_and_more_are_a_list() -> None:
    assert last_boxed(r"\boxed{1}, \boxed{2}, and \boxed{3}") == "1, 2, 3"
    assert last_boxed(r"\boxed{0}. Rather: \boxed{1}, \boxed{2} or \boxed{3}") == "1, 2, 3"


def test_a_box_without_braces_or_of_another_name_is_an_answer() -> None:
    for box in (r"\boxed 7", r"\boxed7", r"\fbox{7}", r"\boxed {7}", r"\framebox{7}"):
        assert grade(f"It is {box}.", "7").grade is Grade.CORRECT
        assert grade(f"It is {box}.", "8").grade is Grade.WRONG


PIECEWISE = r"\left\{\begin{array}{ll} 2x & x<1 \\ 5 & x\ge 1\end{array}\right."


def test_a_brace_that_is_escaped_closes_no_box() -> None:
    text = f"At first \\boxed{{9}}. Then \\boxed{{{PIECEWISE}}}."
    assert last_boxed(text) == PIECEWISE
    assert grade(text, "9").grade is not Grade.CORRECT
    assert grade(text, PIECEWISE).grade is Grade.CORRECT
    assert grade(text, PIECEWISE.replace("5", "6")).grade is not Grade.CORRECT
