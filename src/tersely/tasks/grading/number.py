"""The last number of the answer (of its last ``\\boxed{}`` if there is one) must equal the gold
number exactly."""

import re
from fractions import Fraction

from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import answer_part, last_boxed

# At most about 40 digits on either side of the point: a longer run of digits is no answer and
# costs time. A sign counts only where it cannot be a minus between two numbers.
_NUMBER = re.compile(
    r"(?<!\d)(?:(?<![\w).])[-+])?"
    r"(?:\d{1,3}(?:,\d{3}){1,13}+(?!,?\d)|\d{1,40}+(?!\d))"
    r"(?:\.\d{1,40}+(?!\d)|(?!\.\d))"
)


def _value(found: str) -> Fraction:
    return Fraction(found.replace(",", ""))


def grade(text: str, answer: str) -> Verdict:
    """CORRECT if the last number found equals the gold one; UNPARSED if there is none.

    A gold answer that holds no number, or more than one, cannot be graded: UNGRADED.
    """
    gold = _NUMBER.findall(answer)
    if len(gold) != 1:
        return Verdict(grade=Grade.UNGRADED)
    part = answer_part(text)
    boxed = last_boxed(part) if part else None
    found = _NUMBER.findall(boxed if boxed is not None else part or "")
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    last = _value(found[-1])
    return Verdict(
        grade=Grade.CORRECT if last == _value(gold[0]) else Grade.WRONG, extracted=str(last)
    )
