"""What reasoning-gym's own score function for the task says; right is a full score.

The gold answer is JSON: the task's name and the entry that it drew, as a Python literal. Looked at
is the last ``\\boxed{}`` outside the thinking, else all of the answer.
"""

import ast
from importlib.util import find_spec
from typing import Any

from tersely.core.extras import missing
from tersely.core.parsing import parse_json
from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import answer_part, last_boxed

if find_spec("reasoning_gym") is None:
    raise missing("reasoning_gym", what="grader gym")

# Scores are sums of parts: the last bits may be missing.
FULL_SCORE = 1 - 1e-9


def quick(text: str, answer: str) -> Verdict | str:
    """The answer in its box; score functions may run long."""
    part = answer_part(text)
    boxed = last_boxed(part) if part else None
    found = part if boxed is None else boxed
    return f"\\boxed{{{found}}}" if found else Verdict(grade=Grade.UNPARSED)


def grade(text: str, answer: str) -> Verdict:
    """The verdict of the score function, without a limit of time: for a worker process."""
    found = text[len("\\boxed{") : -1]
    score = _score(found, parse_json(answer))
    return Verdict(
        grade=Grade.CORRECT if score >= FULL_SCORE else Grade.WRONG, extracted=found, score=score
    )


def gold_problem(answer: str) -> str | None:
    """What is wrong with a gold answer: it is not of this form, or its own task does not score it
    as full. Some tasks have many right answers and name none: theirs is only read."""
    try:
        drawn = parse_json(answer)
        gold = _entry(drawn)["answer"]
        score = FULL_SCORE if gold is None else _score(str(gold), drawn)
    except (ValueError, LookupError, TypeError, SyntaxError, RecursionError) as error:
        return f"no entry of a reasoning-gym task: {error}"
    return None if score >= FULL_SCORE else f"its own task scores its answer {score:g}"


def prepare() -> None:
    """Imports reasoning-gym, which takes seconds."""
    import reasoning_gym  # noqa: F401


def _score(found: str, drawn: dict[str, Any]) -> float:
    from reasoning_gym.factory import get_score_answer_fn

    return float(get_score_answer_fn(drawn["task"])(found, _entry(drawn)))


def _entry(drawn: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = ast.literal_eval(drawn["entry"])
    return entry
