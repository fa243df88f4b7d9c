"""Answer pairs of known truth: what a pair is, and sympy's word on whether two values are equal."""

import random
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import sympy

# A value: an expression of sympy, a word, or a tuple of values (their order counts); sets, intervals
# and matrices are sympy's.
Value = Any
_POINTS = (sympy.Rational(7, 10), sympy.Rational(13, 10), sympy.Rational(29, 10))


class Question(NamedTuple):
    """A gold answer and its value, with answers and theirs.

    Attributes:
        form: the kind of answer, a row of the table.
        gold: as a data set writes it.
        value: what it is.
        answers: what may stand in a box, each with its value.
    """

    form: str
    gold: str
    value: Value
    answers: list[tuple[str, Value]]


class Pair(NamedTuple):
    """A gold answer, a reply with a box, and whether the reply is right."""

    form: str
    gold: str
    reply: str
    right: bool


def equal(one: Value, other: Value) -> bool | None:
    """Whether two values are equal; None where that is not sure."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other if isinstance(one, str) and isinstance(other, str) else False
    if isinstance(one, tuple) or isinstance(other, tuple):
        if not (isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other)):
            return False
        found = [equal(a, b) for a, b in zip(one, other, strict=True)]
        return False if False in found else None if None in found else True
    if isinstance(one, sympy.MatrixBase) or isinstance(other, sympy.MatrixBase):
        return bool(one == other)
    if isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr):
        return _same_expression(one, other)
    if isinstance(one, sympy.Expr) or isinstance(other, sympy.Expr):
        return False
    return bool(one == other)


def _same_expression(one: sympy.Expr, other: sympy.Expr) -> bool | None:
    if one == other:
        return True
    if one.is_Rational and other.is_Rational:
        return False
    if one in (sympy.oo, -sympy.oo) or other in (sympy.oo, -sympy.oo):
        return False
    names = sorted(one.free_symbols | other.free_symbols, key=str)
    for point in _POINTS:
        at = {name: point + sympy.Rational(place, 7) for place, name in enumerate(names)}
        a, b = (sympy.N(side.subs(at), 40) for side in (one, other))
        if abs(a - b) > 1e-6 * (abs(a) + abs(b)):
            return False
    return True if sympy.simplify(one - other) == 0 else None


def pairs(questions: Iterable[Question], rng: random.Random) -> Iterator[Pair]:
    """Each answer in a sentence; those of which the truth is not sure, or said twice, left out."""
    seen = set()
    for form, gold, value, answers in questions:
        for answer, its in answers:
            right = equal(value, its)
            if right is None or (gold, answer) in seen:
                continue
            seen.add((gold, answer))
            yield Pair(form, gold, said(answer, rng), right)


def said(answer: str, rng: random.Random) -> str:
    """A last sentence with the answer in a box."""
    return rng.choice(
        (
            f"So the answer is $\\boxed{{{answer}}}$.",
            f"Therefore, the final answer is \\(\\boxed{{{answer}}}\\).",
            f"This gives\n\\[\n\\boxed{{{answer}}}\n\\]",
            f"**Final answer**\n\n\\boxed{{{answer}}}",
        )
    )
