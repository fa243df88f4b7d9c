"""The last ``\\boxed{}`` outside the thinking must be mathematically equal to the gold answer.

Equal is what math-verify takes for equal as LaTeX; plain answers are compared without it, to the
same end. Python's ``**`` is read as a power.
An answer that stands in no box is not looked for.
"""

import logging
import re
from importlib.util import find_spec
from itertools import product
from typing import Any

from tersely.core.errors import ConfigError
from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import answer_part, last_boxed
from tersely.tasks.plain_math import same

if find_spec("math_verify") is None:
    raise ConfigError("grader math needs math-verify; pip install 'tersely[grade]'")

# No answer is that long or that deep; its parser goes down several calls a brace, and swallows the
# error when there is no room left for them.
MOST_CHARS = 10_000
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
    if _is_hopeless(found):
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
    """Imports math-verify and sympy and has them build their tables."""
    # It logs each answer that it cannot read.
    logging.disable(logging.CRITICAL)
    grade(r"\boxed{\frac{x}{2} + 1}", r"\{1, \sqrt{2}\}")
    grade(r"\boxed{x(x + 2)}", "x^2 + 2x")
    grade(r"\boxed{2\sqrt{2}}", r"\frac{\pi}{2}")


def grade(text: str, answer: str) -> Verdict:
    """math-verify's verdict on the last box, without a limit of time: for a worker process.

    UNPARSED if it can make no expression of the answer but can of the gold one; UNGRADED if it
    can make nothing of the gold one.
    """
    part = answer_part(text)
    found = last_boxed(part) if part else None
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    gold, given = _read(answer), _read(found)
    if not gold:
        return Verdict(grade=Grade.UNGRADED, extracted=found)
    differ = "%" not in answer + found and _differ(gold[0], given[0] if given else None)
    if not differ and any(_equal(a, b) for a, b in product(gold, given)):
        return Verdict(grade=Grade.CORRECT, extracted=found)
    unread = all(isinstance(b, str) for b in given) and not all(isinstance(a, str) for a in gold)
    return Verdict(grade=Grade.UNPARSED if unread else Grade.WRONG, extracted=found)


def _read(answer: str) -> list[Any]:
    """Expressions, or the text itself; a limit that is hit is an error, not an unreadable text.

    As LaTeX only: what math-verify cannot read so, it otherwise takes any number of the text for,
    and a power written ``x**2`` is such a text.
    """
    from math_verify import LatexExtractionConfig, parse

    read: list[Any] = parse(
        f"\\boxed{{{answer.replace('**', '^')}}}",
        extraction_config=[LatexExtractionConfig()],
        parsing_timeout=None,
    )
    return read


def _differ(gold: Any, given: Any) -> bool:
    """Whether two expressions of the same symbols have clearly different values at some point.

    Simplifying, by which math-verify tells that two expressions differ, takes a hundred times as
    long.
    """
    from sympy import Expr, Float, Rational

    if not (isinstance(gold, Expr) and isinstance(given, Expr)):
        return False
    symbols = gold.free_symbols
    if symbols != given.free_symbols or not (symbols or gold.has(Float) is given.has(Float)):
        return False
    point = {s: Rational(31 + 7 * n, 23) for n, s in enumerate(sorted(symbols, key=str))}
    values = [expression.subs(point).evalf(15) for expression in (gold, given)]
    if not all(value.is_Number or (value.is_number and value.is_finite) for value in values):
        return False
    one, other = (complex(value) for value in values)
    return abs(one - other) > 1e-4 * max(1.0, abs(one), abs(other))


def _equal(gold: Any, given: Any) -> bool:
    from math_verify import verify

    return bool(verify(gold, given, timeout_seconds=None))
