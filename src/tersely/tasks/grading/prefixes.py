"""Grading the beginning of a completion: at a budget, and where a right answer first stands."""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

from tersely.core.types import Grade, Problem
from tersely.tasks import grading
from tersely.tasks.grading.answer import all_boxed

# Possessive: a long run of white space is passed once.
_STATED = re.compile(
    r"(?:answer|result)\s*+(?:is|:|=)[\s*]*+(\d{1,3}(?:,\d{3})++(?:\.\d+)?|[^\s.,;*]+(?:\.\d+)?)",
    re.IGNORECASE,
)
# A value that the thinking stops at, before it starts over or ends.
_RECONSIDERED = re.compile(
    r"=\s*+([^\s=]+?)[\s.,;]*+(?=(?<!\w)(?:wait|hmm|let me check|alternatively)\b|</think>)",
    re.IGNORECASE,
)


def answered_budgets(
    pieces: Sequence[str], *, budgets: Sequence[int], is_right: Callable[[str], bool]
) -> tuple[int, ...]:
    """The budgets, in tokens, whose prefix is right; cut on token boundaries.

    Args:
        pieces: decoded text of each token, in order.
        is_right: whether a text grades correct.
    """
    return tuple(budget for budget in budgets if is_right("".join(pieces[:budget])))


def first_correct_tokens(problem: Problem, pieces: Sequence[str]) -> int | None:
    """Tokens until a correct answer first stands at an answer marker; None if at none.

    Markers: a closed ``\\boxed{}``, "answer is", and ``= value`` right before the thinking
    starts over ("wait", "hmm", ...) or ends; thinking included. What stands there is graded by
    the problem's grader as if boxed. A heuristic that needs no language model as judge: an
    answer that is reached but not marked is not seen.
    """
    text = "".join(pieces)
    ends_T = np.fromiter(accumulate(map(len, pieces)), dtype=np.int64, count=len(pieces))
    verdicts: dict[str, bool] = {}
    stated = [
        (m.end(1), m.group(1)) for m in (*_STATED.finditer(text), *_RECONSIDERED.finditer(text))
    ]
    found = sorted([*((b.end, text[b.begin : b.end].strip()) for b in all_boxed(text)), *stated])
    for end, candidate in found:
        if candidate not in verdicts:
            verdict = grading.grade(problem, f"\\boxed{{{candidate}}}")
            verdicts[candidate] = verdict.grade is Grade.CORRECT
        if verdicts[candidate]:
            return int(np.searchsorted(ends_T, end)) + 1
    return None
