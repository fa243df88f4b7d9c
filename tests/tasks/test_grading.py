from time import process_time

import numpy as np
import pytest

from tersely.core.errors import ConfigError
from tersely.core.types import Finish, Grade, Problem, Rollout, Verdict
from tersely.lab.problems import Split, draw_problems
from tersely.tasks import grading
from tersely.tasks.grading import exact, number
from tersely.tasks.grading.answer import answer_part, last_boxed


def a_rollout(text: str) -> Rollout:
    return Rollout(
        problem_id="a",
        sample=0,
        prompt_ids=(1,),
        completion_ids=(2, 3),
        logprobs=np.zeros(2),
        entropy=0.0,
        finish=Finish.STOP,
        policy_step=0,
        text=text,
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("7", "7"),
        ("  7\n", "7"),
        ("<think>6</think> 7 ", "7"),
        ("6</think>7", "7"),  # the chat template may have opened the thinking
        ("<think>5</think>6<think>hm</think>7", "7"),
        ("<think>5</think>", ""),
        ("<think>7", None),
        ("<think>5</think>6<think>or 7", None),
        ("", ""),
    ],
)
def test_the_answer_is_what_follows_closed_thinking(text: str, part: str | None) -> None:
    assert answer_part(text) == part


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{7}", "7"),
        (r"so \boxed{ 7 }.", "7"),
        (r"\boxed{6} no, \boxed{7}", "7"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{a{b{c}}d} e}", "a{b{c}}d"),
        (r"\boxed{outer \boxed{inner}}", "inner"),
        (r"{set} \boxed{7}", "7"),
        (r"} \boxed{7}", "7"),
        (r"\boxed{7} and then \boxed{8", "7"),
        (r"\boxed{7 \boxed{8} 9", "8"),
        (r"\boxed{}", ""),
        ("\\boxed {7}", "7"),
        (r"\boxed{7", None),
        (r"\boxed{{7}", None),
        (r"\boxed 7", "7"),
        (r"so $\boxed 72$.", "72"),
        (r"\boxed7.", "7"),
        (r"\boxed\frac{1}{2} it is", r"\frac{1}{2}"),
        (r"\boxed\text{no way}", r"\text{no way}"),
        (r"\(\boxed -3\)", "-3"),
        (r"\boxed B", "B"),
        (r"\boxed{7} in \boxed form", "7"),
        (r"\fbox{7} or \framebox {8}", "7, 8"),
        (r"\boxed{6} no, \fbox{7}", "7"),
        # Escaped braces are text: they close and open nothing.
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{6} so \boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{6} so \boxed{\left. x \right\}}", r"\left. x \right\}"),
        (r"\boxed{a \\{b}}", r"a \\{b}"),
        ("7", None),
        ("", None),
    ],
)
def test_the_last_box_that_closes_counts(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


def naive_last_boxed(text: str) -> str | None:
    """From each box, the last first, count braces until they balance; quadratic."""
    for start in reversed(range(len(text))):
        if text.startswith(r"\boxed{", start):
            depth = 0
            for place in range(start, len(text)):
                depth += {"{": 1, "}": -1}.get(text[place], 0)
                if text[place] == "}" and depth == 0:
                    return text[start + len(r"\boxed{") : place].strip()
    return None


def test_boxes_are_found_as_by_counting_braces_from_each_of_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        text = "".join(rng.choice([r"\boxed{", "{", "}", "a", "7 "], size=rng.integers(1, 12)))
        assert last_boxed(text) == naive_last_boxed(text), text


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("badc", Grade.CORRECT),
        (" BADC\n", Grade.CORRECT),
        ("<think>abcd</think>badc", Grade.CORRECT),
        (r"It is \boxed{badc}, not abcd.", Grade.CORRECT),
        (r"<think>\boxed{abcd}</think>badc", Grade.CORRECT),
        (r"<think>\boxed{badc}</think>abcd", Grade.WRONG),
        ("bad c", Grade.WRONG),
        ("the answer is badc", Grade.WRONG),
        (r"\boxed{abcd}", Grade.WRONG),
        ("<think>badc", Grade.UNPARSED),
        ("<think>badc</think>", Grade.UNPARSED),
        (r"<think>badc</think>\boxed{}", Grade.UNPARSED),
        ("", Grade.UNPARSED),
    ],
)
def test_exact_compares_the_whole_answer_or_its_box(text: str, grade: Grade) -> None:
    assert exact.grade(text, "badc").grade is grade


def test_exact_forgives_case_and_white_space_only() -> None:
    assert exact.grade("New \n york", "new York").grade is Grade.CORRECT
    assert exact.grade("Newyork", "New York").grade is Grade.WRONG


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("7", "7"),
        ("3 + 4 is 7.", "7"),
        ("007", "7"),
        ("7.0", "7"),
        ("7.", "7"),
        ("+7", "7"),
        ("-7", "-7"),
        ("x = -7", "-7"),
        ("(-7)", "-7"),
        ("4-7=-3", "-3"),
        ("4-7", "7"),  # a minus between two numbers is no sign
        ("4 - 7", "7"),
        ("a-7", "7"),
        ("1,234", "1234"),
        ("$1,234,567.50", "1234567.5"),
        ("1234567", "1,234,567"),
        ("1, 2, 3", "3"),
        ("1,2,3", "3"),
        ("1234,567", "567"),  # no thousands separator: the first group is too long
        ("0.50", "0.5"),
        ("1.2.3", "3"),
        ("<think>8</think>7", "7"),
        (r"7 \boxed{6} no \boxed{7} since 3+4", "7"),
        (r"\boxed{7\text{ apples}}", "7"),
        ("9" * 40, "9" * 40),
    ],
)
def test_the_last_number_equals_the_gold_one(text: str, answer: str) -> None:
    assert number.grade(text, answer).grade is Grade.CORRECT


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("8", "7"),
        ("-7", "7"),
        ("7 or 8", "7"),
        ("77", "7"),
        ("7.5", "7"),
        ("7.0001", "7"),
        ("1,234", "234"),
        ("3/4", "3"),
        (r"<think>\boxed{7}</think>8", "7"),
        (r"\boxed{8} = 7", "7"),
        ("0.3333", "0.33333"),
    ],
)
def test_another_number_is_wrong(text: str, answer: str) -> None:
    assert number.grade(text, answer).grade is Grade.WRONG


@pytest.mark.parametrize(
    "text",
    [
        "",
        "seven",
        r"7 \boxed{}",
        r"7 \boxed{x}",
        "<think>7",
        "<think>7</think>",
        "<think>6</think>hm <think>7",
        "9" * 41,
        "7." + "0" * 41,  # neither 7 nor its endless decimals is read
        "1" * 41 + "," + "1" * 41,
    ],
)
def test_no_number_is_unparsed(text: str) -> None:
    assert number.grade(text, "7") == Verdict(grade=Grade.UNPARSED)


@pytest.mark.parametrize("gold", ["", "seven", "3/0", "7 or 8", "9" * 41])
def test_a_gold_answer_that_is_not_one_number_leaves_ungraded(gold: str) -> None:
    assert number.grade("7", gold) == Verdict(grade=Grade.UNGRADED)


def test_the_number_found_is_shown() -> None:
    assert number.grade("so 1,234.50", "3").extracted == "2469/2"
    assert exact.grade(r"so \boxed{bd}", "ab").extracted == "bd"


HOSTILE = {
    "digits": "1" * 1_000_000,
    "digits behind a point": "1." + "1" * 1_000_000,
    "a number of many groups": "1" + ",111" * 25_000,
    "points": "1." * 50_000,
    "minus signs": "-" * 100_000,
    "boxes that never close": r"\boxed{" * 15_000,
    "a brace tower": r"\boxed{" + "{" * 50_000 + "}" * 50_000,
    "a closed brace tower": r"\boxed{" + "{" * 50_000 + "7" + "}" * 50_001,
    "closing braces": "}" * 100_000,
    "thinking that never closes": "<think>" * 20_000,
    "thinking that only closes": "</think>" * 20_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("grade", [exact.grade, number.grade], ids=["exact", "number"])
def test_hostile_text_costs_less_than_a_tenth_of_a_second(grade: grading.Grader, text: str) -> None:
    def cost_s() -> float:
        start = process_time()
        grade(text, "7")
        return process_time() - start

    # The least of ten: other processes on the machine slow down some of them.
    assert any(cost_s() < 0.1 for _ in range(10))


def gold_problems() -> list[Problem]:
    sums = [
        Problem(id=answer, prompt="?", answer=answer, source="sums", grader="number")
        for answer in ("0", "7", "-7", "1,234", "0.25", "1234567")
    ]
    return sums + draw_problems(per_family=16, seed=0, split=Split.TEST)


@pytest.mark.parametrize("form", ["{}", " {}\n", "<think>hm 1</think>{}", r"I say \boxed{{{}}}."])
def test_each_gold_answer_is_correct_and_a_perturbed_one_wrong(form: str) -> None:
    for problem in gold_problems():
        right = a_rollout(form.format(problem.answer))
        wrong = a_rollout(form.format(problem.answer + "1"))
        assert grading.grade(problem, right.text).grade is Grade.CORRECT, problem
        assert grading.grade(problem, wrong.text).grade is Grade.WRONG, problem


@pytest.mark.parametrize("name", ["exakt", "answer", ""])
def test_an_unknown_grader_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no grader '{name}'; .*choose one of .*exact, .*number"):
        grading.load(name)
