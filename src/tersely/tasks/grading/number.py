"""The last number of the answer (of its last ``\\boxed{}`` if there is one) must equal the gold
number exactly."""

import re
from fractions import Fraction

from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import answer_part, last_boxed

# At most 40 digits on either side: a longer run of digits is no answer and costs time. A sign
# counts only where it cannot be a minus between two numbers.
_NUMBER = re.compile(
    r"(?:(?<![\w).])[-+])?(?:\d{1,3}(?:,\d{3})+(?!\d)|(?<!\d)\d{1,40}(?!\d))(?:\.\d{1,40}(?!\d))?"
)


def _numbers(text: str) -> list[Fraction]:
    return [Fraction(found.replace(",", "")) for found in _NUMBER.findall(text)]


def grade(text: str, answer: str) -> Verdict:
    """CORRECT if the last number found equals the gold one; UNPARSED if there is none.

    A gold answer that holds no number, or more than one, cannot be graded: UNGRADED.
    """
    gold = _numbers(answer)
    if len(gold) != 1:
        return Verdict(grade=Grade.UNGRADED)
    part = answer_part(text)
    boxed = last_boxed(part) if part else None
    found = _numbers(boxed if boxed is not None else part or "")
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    return Verdict(
        grade=Grade.CORRECT if found[-1] == gold[0] else Grade.WRONG, extracted=str(found[-1])
    )
