"""The answer, or what is in its last ``\\boxed{}``, must equal the gold answer but for case and
white space."""

from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import answer_part, last_boxed


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def grade(text: str, answer: str) -> Verdict:
    """CORRECT if the final answer is the gold one; UNPARSED if there is none."""
    part = answer_part(text)
    boxed = last_boxed(part) if part else None
    found = part if boxed is None else boxed
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    same = _normal(found) == _normal(answer)
    return Verdict(grade=Grade.CORRECT if same else Grade.WRONG, extracted=found)
