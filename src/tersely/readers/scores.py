"""The meaning of another tool's scores and stop reasons; unclear values are refused."""

import math
from collections.abc import Iterable, Mapping, Sequence

from tersely.core.errors import DataError
from tersely.core.finishes import FINISHES, find_finish
from tersely.core.types import Finish, Grade
from tersely.readers.values import as_list, whole

MOST_TOKENS = 10**9
GRADES = {
    **dict.fromkeys(("c", "correct", "right", "true", "yes", "pass", "passed"), Grade.CORRECT),
    **dict.fromkeys(("i", "incorrect", "wrong", "false", "no", "fail", "failed"), Grade.WRONG),
    **dict.fromkeys(("n", "ungraded", "nan", "none", "null", ""), Grade.UNGRADED),
    "unparsed": Grade.UNPARSED,
}


def grade_of(score: object, *, place: str, fix: str) -> Grade:
    """CORRECT for 1, True, "C"; WRONG for 0, False, "I"; UNGRADED for none, NaN, "N".

    A verdict that stands alone in a list, as ``[True]`` or ``[[1]]``, is the verdict.

    Raises:
        DataError: any other value, such as a shaped reward.
    """
    grade = _grade(score)
    if grade is None:
        raise DataError(f"{place}: score {score!r:.80} is neither right (1) nor wrong (0); {fix}")
    return grade


def is_verdict(score: object) -> bool:
    """Whether the score is a verdict, or none at all; see ``grade_of``."""
    return _grade(score) is not None


def is_right(score: object) -> bool:
    """Whether the score is a verdict of right."""
    return _grade(score) is Grade.CORRECT


def is_wrong(score: object) -> bool:
    """Whether the score is a verdict of wrong."""
    return _grade(score) is Grade.WRONG


def name_verdicts(columns: Mapping[str, Sequence[object]]) -> str:
    """How to name the verdict in another of these columns, or that none of them holds any."""
    if names := verdict_names(columns):
        return f"name the verdict with --column correct=NAME, one of {', '.join(names)}"
    return "no other column holds verdicts: write one of 0 and 1, --column correct=NAME"


def verdict_names(columns: Mapping[str, Sequence[object]]) -> list[str]:
    """The columns that hold verdicts and nothing else."""
    return [
        name
        for name, scores in columns.items()
        if {_grade(score) for score in scores} - {Grade.UNGRADED} <= {*Grade}
        and any(_grade(score) is not Grade.UNGRADED for score in scores)
    ]


def are_signs(scores: Iterable[object]) -> bool:
    """Whether the scores are 1 and -1, both of them and nothing else: right and wrong."""
    return {whole(score) for score in scores if score is not None} == {1, -1}


def _grade(score: object) -> Grade | None:
    verdict = score
    while len(inner := as_list(verdict)) == 1:
        verdict = inner[0]
    if verdict is None or (isinstance(verdict, float) and math.isnan(verdict)):
        return Grade.UNGRADED
    if isinstance(verdict, str | bool) and (word := str(verdict).strip().lower()) in GRADES:
        return GRADES[word]
    number = whole(verdict)
    return {1: Grade.CORRECT, 0: Grade.WRONG}.get(-1 if number is None else number)


def finish_of(reason: object, *, place: str) -> Finish | None:
    """Why a sample ended; None if the file does not say.

    Raises:
        DataError: a reason that we do not know.
    """
    if reason is None or reason in ("", "unknown"):
        return None
    finish = find_finish(reason)
    if finish is None:
        raise DataError(
            f"{place}: finish reason {reason!r:.80} is not known; known are {', '.join(FINISHES)}; "
            "write one of these, or leave its column out: then samples that reach their cap count "
            "as cut"
        )
    return finish


def whole_tokens(count: object, *, place: str) -> int:
    """A count of tokens, as a whole number that is not negative and at most ``MOST_TOKENS``.

    Raises:
        DataError: anything else.
    """
    tokens = whole(count)
    if tokens is None or not 0 <= tokens <= MOST_TOKENS:
        raise DataError(
            f"{place}: {count!r:.80} is no count of tokens (0 to {MOST_TOKENS:,}); correct "
            f"the file or leave the column out and give --tokenizer"
        )
    return tokens


def count_of(value: object, *, field: str, place: str) -> int | None:
    """A count of turns or of tools' tokens; None if the file does not say.

    Raises:
        DataError: no whole number from 0 to ``MOST_TOKENS``.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    count = whole(value)
    if count is None or not 0 <= count <= MOST_TOKENS:
        raise DataError(
            f"{place}: {field} is {value!r:.80}, which is no whole number from 0 to "
            f"{MOST_TOKENS:,}; correct it or leave it out"
        )
    return count


def cap_of(value: object, *, place: str) -> int | None:
    """The sampled cap in tokens; None if the file does not say.

    Raises:
        DataError: no whole number from 1 to ``MOST_TOKENS``.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    cap = whole(value)
    if cap is None or not 1 <= cap <= MOST_TOKENS:
        raise DataError(
            f"{place}: {value!r:.80} is no cap: a whole number of tokens above 0 (at most "
            f"{MOST_TOKENS:,}); correct it or leave it out"
        )
    return cap
