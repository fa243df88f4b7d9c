"""The last ``\\boxed{}`` outside the thinking must be mathematically equal to the gold answer.

Plain answers are compared as they are written (``plain_math``); others are read as LaTeX by
latex2sympy2-extended, math-verify's parser, and compared by value (``math_answers``). What cannot
be read is equal only to the same text. Python's ``**`` is read as a power.
An answer that stands in no box is looked for only in ``<answer>…</answer>``.
"""

import logging
import re
from importlib.util import find_spec

from tersely.core.extras import missing
from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import boxed_or_tagged
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
# A choice with its letter, ``\\textbf{(C)}\\ 5``; what begins like one and goes on otherwise.
_STYLE = r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf)|mbox|bf|rm)\s*\{\s*"
_GAP = r"(?:\\[ ,;:!]|~|\s|\\q?quad(?![a-zA-Z]))"
_CHOICE = re.compile(
    rf"(?:{_STYLE}\(?(?P<styled>[A-J])[).]{_GAP}*\}}{_GAP}*|\({_STYLE}(?P<inner>[A-J])\}}\){_GAP}*"
    rf"|{_STYLE}\(?(?P<whole>[A-J])[).]{_GAP}+(?=[^{{}}]+\}}\Z)|\((?P<round>[A-J])\){_GAP}+"
    rf"|(?P<bare>[A-J])[).]{_GAP}+)(?P<value>\S.*)",
    re.DOTALL,
)
_LETTER = re.compile(rf"(?:{_STYLE})?\(?([A-J])[).]*\}}?[).]*")
_GOES_ON = re.compile(
    rf"\A(?:[+*/^_=,;:&|<>)\]}}]|-(?![\d.\\(])|(?:{_STYLE})?(?:and|or|not)\b)"
    r"|\A(?:is|are|was|were|isn't|cannot|does|must)\b"
    r"|\A\\(?!(?:[dtc]?frac|d?binom|sqrt|text|math|mbox|overline|left|displaystyle|pi|infty|log|ln"
    r"|sin|cos|tan|angle|triangle|emptyset|varnothing)|[ ,;:!${(\[])"
    rf"|(?:\A|[,;&]|\b(?:and|or)\b)[\s}}]*(?:{_STYLE})?\(?[A-J](?![A-Za-z=])"
    r"|(?<![A-Za-z\\])\(?[A-J][).](?![A-Za-z\d])"
)
# Powers of powers of powers have no value that fits a memory.
_TOWER = re.compile(r"(?:(?:\*\*|\^)[\s{(]*+\d++[\s)}]*+){3}")


def quick(text: str, answer: str) -> Verdict | str:
    """The verdict on a plain answer, otherwise the answer in its box."""
    found = boxed_or_tagged(text)
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    found = _asked(found, answer)
    equal = same(answer, found)
    if equal is not None:
        return Verdict(grade=Grade.CORRECT if equal else Grade.WRONG, extracted=found)
    if _is_hopeless(found) or _is_hopeless(answer):
        return Verdict(grade=Grade.UNGRADED, extracted=found[:200])
    return f"\\boxed{{{found}}}"


def _asked(found: str, answer: str) -> str:
    """Of a choice with its letter what the gold answer has: the letter or the value; the whole of
    any other answer, or where the gold one has both."""
    choice = _CHOICE.fullmatch(found)
    if choice is None or _CHOICE.fullmatch(answer.strip()):
        return found
    letter = next(text for text in choice.groups() if text)
    value = choice["value"][:-1] if choice["whole"] else choice["value"]
    if _GOES_ON.search(value):
        return found
    return letter if _LETTER.fullmatch(answer.strip()) else value


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
    found = boxed_or_tagged(text)
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    found = _asked(found, answer)
    if not answer.strip():
        return Verdict(grade=Grade.UNGRADED, extracted=found)
    equal = same(answer, found)
    if equal is None:
        equal = compare(answer, found)
    if equal is None:
        return Verdict(grade=Grade.UNPARSED, extracted=found)
    return Verdict(grade=Grade.CORRECT if equal else Grade.WRONG, extracted=found)
