"""The letter of a multiple choice must be the gold one.

The letter is looked for in the last ``\\boxed{}``; without a box, after the last "answer:" or
"answer is"; without that, the whole answer has to be a letter.
"""

import re

from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import answer_part, last_boxed

_DECORATION = r"(?:\\(?:text|textbf|mathrm|mathbf)\s*+\{|[\s*$_])*+(?i:(?:option|choice)\b\s*+)?"
# A letter in brackets or alone, the text of its choice may follow: "(b)", "B", "B) 42", "B: red".
# Without a mark behind it a small letter may be the first word of a sentence.
_LETTER = r"(?:\(([A-Za-z])\)|([A-Za-z])(?=[).:,}*$\\]|\s*\Z)|([A-Z])(?=\s*\n|\s+[-–]))"
_GIVEN = re.compile(_DECORATION + _LETTER)
_STATED = re.compile(
    r"(?i:\banswer)[\s*_]*+(?::|(?i:is)\b\s*+:?)"
    + _DECORATION
    + r"(?:\(([A-Za-z])\)|([A-Z])(?![\w'])(?! [a-z]))"
)


def _letter(text: str) -> str | None:
    match = _GIVEN.match(text.strip())
    return match[match.lastindex or 0].upper() if match else None


def _find(part: str) -> str | None:
    boxed = last_boxed(part)
    if boxed is not None:
        return _letter(boxed)
    stated = list(_STATED.finditer(part))
    if stated:
        return stated[-1][stated[-1].lastindex or 0].upper()
    alone = part.strip("()*$. \n")
    return alone.upper() if len(alone) == 1 and alone.isascii() and alone.isalpha() else None


def grade(text: str, answer: str) -> Verdict:
    """CORRECT if the letter found is the gold one; UNPARSED if none is found.

    A gold answer that is not one letter, alone or in brackets, cannot be graded: UNGRADED.
    """
    gold = answer.strip().strip("()")
    if not (len(gold) == 1 and gold.isascii() and gold.isalpha()):
        return Verdict(grade=Grade.UNGRADED)
    part = answer_part(text)
    found = _find(part) if part else None
    if found is None:
        return Verdict(grade=Grade.UNPARSED)
    same = found == gold.upper()
    return Verdict(grade=Grade.CORRECT if same else Grade.WRONG, extracted=found)
