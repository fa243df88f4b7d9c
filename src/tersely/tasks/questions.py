"""Prompt and answer of one row, in each of the layouts in use."""

import json
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from hashlib import blake2b
from string import ascii_uppercase
from typing import Any, NamedTuple

from tersely.core.errors import DataError
from tersely.tasks.grading.answer import last_boxed
from tersely.tasks.tables import TableRow, cell

# Numbers of other sizes are written as a power of ten.
_LEAST_POWER, _MOST_POWER = -12, 25
_ROLES = {"system", "user", "assistant"}
_GROUPED = re.compile(r"[-$]{0,2}\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_POWER = re.compile(r"\A([-+]?\d+(?:\.\d+)?)[eE]\+?(-?\d+)\Z")


class Question(NamedTuple):
    """What is asked, and the gold answer as its grader wants it."""

    prompt: str
    answer: str


class QuestionLayout(NamedTuple):
    """The columns that a row must have, and how a question is read from it.

    ``read`` gets the row and the problem's id.
    """

    columns: tuple[str, ...]
    read: Callable[[TableRow, str], Question]


def text_of(value: Any) -> str:
    """A cell as text: the user's message of a chat that has no other, a number in digits (72.0 is
    ``72``), several answers in a row; nothing for None.

    Raises:
        DataError: it is something else, a number that is not finite, or a chat of more than one
            message.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _digits(value)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _only_message(value)
    if isinstance(value, list) and value:
        return ", ".join(map(text_of, value))
    raise DataError(f"{str(value)[:60]!r} is a {type(value).__name__}, not text or a number")


def _digits(number: int | float | Decimal) -> str:
    """As a model would write it: no ``.0`` that a file format put there, no ``1e-05``."""
    if not math.isfinite(number):
        raise DataError(f"{number} is no finite number; correct it or leave the row out")
    if isinstance(number, int):
        return str(number)
    exact = Decimal(repr(number)) if isinstance(number, float) else number
    if not exact:
        return "0"
    if not _LEAST_POWER <= exact.adjusted() < _MOST_POWER:
        places = format(exact.normalize().scaleb(-exact.adjusted()), "f")
        return f"{places} \\times 10^{{{exact.adjusted()}}}"
    written = format(exact, "f")
    return written.rstrip("0").rstrip(".") if "." in written else written


def split_chat(messages: Sequence[dict[str, Any]]) -> tuple[list[dict[str, str]], str]:
    """The messages before the last one, and the last one's text, which is the question.

    Raises:
        DataError: a role is none that chat templates know, the last is not the user's, or a content
            is no text.
    """
    roles = [str(message.get("role")) for message in messages]
    if roles[-1] != "user" or not set(roles) <= _ROLES:
        raise DataError(
            f"the prompt is a chat of {', '.join(roles)}; its roles must be of "
            f"{', '.join(sorted(_ROLES))}, and the last one user"
        )
    texts = list(map(_content, messages))
    said = [{"role": r, "content": t} for r, t in zip(roles[:-1], texts[:-1], strict=True)]
    return said, texts[-1]


def _only_message(messages: Sequence[dict[str, Any]]) -> str:
    earlier, question = split_chat(messages)
    if earlier:
        raise DataError("a chat of several messages stands where one text is needed; give text")
    return question


def _content(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list):
        raise DataError(f"the prompt's content is a {type(content).__name__}; give text")
    return "\n".join(map(_text_part, parts))


def _text_part(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    if kind not in (None, "text", "input_text") or not isinstance(part.get("text"), str):
        raise DataError(f"the prompt holds a part of type {kind}; only text can be asked")
    return str(part["text"])


def final_answer(solution: str) -> str:
    """The answer at the end of a worked solution, after ``####`` on its last line (GSM8K) or in
    its last box (MATH); any other text as it is."""
    _, mark, last = solution.rpartition("####")
    if mark and last.strip() and "\n" not in last.strip():
        return _without_commas(last.strip())
    boxed = last_boxed(solution)
    return boxed if boxed else solution


def _without_commas(number: str) -> str:
    return number.replace(",", "") if _GROUPED.fullmatch(number) else number


def plain(prompt: str, answer: str) -> QuestionLayout:
    """Two columns, as they are."""
    return QuestionLayout(
        (prompt, answer),
        lambda row, _: Question(text_of(cell(row, prompt)), text_of(cell(row, answer)).strip()),
    )


def scientific(prompt: str, answer: str) -> QuestionLayout:
    """Minerva Math: ``4.5e33`` becomes ``4.5 \\times 10^{33}``, as a model writes it in a box; for
    math-verify the e would be Euler's number."""

    def read(row: TableRow, problem_id: str) -> Question:
        gold = text_of(row[answer]).strip()
        return Question(text_of(row[prompt]), _POWER.sub(r"\1 \\times 10^{\2}", gold))

    return QuestionLayout((prompt, answer), read)


def after_hashes(prompt: str, answer: str) -> QuestionLayout:
    """GSM8K: the answer stands after ``####`` at the end of its solution."""

    def read(row: TableRow, problem_id: str) -> Question:
        _, mark, last = text_of(row[answer]).rpartition("####")
        return Question(text_of(row[prompt]), last.strip().replace(",", "") if mark else "")

    return QuestionLayout((prompt, answer), read)


def verl() -> QuestionLayout:
    """verl's rows, whose prompts are chats that end in their instruction already."""
    return plain("prompt", "reward_model.ground_truth")


def _gpqa(row: TableRow, problem_id: str) -> Question:
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


GPQA = QuestionLayout(
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


def _livecodebench(row: TableRow, problem_id: str) -> Question:
    code = text_of(row["starter_code"])
    task = _STARTER.format(code=code.rstrip()) if code.strip() else _STDIN
    tests = {key: row[key] for key in ("public_test_cases", "private_test_cases", "metadata")}
    return Question(f"{text_of(row['question_content']).strip()}\n\n{task}", json.dumps(tests))


LIVECODEBENCH = QuestionLayout(
    (
        *("question_id", "question_content", "starter_code", "contest_date", "difficulty"),
        *("public_test_cases", "private_test_cases", "metadata"),
    ),
    _livecodebench,
)


def _ifeval(row: TableRow, problem_id: str) -> Question:
    # Parquet fills the arguments that an instruction does not have with nulls.
    settings = [
        {key: value for key, value in (given or {}).items() if value is not None}
        for given in row["kwargs"]
    ]
    answer = {"instruction_id_list": row["instruction_id_list"], "kwargs": settings}
    return Question(text_of(row["prompt"]), json.dumps(answer))


IFEVAL = QuestionLayout(("key", "prompt", "instruction_id_list", "kwargs"), _ifeval)
