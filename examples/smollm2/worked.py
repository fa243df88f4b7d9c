"""The study's problems: three tasks of reasoning-gym, each asked after two worked examples.

SmolLM2-135M reasons in steps where it has seen how. A problem is a chat: two problems of its task
with worked answers, one of them brief and one that is checked again, then its own question. Without
the examples the model answers in a word, and wrongly (docs/real-models.md has the figures).
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import reasoning_gym

EXAMPLES_SEED, SEED = 99, 0
Line = dict[str, object]


class Worked(NamedTuple):
    """A task: its generator's bounds, and what writes a worked answer, checked again or not."""

    settings: dict[str, object]
    answer: Callable[[str, bool], str]


def numbers(question: str) -> list[int]:
    """All whole numbers of a question."""
    return [int(digits) for digits in re.findall(r"\d+", question)]


def add_up(terms: list[int]) -> Iterator[str]:
    """One addition after the other."""
    total = terms[0]
    for term in terms[1:]:
        yield f"{total} + {term} = {total + term}"
        total += term


def draw(task: str, worked: Worked, *, count: int) -> list[Line]:
    """Distinct problems of a task, one JSON object each."""
    shown = reasoning_gym.create_dataset(task, seed=EXAMPLES_SEED, size=2, **worked.settings)
    examples: list[Line] = []
    for entry, checked in zip(shown, (True, False), strict=True):
        question = entry["question"].strip()
        examples += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": worked.answer(question, checked)},
        ]
    taken = {example["content"] for example in examples}
    drawn = reasoning_gym.create_dataset(task, seed=SEED, size=40 * count, **worked.settings)
    lines: list[Line] = []
    for entry in drawn:
        question = entry["question"].strip()
        if question not in taken and len(lines) < count:
            taken.add(question)
            lines.append(
                {
                    "id": f"{task}/{len(lines)}",
                    "prompt": [*examples, {"role": "user", "content": question}],
                    "answer": entry["answer"],
                    "source": task,
                    "grader": "number",
                }
            )
    return lines


def write(folder: Path, name: str, lines: list[Line]) -> None:
    """One problem a line."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / name).write_text(text, encoding="utf-8")
    print(f"{folder / name}: {len(lines)} problems", file=sys.stderr)
