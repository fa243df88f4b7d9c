"""A prompt that ends inside the thinking: what the completion's text then holds."""

import pytest

from tersely.core.types import Grade, Problem
from tersely.tasks.grading import grade, number
from tersely.tasks.grading.answer import answer_part, has_thought, opened, opens_thinking

ASKED = "What is 3 + 4?"


@pytest.mark.parametrize(
    "tail",
    [
        "<|im_start|>assistant\n<think>\n",
        "<|Assistant|><think>",
        "<assistant><think>  \n\n",
        "<|im_start|>assistant\n<think>\nOkay, ",  # the template begins the thinking itself
        "<think>\n\n</think>\n\n<think>",
    ],
)
@pytest.mark.parametrize("asked", [ASKED, f"  {ASKED}\n", "write </think> and 3 + 4"])
def test_a_prompt_that_ends_in_an_open_mark_opens_the_thinking(tail: str, asked: str) -> None:
    assert opens_thinking(f"<|user|>{asked}<|end|>{tail}", asked=asked)


@pytest.mark.parametrize(
    "tail",
    ["<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n\n</think>\n\n", "", "</think>"],
)
@pytest.mark.parametrize("asked", [ASKED, "Put your thoughts after <think>. 3 + 4?"])
def test_a_prompt_without_an_open_mark_at_its_end_does_not(tail: str, asked: str) -> None:
    assert not opens_thinking(f"<|user|>{asked}<|end|>{tail}", asked=asked)


@pytest.mark.parametrize("text", ["7", r"so \boxed{7}", "3 + 4 = 7", ""])
def test_nothing_is_an_answer_before_open_thinking_closes(text: str) -> None:
    assert answer_part(opened(text, thinking_open=True)) is None
    assert number.grade(opened(text, thinking_open=True), "7").grade is Grade.UNPARSED


@pytest.mark.parametrize("grader", ["exact", "number", "math", "ordered", "choice"])
@pytest.mark.parametrize("text", [r"\boxed{A}", "The answer is A", r"A. \boxed{A}. Done."])
def test_no_grader_pays_an_answer_before_open_thinking_closes(grader: str, text: str) -> None:
    gold = "A" if grader in ("exact", "choice") else "7"
    text = text.replace("A", gold)
    problem = Problem(id="p", prompt=ASKED, answer=gold, source="s", grader=grader)
    assert grade(problem, opened(text, thinking_open=True)).grade is not Grade.CORRECT
    closed = opened(f"so</think>{text}", thinking_open=True)
    assert grade(problem, closed) == grade(problem, text)


def test_what_follows_the_closed_thinking_is_the_answer_however_it_was_opened() -> None:
    for begun in ("5 no 6", "<think>5", ""):
        for thinking_open in (True, False):
            text = opened(f"{begun}</think> 7", thinking_open=thinking_open)
            assert answer_part(text) == "7"


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("3 + 4</think>7", True),
        ("3 + 4", True),
        (r"\boxed{7}", True),
        (" \n</think>7", False),
        ("", False),
        ("<think>\n</think>7", False),
    ],
)
def test_open_thinking_is_what_stands_before_its_end(text: str, thought: bool) -> None:
    assert has_thought(opened(text, thinking_open=True)) is thought
