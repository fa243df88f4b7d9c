from fractions import Fraction
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersely.core.types import Grade
from tersely.tasks.grading.number import grade


def right(text: str, answer: str) -> bool:
    return grade(text, answer).grade is Grade.CORRECT


@pytest.mark.parametrize("dash", list("-−‐‑‒–—﹣－"))
def test_any_dash_before_a_number_is_its_minus(dash: str) -> None:
    assert right(f"It is {dash}12.", "-12")
    assert not right(f"It is {dash}12.", "12")
    assert right(f"\\boxed{{{dash}12}}", f"{dash}12")
    # Between two numbers it is none, nor between a clause and the next.
    for text in ("From 3{}12", "From 3 {} 12", "x {} 12", "It is positive {} 12", "It is:\n{} 12"):
        assert right(text.format(dash), "12")
        assert not right(text.format(dash), "-12")


APART = ["x = - 12", r"\boxed{- 12}", "negative 12", "-$12", "$-12"]
APART += ["The answer is – 12.", "So x equals − 12", "Answer: – 12", "#### – 12", "It is **– 12**"]
APART += ["f(3) ≈ — 12", "This is equal to $– 12$"]


@pytest.mark.parametrize("form", APART)
def test_a_minus_apart_in_words_or_beside_a_currency_counts(form: str) -> None:
    assert right(form, "-12")
    assert not right(form, "12")


THOUSANDS = (
    *(",", "{,}", r"\,", r"\;", r"\ ", r"{,}\!", "\u2009", "\u202f", "\u00a0", "_", "'", "’", " "),
    *(r"{\,}", "~"),
)


@pytest.mark.parametrize("mark", THOUSANDS)
def test_thousands_may_be_parted_in_all_usual_ways(mark: str) -> None:
    written = f"48{mark}600"
    assert right(f"\\boxed{{{written}}}", "48600")
    assert right(f"The total is {written}.", "48600")
    assert right("48600", written)
    assert not right(f"\\boxed{{{written}}}", "600")
    assert right(f"\\boxed{{2{mark}348{mark}600.25}}", "2348600.25")


@pytest.mark.parametrize("form", ["The total is {}", "Hence **₹{}**.", "#### {}", r"\boxed{{{}}}"])
@pytest.mark.parametrize("written", ["12,34,567", "1,00,000", "4,12,34,567.5"])
def test_lakhs_and_crores_are_one_number(form: str, written: str) -> None:
    assert right(form.format(written), written.replace(",", ""))
    assert not right(form.format(written), written.split(",")[-1])
    assert not right(form.format(written), written.split(",", 1)[1].replace(",", ""))


@pytest.mark.parametrize("listed", ["12, 34, 567", "(12,34,567)", "[12,34,567]", "12,34,567,8"])
def test_a_list_is_no_lakhs(listed: str) -> None:
    assert not right(f"They are {listed}", "1234567")
    assert not right(f"They are {listed}", "12345678")


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        (".25", "0.25"),
        ("-.25", "-0.25"),
        (r"\frac{18}{3}", "6"),
        (r"\dfrac{18}{3}", "6"),
        (r"\tfrac{-3}{4}", "-0.75"),
        (r"-\frac{3}{4}", "-3/4"),
        (r"\frac34", "0.75"),
        ("18/3", "6"),
        ("3⁄4", "0.75"),
        ("¾", "0.75"),
        (r"2\frac{3}{4}", "2.75"),
        (r"-2\frac34", "-2.75"),
        ("2 3/4", "2.75"),
        ("2¾", "11/4"),
        (r"4 \times 10^{3}", "4000"),
        (r"4.5\cdot 10^{-2}", "0.045"),
        ("4 × 10³", "4,000"),
        ("4e3", "4000"),
        ("4.5E-2", "0.045"),
        ("4*10^3", "4000"),
        ("10^6", "1000000"),
        ("2^{12}", "4096"),
        ("2**12", "4096"),
        ("(-2)^{3}", "-8"),
        ("-2^{2}", "-4"),
        ("2^{-2}", "0.25"),
        (r"0.\overline{6}", "2/3"),
        (r"0.1\overline{6}", "1/6"),
        ("1,50,000", "150000"),
        ("０４２", "42"),
        ("\U0001d7d2\U0001d7d0", "42"),
        ("٤٢", "42"),
        ("४२", "42"),
        ("۱۲٫۵", "12.5"),
        ("١٬٢٣٤", "1234"),
        ("−٤٢", "-42"),
    ],
)
def test_a_number_is_read_exactly_however_it_is_written(written: str, answer: str) -> None:
    assert right(f"\\boxed{{{written}}}", answer)
    assert right(f"\\boxed{{{answer}}}", written)
    assert right(f"\\boxed{{x = {written}}}", answer)
    assert not right(f"\\boxed{{{written}}}", "3")


@pytest.mark.parametrize(
    "written",
    [
        *(r"9 \text{ cm}^2", "9 cm^2", "9 cm²", "9 m2", r"9\,\mathrm{m}^{3}", r"9 \text{ m/s}^2"),
        *(r"9\%", "9%", "$9", r"\$9", "€9", "9 €", r"9^\circ", "9^{\\circ}", "9°"),
        *(r"9^{\text{th}}", "9 apples", r"\text{9 apples}", "**9**", "$9$", r"\(9\)"),
        *("9_{10}", r"x_1 = 9", r"f(2) = 9", r"\log_2 512 = 9"),
        *(r"\approx 9", r"3^2 = 9", r"\sqrt{81} = 9", r"4 + 5 = 9", "9.00"),
    ],
)
def test_units_currency_and_what_leads_to_it_are_no_part_of_a_number(written: str) -> None:
    assert right(f"So \\boxed{{{written}}}.", "9")
    assert right(f"So it is {written}", "9")


@pytest.mark.parametrize(
    "written",
    [
        *("9, 5", "9 or 5", r"9 \text{ and } 5", "9; 5", "9 to 5", "9-5", "9–5", "9:5"),
        *("9 + 5", r"9 \times 5", r"3\sqrt{5}", r"\sqrt{5}", "x^2 + 5", "5!", r"5\pi", r"\log 5"),
        *(r"\frac{x}{5}", r"\frac{9 \text{ cups}}{5}", "5x", "5^{1/2}", "3^{3^{5}}", "12/25/5"),
        *(r"\pm 5", r"9 \pm 5", r"2\frac{9}{5}", "x_5", "f(5)", "9_5", "5_{8}", "|5|", "|-5|"),
        *(r"\lfloor 5 \rfloor", r"9 \bmod 5", "a5"),
    ],
)
def test_a_box_of_more_than_one_number_is_not_its_last_one(written: str) -> None:
    assert not right(f"\\boxed{{{written}}}", "5")


@pytest.mark.parametrize("digits", ["٤٢", "۴۲", "४२", "৪২", "๔๒"])
def test_digits_of_other_scripts_are_read_in_a_sentence(digits: str) -> None:
    assert right(f"It is {digits}.", "42")
    assert right("It is 42.", digits)
    assert not right(f"It is {digits}.", "24")
    assert not right(f"It is 42, no, {digits[0]}.", "42")


def test_a_list_of_boxes_is_not_its_last_one_and_a_later_box_replaces_an_earlier() -> None:
    assert not right(r"\boxed{9}, \boxed{5}", "5")
    assert right(r"\boxed{9}. Wait, I forgot the four. So \boxed{5}", "5")


@pytest.mark.parametrize(
    ("text", "answer", "is_right"),
    [
        ("It is 48 + 24.\n#### 72", "72", True),
        ("It is 48 + 24.\n#### 72\nThat took 2 steps.", "72", True),
        ("It is 48 + 24.\n#### 72\nThat took 2 steps.", "2", False),
        ("#### $1,072", "1072", True),
        ("#### 70\nNo, 72.\n#### 72", "72", True),
        ("#### 1. Add\n48 and 24 are 72", "72", True),
        ("#### 1. Add\n48 and 24 are 72", "1", False),
        ("#### Step 2\nso 72", "72", True),
    ],
)
def test_what_follows_four_hashes_is_the_answer_but_a_heading_is_not(
    text: str, answer: str, is_right: bool
) -> None:
    assert right(text, answer) is is_right


@pytest.mark.parametrize("gold", ["5-9", "5 or 9", "1/0", "10^10^10", "9^99999", "NaN", "x"])
def test_a_gold_answer_without_one_value_leaves_ungraded(gold: str) -> None:
    assert grade("5", gold).grade is Grade.UNGRADED


@given(st.fractions(max_denominator=10**6), st.integers(0, 5))
def test_every_way_of_writing_one_value_is_that_value_and_no_other(
    value: Fraction, way: int
) -> None:
    top, bottom = value.numerator, value.denominator
    forms = (
        f"{top}/{bottom}",
        f"\\frac{{{top}}}{{{bottom}}}",
        f"{'-' if top < 0 else ''}\\dfrac{{{abs(top)}}}{{{bottom}}}",
        f"{top:,}/{bottom:,}",
        f"\\frac{{{top}}}{{{bottom}}} \\text{{ m}}^2",
        f"x = \\frac{{{top}}}{{{bottom}}}",
    )
    assert right(f"\\boxed{{{forms[way]}}}", f"{top}/{bottom}")
    assert not right(f"\\boxed{{{forms[way]}}}", f"{top + 1}/{bottom}")


@given(st.text(max_size=300), st.sampled_from(["7", "-1/3", "1,000"]))
def test_any_text_is_graded(text: str, answer: str) -> None:
    grade(text, answer)
    grade(f"\\boxed{{{text}}}", answer)


HOSTILE = {
    "fractions": r"\frac{1}" * 12_000,
    "powers": "2^" * 50_000,
    "powers in braces": "2^{" * 30_000,
    "a power of powers": r"\boxed{9^{9^{9^{9}}}}",
    "a large power": r"\boxed{9^{999999999}}",
    "a large exponent": r"\boxed{1e999999999}",
    "slashes": "1/" * 50_000,
    "groups": "1 234 " * 16_000,
    "vulgar fractions": "½" * 50_000,
    "hashes": "#### 7\n" * 14_000,
    "a box of numbers": r"\boxed{" + "1 " * 50_000 + "}",
    "other digits": "٤" * 50_000,
    "no digits": "ж" * 100_000,
    "thin spaces": "1\u2009" * 50_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_answer_costs_less_than_fifty_milliseconds(text: str) -> None:
    def cost_s() -> float:
        start = process_time()
        grade(text, "5")
        return process_time() - start

    assert min(cost_s() for _ in range(5)) < 0.05
