"""What a foreign score and stop reason mean; whatever is not a verdict is refused, not rounded."""

import math

from tersely.core.errors import DataError
from tersely.core.types import Finish, Grade

GRADES = {
    **dict.fromkeys(("c", "correct", "true", "1", "1.0"), Grade.CORRECT),
    **dict.fromkeys(("i", "incorrect", "wrong", "false", "0", "0.0"), Grade.WRONG),
    **dict.fromkeys(("n", "ungraded", "nan", ""), Grade.UNGRADED),
    "unparsed": Grade.UNPARSED,
}
FINISHES = {
    **dict.fromkeys(
        ("stop", "eos", "end_turn", "completed", "finished", "tool_calls"), Finish.STOP
    ),
    **dict.fromkeys(("length", "max_tokens", "model_length", "truncated"), Finish.LENGTH),
    **dict.fromkeys(
        ("error", "abort", "aborted", "failed", "pending", "content_filter"), Finish.ERROR
    ),
}


def grade_of(score: object, *, place: str, fix: str) -> Grade:
    """CORRECT for 1, True, "C"; WRONG for 0, False, "I"; UNGRADED for none, NaN, "N".

    Raises:
        DataError: any other value, such as a shaped reward.
    """
    if score is None or (isinstance(score, float) and math.isnan(score)):
        return Grade.UNGRADED
    if isinstance(score, bool | int | float) and score in (0, 1):
        return Grade.CORRECT if score else Grade.WRONG
    if isinstance(score, str) and score.strip().lower() in GRADES:
        return GRADES[score.strip().lower()]
    raise DataError(f"{place}: score {score!r} is neither right (1) nor wrong (0); {fix}")


def finish_of(reason: object, *, place: str) -> Finish | None:
    """Why a sample ended; None if the file does not say.

    Raises:
        DataError: a reason that we do not know.
    """
    if reason is None or reason in ("", "unknown"):
        return None
    if isinstance(reason, str) and reason.lower() in FINISHES:
        return FINISHES[reason.lower()]
    raise DataError(
        f"{place}: finish reason {reason!r} is not known; known are {', '.join(FINISHES)}"
    )


def whole_tokens(count: object, *, place: str) -> int:
    """A count of tokens, as a whole number that is not negative.

    Raises:
        DataError: anything else.
    """
    if isinstance(count, str) and count.isdecimal():
        count = int(count)  # verl writes numpy's numbers as text
    if isinstance(count, bool) or not isinstance(count, int | float) or not _is_count(count):
        raise DataError(
            f"{place}: {count!r} is no count of tokens; correct the file or leave the column out "
            f"and give --tokenizer"
        )
    return int(count)


def _is_count(count: int | float) -> bool:
    return math.isfinite(count) and count >= 0 and count == int(count)
