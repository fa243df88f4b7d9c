"""The last ``\\boxed{}`` outside the thinking must be mathematically equal to the gold answer.

Plain answers are compared as they are written (``plain_math``); others are read as LaTeX by
latex2sympy2-extended, math-verify's parser, and compared by value (``math_answers``). What cannot
be read is equal only to the same text. Python's ``**`` is read as a power.
An answer that stands in no box is not looked for.
"""

import logging
import re
from importlib.util import find_spec

from tersely.core.extras import missing
from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import answer_part, last_boxed
from tersely.tasks.grading.math_answers import compare
from tersely.tasks.grading.plain_math import same

if find_spec("latex2sympy2_extended") is None:
    raise missing("math_verify", what="grader math")

# No answer is that long or that deep; its parser goes down several calls a brace, and swallows the
# error when there is no room left for them.
MOST_CHARS = 2_000
MOST_DEPTH = 25
_BRACE = re.compile(r"[{}()\[\]]")
# Halves of characters, and what stands for bytes that are no text.
_DAMAGED = re.compile("[\ud800-\udfff\ufffd]")
# Powers of powers of powers have no value that fits a memory.
_TOWER = re.compile(r"(?:(?:\*\*|\^)[\s{(]*+\d++[\s)}]*+){3}")


def quick(text: str, answer: str) -> Verdict | str:
    """The verdict on a plain answer, otherwise the answer in its box."""
    part = answer_part(text)
    found = last_boxed(part) if part else None
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    equal = same(answer, found)
    if equal is not None:
        return Verdict(grade=Grade.CORRECT if equal else Grade.WRONG, extracted=found)
    if _is_hopeless(found) or _is_hopeless(answer):
        return Verdict(grade=Grade.UNGRADED, extracted=found[:200])
    return f"\\boxed{{{found}}}"


def _is_hopeless(found: str) -> bool:
    if len(found) > MOST_CHARS or _depth(found) > MOST_DEPTH:
        return True
    return bool(_TOWER.search(found) or _DAMAGED.search(found))


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _BRACE.finditer(text):
        depth += 1 if match[0] in "{([" else -1
        deepest = max(deepest, depth)
    return deepest


def prepare() -> None:
    """Imports sympy and the parser and has them build their tables."""
    # It logs each answer that it cannot read.
    logging.disable(logging.CRITICAL)
    grade(r"\boxed{\frac{x}{2} + 1}", r"\{1, \sqrt{2}\}")
    grade(r"\boxed{x(x + 2)}", "x^2 + 2x")
    grade(r"\boxed{2\sqrt{2}}", r"\frac{\pi}{2}")
    grade(r"\boxed{(-\infty, 1) \cup (2, 3]}", r"x < 1")


def grade(text: str, answer: str) -> Verdict:
    """The verdict on the last box, without a limit of time: for a worker process.

    UNPARSED if no expression can be made of the answer but can of the gold one; UNGRADED if the
    gold one is empty.
    """
    part = answer_part(text)
    found = last_boxed(part) if part else None
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    if not answer.strip():
        return Verdict(grade=Grade.UNGRADED, extracted=found)
    equal = same(answer, found)
    if equal is None:
        equal = compare(answer, found)
    if equal is None:
        return Verdict(grade=Grade.UNPARSED, extracted=found)
    return Verdict(grade=Grade.CORRECT if equal else Grade.WRONG, extracted=found)
