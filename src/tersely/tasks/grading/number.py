"""The number that is the answer must equal the gold number exactly.

It is looked for in the last ``\\boxed{}``; without a box, after the last ``####`` with a number
behind it; without that, it is the last number of the answer. How numbers may be written is in
``quantities``. A box holds one number: a list, a range, a sum or a root in it is wrong.
"""

import re
from fractions import Fraction

from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import after_hashes, answer_part, last_boxed
from tersely.tasks.grading.quantities import last_number, numbers, only_number

# Not a heading of Markdown: "#### 1. First step".
_BARE = re.compile(r"[\s*$(+\\−–-]*(?:\\[dt]?frac|[€£¥₹.]?\d)(?!\d*[.):]\s+\S)")
_SHOWN_CHARS = 200


def grade(text: str, answer: str) -> Verdict:
    """CORRECT if the number found equals the gold one; UNPARSED if there is none.

    A gold answer that holds no number, or more than one, cannot be graded: UNGRADED.
    """
    gold = only_number(answer) if numbers(answer) == 1 else None
    if gold is None:
        return Verdict(grade=Grade.UNGRADED)
    part = answer_part(text) or ""
    boxed = last_boxed(part)
    found = only_number(boxed) if boxed is not None else _without_box(part)
    if found is not None:
        return Verdict(grade=Grade.CORRECT if found == gold else Grade.WRONG, extracted=str(found))
    if boxed is not None and numbers(boxed):
        return Verdict(grade=Grade.WRONG, extracted=boxed[:_SHOWN_CHARS])
    return Verdict(grade=Grade.UNPARSED)


def _without_box(part: str) -> Fraction | None:
    for line in after_hashes(part):
        if _BARE.match(line) and numbers(line) == 1 and (stated := only_number(line)) is not None:
            return stated
    return last_number(part)
