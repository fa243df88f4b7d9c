"""Replies of known truth, in the words of models: ``replies.jsonl``, a reply a line."""

import json
from pathlib import Path
from time import process_time

import pytest

from tersely.core.types import Grade, Problem
from tersely.tasks import grading

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent / "replies.jsonl").read_text(encoding="utf-8").split("\n")
    if line
]


def is_right(grader: str, gold: str, reply: str) -> bool:
    problem = Problem(id="a", prompt="?", answer=gold, source="s", grader=grader)
    return grading.grade(problem, reply).grade is Grade.CORRECT


def _case(row: dict[str, str]) -> object:
    # What is not met is a false verdict that is known; strict: a mended one has to be unmarked.
    marks = [pytest.mark.xfail(strict=True, reason="known")] if row.get("not_met") else []
    return pytest.param(row, id=f"{row['grader']}-{row['gold']}-{row['reply'][:40]!r}", marks=marks)


@pytest.mark.parametrize("row", [_case(row) for row in ROWS])
def test_a_reply_is_right_exactly_where_its_answer_is(row: dict[str, str]) -> None:
    assert is_right(row["grader"], row["gold"], row["reply"]) is row["right"]


HACKS = {
    "number": [
        ", ".join(map(str, range(1, 20))).join(["\\boxed{", "}"]),
        r"\boxed{7 \text{ or } 8}",
        r"\boxed{7|8}",
        r"\boxed{6 = 7}",
        r"\boxed{7}</think>\boxed{8}",
        "7</think>7</think>8",
        "\\boxed{7\u200b8}",
    ],
    "choice": [
        r"\boxed{A, B, C, D}",
        r"\boxed{A or B}",
        r"\boxed{A}, \boxed{B}",
        "Answer: A|B|C|D",
        "A\nB\nC\nD\nAnswer: A or maybe B",
        r"\boxed{A}</think>\boxed{B}",
        "A</think>A</think>",
        "Answer: \u0410",
        "\\boxed{A\u200bB}",
    ],
}


@pytest.mark.parametrize(("grader", "text"), [(g, t) for g, texts in HACKS.items() for t in texts])
def test_a_reply_that_states_several_answers_is_not_paid(grader: str, text: str) -> None:
    assert not is_right(grader, {"number": "7", "choice": "A"}[grader], text)


LONG = [
    "The answer is A and B. " * 4_500,
    "{" * 100_000,
    "\\boxed{" * 14_000,
    "\\boxed{" + "9" * 5_000 + "}",
    "\\boxed{" + "{" * 50_000 + "7" + "}" * 50_000 + "}",
    "1,234 " * 16_000,
    "7 = " * 25_000,
    "3 million " * 10_000,
    "A | " * 25_000,
    "none of the above " * 5_500,
    "\\frac{1}{2}" * 9_000,
]


@pytest.mark.parametrize("grader", ["number", "choice", "exact", "ordered"])
@pytest.mark.parametrize("at", range(len(LONG)))
def test_a_long_reply_is_graded_within_the_time_that_a_step_has(grader: str, at: int) -> None:
    gold = {"number": "7", "choice": "A", "exact": "7", "ordered": "7, 8"}[grader]
    is_right(grader, gold, "7")
    spent = []
    for _ in range(3):
        begun = process_time()
        is_right(grader, gold, LONG[at])
        spent.append(process_time() - begun)
    assert min(spent) < 0.05
