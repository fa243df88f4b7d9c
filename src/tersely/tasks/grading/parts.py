"""The parts of a completion's length: its thinking, and what follows the first right answer."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from tersely.core import usage
from tersely.core.types import Grade, Problem
from tersely.tasks.grading.answer import END_THINK, THINK
from tersely.tasks.grading.prefixes import first_correct_tokens


class LengthParts(NamedTuple):
    """Where the parts of a completion end, in tokens from its beginning.

    Args:
        thinking_tokens: as ``thinking_tokens`` counts them.
        answer_tokens: until a right answer first stands; None if the completion is not right.
    """

    thinking_tokens: int
    answer_tokens: int | None


def thinking_tokens(pieces: Sequence[str], *, thinking_open: bool) -> int:
    """Tokens up to the end of the last thinking, the token that its ``</think>`` ends in included.

    0 for a completion without thinking, and all tokens if its last thinking never ends.

    Args:
        pieces: decoded text of each token, in order.
        thinking_open: the prompt ended inside the thinking.
    """
    text = "".join(pieces)
    before, closed, after = text.rpartition(END_THINK)
    if THINK in after or (thinking_open and not closed):
        return len(pieces)
    if not closed:
        return 0
    end = len(before) + len(END_THINK)
    return next(n for n, reached in enumerate(accumulate(map(len, pieces)), 1) if reached >= end)


def told_thinking(
    text: str,
    *,
    tokens: int,
    reasoning: int | None = None,
    thinking_open: bool = False,
    count: Callable[[str], int] | None = None,
) -> int | None:
    """``thinking_tokens`` of a completion whose tokens are not at hand; None if it cannot be told.

    Args:
        text: thinking and reply, in their marks.
        tokens: of the whole completion.
        reasoning: those of the thinking, as whoever sampled it says.
        count: counts the tokens of a text with the model's tokenizer.
    """
    before, closed, reply = text.rpartition(END_THINK)
    if THINK in reply or (thinking_open and not closed):
        return tokens
    thinking, own = before + closed, None
    # Without marks, thinking may have been kept back: unless the text is all there is.
    if count is not None and (closed or not usage.is_too_small_for(count(text), tokens=tokens)):
        own = count(thinking) if closed else 0
    said = thinking.replace(THINK, " ").replace(END_THINK, " ")
    return usage.thinking_tokens(
        reasoning,
        tokens=tokens,
        least=usage.least_tokens(said),
        least_reply=usage.least_tokens(reply),
        own=own,
    )


def answer_tokens(
    problem: Problem, pieces: Sequence[str], grade: Grade, *, tokens: int
) -> int | None:
    """Tokens until a right answer first stands in a right completion: all of them where nothing
    marks it; None if the completion is not right.

    Args:
        grade: of the whole completion.
        tokens: of the whole completion.
    """
    if grade is not Grade.CORRECT:
        return None
    found = first_correct_tokens(problem, pieces)
    return tokens if found is None else min(found, tokens)


def length_parts(
    problem: Problem, pieces: Sequence[str], grade: Grade, *, thinking_open: bool
) -> LengthParts:
    """The parts of one graded completion; see ``thinking_tokens`` and ``answer_tokens``."""
    return LengthParts(
        thinking_tokens(pieces, thinking_open=thinking_open),
        answer_tokens(problem, pieces, grade, tokens=len(pieces)),
    )
