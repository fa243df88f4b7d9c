"""The answer must equal the gold answer but for case and white space.

It is what the last ``\\boxed{}`` holds; without a box, what stands after the last ``####``;
without that, all of the answer. A ``\\text{}`` or marks of maths (``$``, ``\\(``) around it mean
nothing, a whole number may be written as ``7.0`` or ``7.00`` or with another dash as its sign, and
a letter with an accent as one sign or two.
"""

import re
import unicodedata

from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import after_hashes, answer_part, last_boxed

_DRESSED = re.compile(
    r"\\(?:text|textbf|mathrm|mathbf)\s?\{([^{}]*)\}|\$\$?([^$]+)\$\$?"
    r"|\\\(((?:[^\\]|\\[^()])+)\\\)|\\\[((?:[^\\]|\\[^\[\]])+)\\\]"
)
_WHOLE = re.compile(r"([-−–]?)(\d+)(?:\.0+)?")


def grade(text: str, answer: str) -> Verdict:
    """CORRECT if the final answer is the gold one; UNPARSED if there is none."""
    part = answer_part(text)
    boxed = last_boxed(part) if part else None
    found = _last_line(part or "") if boxed is None else boxed
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    same = _normal(found) == _normal(answer)
    return Verdict(grade=Grade.CORRECT if same else Grade.WRONG, extracted=found)


def _last_line(part: str) -> str:
    """What follows the last ``####``, without Markdown's stars; the whole where there is none."""
    stated = after_hashes(part)
    return stated[0].strip("* ") if stated else part


def _normal(text: str) -> str:
    text = unicodedata.normalize("NFC", " ".join(text.split())).casefold()
    while dressed := _DRESSED.fullmatch(text):
        text = "".join(filter(None, dressed.groups())).strip()
    if whole := _WHOLE.fullmatch(text):
        return ("-" if whole[1] else "") + whole[2]
    return text
