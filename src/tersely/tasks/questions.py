"""Prompt and answer of one row, in each of the layouts in use."""

import json
import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from string import ascii_uppercase
from typing import Any, NamedTuple

from tersely.core.errors import DataError
from tersely.tasks.tables import Row, cell

_POWER = re.compile(r"\A([-+]?\d+(?:\.\d+)?)[eE]\+?(-?\d+)\Z")


class Question(NamedTuple):
    """What is asked, and the gold answer as its grader wants it."""

    prompt: str
    answer: str


class Layout(NamedTuple):
    """The columns that a row must have, and how a question is read from it.

    ``read`` gets the row and the problem's id.
    """

    columns: tuple[str, ...]
    read: Callable[[Row, str], Question]


def text_of(value: Any) -> str:
    """A cell as text: a chat's only user message, a number as it is written, several answers in a
    row; nothing for None.

    Raises:
        DataError: it is something else, or a chat of more than one message.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _only_message(value)
    if isinstance(value, list) and value:
        return ", ".join(map(text_of, value))
    raise DataError(f"{str(value)[:60]!r} is a {type(value).__name__}, not text or a number")


def _only_message(messages: Sequence[dict[str, Any]]) -> str:
    roles = [message.get("role") for message in messages]
    if roles != ["user"]:
        raise DataError(f"the prompt is a chat of {', '.join(map(str, roles))}; give one of user")
    return str(messages[0].get("content") or "")


def plain(prompt: str, answer: str) -> Layout:
    """Two columns, as they are."""
    return Layout(
        (prompt, answer),
        lambda row, _: Question(text_of(cell(row, prompt)), text_of(cell(row, answer)).strip()),
    )


def scientific(prompt: str, answer: str) -> Layout:
    """Minerva Math: ``4.5e33`` becomes ``4.5 \\times 10^{33}``, as a model writes it in a box; for
    math-verify the e would be Euler's number."""

    def read(row: Row, problem_id: str) -> Question:
        gold = text_of(row[answer]).strip()
        return Question(text_of(row[prompt]), _POWER.sub(r"\1 \\times 10^{\2}", gold))

    return Layout((prompt, answer), read)


def after_hashes(prompt: str, answer: str) -> Layout:
    """GSM8K: the answer stands after ``####`` at the end of its solution."""

    def read(row: Row, problem_id: str) -> Question:
        _, mark, last = text_of(row[answer]).rpartition("####")
        return Question(text_of(row[prompt]), last.strip().replace(",", "") if mark else "")

    return Layout((prompt, answer), read)


def verl() -> Layout:
    """verl's rows, whose prompts are chats that end in their instruction already."""
    return plain("prompt", "reward_model.ground_truth")


def _gpqa(row: Row, problem_id: str) -> Question:
    right = text_of(row["Correct Answer"]).strip()
    wrong = [text_of(row[f"Incorrect Answer {n}"]).strip() for n in (1, 2, 3)]
    options = [right, *wrong]
    # The same order in every version of Python and numpy, whatever is loaded beside it.
    order = sorted(
        range(len(options)),
        key=lambda n: blake2b(f"{problem_id}/{n}".encode(), digest_size=8).digest(),
    )
    lines = [f"{letter}) {options[n]}" for letter, n in zip(ascii_uppercase, order, strict=False)]
    return Question(
        "\n".join([text_of(row["Question"]).strip(), "", *lines]), ascii_uppercase[order.index(0)]
    )


GPQA = Layout(
    ("Question", "Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3))),
    _gpqa,
)

_STDIN = (
    "Solve it with a Python program that reads its input from standard input and writes its output "
    "to standard output. Put the whole program in one ```python block at the end."
)
_STARTER = (
    "Solve it in Python by completing the code below. Put the whole of the completed code in one "
    "```python block at the end.\n\n```python\n{code}\n```"
)


def _livecodebench(row: Row, problem_id: str) -> Question:
    code = text_of(row["starter_code"])
    task = _STARTER.format(code=code.rstrip()) if code.strip() else _STDIN
    tests = {key: row[key] for key in ("public_test_cases", "private_test_cases", "metadata")}
    return Question(f"{text_of(row['question_content']).strip()}\n\n{task}", json.dumps(tests))


LIVECODEBENCH = Layout(
    (
        *("question_id", "question_content", "starter_code", "contest_date", "difficulty"),
        *("public_test_cases", "private_test_cases", "metadata"),
    ),
    _livecodebench,
)


def _ifeval(row: Row, problem_id: str) -> Question:
    # Parquet fills the arguments that an instruction does not have with nulls.
    settings = [
        {key: value for key, value in (given or {}).items() if value is not None}
        for given in row["kwargs"]
    ]
    answer = {"instruction_id_list": row["instruction_id_list"], "kwargs": settings}
    return Question(text_of(row["prompt"]), json.dumps(answer))


IFEVAL = Layout(("key", "prompt", "instruction_id_list", "kwargs"), _ifeval)
