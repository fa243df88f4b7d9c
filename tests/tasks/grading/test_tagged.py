"""The answer in ``<answer>…</answer>``, as R1-Zero's prompt and its followers ask for it."""

from time import process_time

import pytest

from tersely.core.types import Grade, Problem
from tersely.tasks import grading
from tersely.tasks.grading import code
from tersely.tasks.grading.answer import answer_part

GOLDS = {"choice": "B", "exact": "Paris", "number": "7", "math": "7", "ordered": "3, 5"}
OTHERS = {"choice": "C", "exact": "Rome", "number": "3", "math": "3", "ordered": "5, 3"}


def verdict(grader: str, text: str, gold: str | None = None) -> Grade:
    answer = GOLDS[grader] if gold is None else gold
    problem = Problem(id="p", prompt="?", answer=answer, source="s", grader=grader)
    return grading.grade(problem, text).grade


FORMS = [
    "<think>x</think><answer>{}</answer>",
    "<think>\nx\n</think>\n\n<answer>\n{}\n</answer>\n",
    "<answer> {} </answer>",
    "<ANSWER>{}</ANSWER>",
    "<think>x</think> I get this: <answer>{}</answer> (in 4 steps)",
    "At first <answer>zzz</answer>, but <answer>{}</answer>",
    r"<answer>\boxed{{{}}}</answer>",
    r"<answer>As is seen, it is $\boxed{{{}}}$.</answer>",
    r"\boxed{{9}} would be too much. <answer>{}</answer>",
    "```python\nprint('<answer>A, 1</answer>')\n```\n<answer>{}</answer>",
]


@pytest.mark.parametrize("grader", GOLDS)
@pytest.mark.parametrize("form", FORMS)
def test_what_the_last_tag_holds_is_the_answer_for_every_grader(grader: str, form: str) -> None:
    assert verdict(grader, form.format(GOLDS[grader])) is Grade.CORRECT
    assert verdict(grader, form.format(OTHERS[grader])) is Grade.WRONG


@pytest.mark.parametrize("grader", GOLDS)
@pytest.mark.parametrize(
    "form",
    [
        "<think><answer>{}</answer></think>",
        "<think>x <answer>{}</answer>",
        "{} <answer></answer>",
        r"\boxed{{{}}} <answer> </answer>",
        "<answer>{}</answer> no: <answer>zzz</answer>",
        r"<answer>{}</answer> Wait, it is \boxed{{zzz}}.",
    ],
)
def test_no_other_tag_is_paid(grader: str, form: str) -> None:
    assert verdict(grader, form.format(GOLDS[grader])) is not Grade.CORRECT


@pytest.mark.parametrize("grader", GOLDS)
def test_a_box_behind_the_tag_is_the_later_answer(grader: str) -> None:
    text = f"<answer>{OTHERS[grader]}</answer> Wait, it is \\boxed{{{GOLDS[grader]}}}."
    assert verdict(grader, text) is Grade.CORRECT


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("<answer>7", "<answer>7"),
        ("7</answer>", "7</answer>"),
        ("6 <answer>7</answer> and <answer>8", "7"),
        ("<answer>6<answer>7</answer></answer>", "7"),
        ("```\n<answer>7</answer>\n```", "```\n<answer>7</answer>\n```"),
        ("<answer>\n```python\nx = 7\n```\n</answer>", "```python\nx = 7\n```"),
    ],
)
def test_only_a_tag_that_closes_outside_of_code_is_one(text: str, part: str) -> None:
    assert answer_part(text) == part


def test_for_maths_a_whole_solution_in_a_tag_needs_a_box() -> None:
    for answer in ("It is so.\nHence 7", "The sum of the three and the four. " * 9 + "7"):
        assert verdict("math", f"<answer>{answer}</answer>") is Grade.UNPARSED
        assert verdict("math", f"<answer>{answer} \\boxed{{7}}</answer>") is Grade.CORRECT


@pytest.mark.parametrize("form", ["The answer is {}", "The answer is <b>{}</b>", "({})", "[[{}]]"])
def test_a_letter_in_a_tag_may_be_dressed(form: str) -> None:
    for text in (f"<answer> {form} </answer>", form):
        assert verdict("choice", text.format("B")) is Grade.CORRECT
        assert verdict("choice", text.format("C")) is Grade.WRONG
    assert verdict("choice", "The answer is not <b>B</b>") is not Grade.CORRECT
    assert verdict("choice", "[[B]] or [[C]]") is not Grade.CORRECT


HOSTILE = {
    "openings": "<answer>" * 14_000,
    "closings": "</answer>" * 12_000,
    "tags": "<answer>A</answer>" * 6_000,
    "fences": "```<answer>" * 9_000,
    "angles": "<answer>" + "<" * 100_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_tags_cost_less_than_fifty_milliseconds(text: str) -> None:
    def cost_s() -> float:
        start = process_time()
        answer_part(text)
        return process_time() - start

    assert min(cost_s() for _ in range(3)) < 0.05


def test_programs_and_instructions_are_of_the_whole_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(code.sandbox, "find", lambda: None)
    program = "```python\nprint(7)\n```"
    for text in (f"{program}\n<answer>done</answer>", f"<answer>\n{program}\n</answer>"):
        assert code.quick(f"<think>x</think>{text}", "unused") == "print(7)"
    gold = '{"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["outside"]}]}'
    assert verdict("instructions", "outside <answer>held</answer>", gold) is Grade.CORRECT
