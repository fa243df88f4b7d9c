"""The study's problems: three tasks of reasoning-gym, each asked after two worked examples.

SmolLM2-135M reasons in steps where it has seen how. A problem is a chat: two problems of its task
with answers that are worked in steps and checked again, then its own question. Without the examples
the model answers in a word, and wrongly (docs/real-models.md has the figures).
"""

import json
import operator
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import reasoning_gym

EXAMPLES_SEED, SEED = 99, 0
TRAIN, HELD_OUT = 120, 24
TRAIN_FILE, TEST_FILE = "study-train.jsonl", "study-test.jsonl"
Line = dict[str, object]
Message = dict[str, str]
SIGNS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
THREE_TERMS = {"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 1}


class Task(NamedTuple):
    """A task of reasoning-gym with its generator's bounds, and whether it is trained on."""

    name: str
    settings: dict[str, object]
    trained: bool


TASKS = (
    Task(
        "basic_arithmetic",
        {**THREE_TERMS, "operators": ["+"], "allow_parentheses": False, "allow_negation": False},
        trained=True,
    ),
    Task("products", THREE_TERMS, trained=True),
    # Two terms: with three, and minus among their signs, it is right in one of 25 samples.
    Task("chain_sum", {**THREE_TERMS, "min_terms": 2, "max_terms": 2}, trained=False),
)


def work(question: str) -> str:
    """An answer in steps from left to right, checked by the same steps."""
    first, *others = re.findall(r"[-+*]|\d+", question)
    total, steps = int(first), []
    for sign, term in zip(others[::2], others[1::2], strict=True):
        result = SIGNS[sign](total, int(term))
        steps.append(f"{total} {sign} {term} = {result}")
        total = result
    worked = ". Then ".join(steps)
    return (
        f"Let us go step by step. {worked}. Let me check that again. {worked}. "
        f"Yes, the answer is {total}."
    )


def draw(task: Task, *, count: int) -> list[Line]:
    """Distinct problems of a task, one JSON object each."""
    shown = reasoning_gym.create_dataset(task.name, seed=EXAMPLES_SEED, size=2, **task.settings)
    examples: list[Message] = []
    for entry in shown:
        question = entry["question"].strip()
        examples.append({"role": "user", "content": question})
        examples.append({"role": "assistant", "content": work(question)})
    drawn = reasoning_gym.create_dataset(task.name, seed=SEED, size=20 * count, **task.settings)
    answers = {entry["question"].strip(): entry["answer"] for entry in drawn}
    for example in examples:
        answers.pop(example["content"], None)
    return [
        {
            "id": f"{task.name}/{number}",
            "prompt": [*examples, {"role": "user", "content": question}],
            "answer": answer,
            "source": task.name,
            "grader": "number",
        }
        for number, (question, answer) in enumerate(list(answers.items())[:count])
    ]


def write_study(folder: Path) -> None:
    """Writes the study's training and test problems, which share none."""
    drawn = [draw(task, count=HELD_OUT + TRAIN * task.trained) for task in TASKS]
    # Task by turns, so that the first of them are of all tasks.
    test = [line for lines in zip(*(d[:HELD_OUT] for d in drawn), strict=True) for line in lines]
    trained = [d[HELD_OUT:] for d in drawn if len(d) > HELD_OUT]
    train = [line for lines in zip(*trained, strict=True) for line in lines]
    for name, lines in ((TRAIN_FILE, train), (TEST_FILE, test)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{folder / name}: {len(lines)} problems", file=sys.stderr)
