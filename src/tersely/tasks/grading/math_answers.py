r"""Maths answers as lists, equations and expressions, and when two are equal.

- A list is its items: in any order without brackets or in ``\{\}``, in the order written in ``()``
  and ``[]``. Without brackets it may be that of a tuple: "1, 2" for (1, 2). Of two items, ``()`` is
  a pair and an open interval alike; the other brackets have to be the same. A set with an item
  twice is the set with it once.
- An equation is its last side, where its other sides are names (``x = 5``, ``a + b = 5``) or equal
  to it (``2 + 2 = 4``); so ``3 = 4`` and ``x = 5 = 4`` are equal to nothing. Against another
  equation both sides count.
- ``%``: p% is p where no percent was said and p is at least 1 (17.5% for 17.5), and the share p/100
  where that is at most 1 (50% for 1/2); so 400% is not 4.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tersely.tasks.grading import expressions, units
from tersely.tasks.grading.math_reading import (
    Answer,
    AnswerList,
    Equation,
    Leaf,
    MathReading,
    expression,
    read,
    reading_of,
)
from tersely.tasks.grading.math_text import Written, bare, same_condition, written
from tersely.tasks.grading.plain_math import same_words

_NAME = re.compile(
    r"(?:\\[a-zA-Z]+ ?|[a-zA-Z]{1,3}|\\text\{[a-zA-Z ]+\})(?:_ ?(?:\{[^{}]*\}|\w))?'*"
    r"(?: ?\([^()]*\))?"
)
_FIGURE_NAME = re.compile(
    r"(?:m ?)?\\(?:angle|overline|triangle|overrightarrow|widehat) ?\{? ?[A-Z]{1,4} ?\}?"
    r"|(?:\||\\lvert ?)[A-Z]{2}(?:\||\\rvert)"
)
_LETTERS = re.compile(r"[a-z]{1,2}")
_CONSTANTS = {"e", "i", r"\pi", r"\infty", r"\e"}


def compare(gold: str, given: str) -> bool | None:
    """Whether ``given`` equals the gold answer; None if no expression can be made of it, but can
    of the gold one."""
    one, other = written(gold), written(given)
    reading = reading_of(one.text, other.text)
    if not same_condition(one.condition, other.condition):
        return False
    text = bare(one.text)
    if (text, one.unit) == (bare(other.text), other.unit) and re.search(r"\w", text):
        return True
    a, b = read(one, reading), read(other, reading)
    are_equations = isinstance(a, Equation) and isinstance(b, Equation)
    if are_equations and _primes(one.text) != _primes(other.text):
        return False
    if _same(a, b):
        return True
    if bool(one.unit) != bool(other.unit) and _LETTERS.fullmatch(one.unit + other.unit):
        # One letter behind a number is a unit or a symbol.
        kept = [Written(f"{w.text} {w.unit}".strip()) for w in (one, other)]
        if _same(*(read(k, reading) for k in kept)):
            return True
    return None if not _is_read(b) and _is_read(a) else False


def _is_read(answer: Answer) -> bool:
    if isinstance(answer, Leaf):
        return answer.value is not None
    return all(map(_is_read, answer.items if isinstance(answer, AnswerList) else answer.sides))


def _same(gold: Answer, given: Answer) -> bool:
    if isinstance(gold, Equation) and isinstance(given, Equation):
        return _same_equation(gold, given)
    if isinstance(given, Equation):
        value = _solved(given)
        return value is not None and _same(gold, value)
    if isinstance(gold, Equation):
        value = _solved(gold) if _is_named(gold.sides[0]) else None
        return value is not None and _same(value, given)
    if isinstance(gold, AnswerList) or isinstance(given, AnswerList):
        return _same_several(gold, given)
    return _same_leaf(gold, given)


def _same_leaf(gold: Leaf, given: Leaf) -> bool:
    # The parser drops primes: x' would be x''.
    if gold.base != given.base or _primes(gold.text) != _primes(given.text):
        return False
    times = units.ratio(gold.unit, given.unit)
    if times is None:
        return False
    words = same_words(gold.text, given.text)
    if words is not None:
        return words
    if gold.value is None or given.value is None:
        # Text that cannot be read is equal to the same text, whole, and to nothing else.
        text = bare(gold.text)
        return times == 1 and text == bare(given.text) and bool(re.search(r"\w", text))
    if units.is_percent(gold.unit) == units.is_percent(given.unit):
        return expressions.same(gold.value, given.value, times=times)
    per_cent, plain = (gold, given) if units.is_percent(gold.unit) else (given, gold)
    size = _size(plain.value)
    if size is None:
        return False
    found = per_cent.value
    at_face = bool(size >= 1) and expressions.same(plain.value, found)
    return at_face or (
        bool(size <= 1) and expressions.same(plain.value, found, times=Fraction(1, 100))
    )


def _primes(text: str) -> int:
    return text.count("'") + 2 * text.count('"')


def _size(value: Any) -> Any:
    from sympy import Expr

    if not isinstance(value, Expr) or not value.is_number:
        return None
    size = abs(value).evalf(20)
    return size if size.is_Number and size.is_finite else None


def _name(side: Answer) -> str | None:
    """The name that a side of an equation is; None for any other."""
    text = side.text.strip()
    name = bare(text)
    return name if _NAME.fullmatch(text) and name not in _CONSTANTS else None


def _is_named(side: Answer) -> bool:
    """Whether it is a name, several of them, or a figure (an angle, a length)."""
    if isinstance(side, AnswerList):
        return all(_name(item) is not None for item in side.items)
    figure = isinstance(side, Leaf) and bool(_FIGURE_NAME.fullmatch(side.text))
    return figure or _name(side) is not None


def _solved(equation: Equation) -> Answer | None:
    """What an equation says a value is; None if its sides contradict or say nothing of one."""
    sides = equation.sides
    if _name(sides[-1]) is not None and _name(sides[0]) is None and len(sides) == 2:
        sides = sides[::-1]
    value = sides[-1]
    for side in sides[:-1]:
        if not (_is_label(side, value) or _same(value, side)):
            return None
    return value


def _is_label(side: Answer, value: Answer) -> bool:
    """Whether it is what a value is given for: a name, or a term in several."""
    if _is_named(side):
        return True
    symbols = getattr(getattr(side, "value", None), "free_symbols", ())
    if value.text.strip() == "0":
        return False
    if not isinstance(side, Leaf):
        return False
    if side.value is None:
        return bool(re.search(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", side.text)))
    if len(symbols) == 1:
        # A multiple or a power of the unknown is no name for a value.
        return bool(re.search(r"\\(?!frac|cdot|times|sqrt)[a-z]|\(|\|", side.text))
    return len(symbols) > 1


def _same_equation(gold: Equation, given: Equation) -> bool:
    names = _name(gold.sides[0]), _name(given.sides[0])
    if names[0] is not None and names[1] is not None:
        same_name = names[0].casefold() == names[1].casefold()
        value = _solved(given)
        if same_name and value is not None and _same(gold.sides[-1], value):
            return True
    if len(gold.sides) != len(given.sides):
        return False
    if len(gold.sides) == 2:
        leaves = [side for side in (*gold.sides, *given.sides) if isinstance(side, Leaf)]
        if len(leaves) == 4 and all(_is_expression(leaf.value) for leaf in leaves):
            return _same_zeros(*leaves)
    return all(_same(a, b) for a, b in zip(gold.sides, given.sides, strict=True))


def _is_expression(value: Any) -> bool:
    from sympy import Expr

    return isinstance(value, Expr)


def _same_zeros(a: Leaf, b: Leaf, c: Leaf, d: Leaf) -> bool:
    from sympy import Eq

    return expressions.same(
        Eq(a.value, b.value, evaluate=False), Eq(c.value, d.value, evaluate=False)
    )


def _same_several(gold: Answer, given: Answer) -> bool:
    if isinstance(gold, Leaf) and _is_set(gold.value):
        return _same_leaf(gold, _as_leaf(given))
    if isinstance(given, Leaf) and _is_set(given.value):
        return _same_leaf(_as_leaf(gold), given)
    one, other = _as_several(gold), _as_several(given)
    kinds = _kind(one), _kind(other)
    if kinds[0] != kinds[1] and not set(kinds) <= {"", "()"}:
        return False
    labels = [[_label(item) for item in side.items] for side in (one, other)]
    if None not in labels[0] and len(set(labels[0])) == len(labels[0]) > 1:
        if None not in labels[1] and len(set(labels[1])) == len(labels[1]):
            return _matched(one.items, other.items, whole=True)
        return _in_order(one.items, other.items)
    if kinds[0] == "()":
        return _in_order(one.items, other.items)
    return _matched(one.items, other.items, whole=False)


def _is_set(value: Any) -> bool:
    from sympy import Set
    from sympy.core.relational import Relational
    from sympy.logic.boolalg import Boolean

    return isinstance(value, Set | Boolean | Relational)


def _as_leaf(answer: Answer) -> Leaf:
    if isinstance(answer, Leaf):
        return answer
    return Leaf(answer.text, expression(answer.text, MathReading(False, False)))


def _as_several(answer: Answer) -> AnswerList:
    return answer if isinstance(answer, AnswerList) else AnswerList(answer.text, "", (answer,))


def _label(item: Answer) -> str | None:
    name = _name(item.sides[0]) if isinstance(item, Equation) else None
    return None if name is None else name.casefold()


def _kind(several: AnswerList) -> str:
    """The brackets as far as they matter: none for a set, ``()`` for a tuple or a pair."""
    if several.brackets in ("", r"\{\}"):
        return ""
    if len(several.items) != 2:
        return "()" if several.brackets in ("()", "[]") else several.brackets
    if several.brackets == "[]" and _is_falling(several.items):
        return "()"
    return several.brackets


def _is_falling(items: Sequence[Answer]) -> bool:
    values: list[Any] = [getattr(item, "value", None) for item in items]
    if not all(_is_expression(value) and value.is_number for value in values):
        return False
    return bool((values[0] - values[1]).evalf(20).is_positive)


def _in_order(gold: Sequence[Answer], given: Sequence[Answer]) -> bool:
    return len(gold) == len(given) and all(map(_same_item, gold, given))


def _same_item(gold: Answer, given: Answer) -> bool:
    if not _same(gold, given):
        return False
    kinds = [answer.unit if isinstance(answer, Leaf) else "" for answer in (gold, given)]
    return not units.are_other_things(*kinds)


def _matched(gold: Sequence[Answer], given: Sequence[Answer], *, whole: bool) -> bool:
    """Whether each has its equal, in any order; an item twice is one in a set."""
    gold, given = list(gold), list(given)
    if not whole and len(gold) != len(given):
        gold, given = _once(gold), _once(given)
    for item in gold:
        found = next((n for n, other in enumerate(given) if _same_item(item, other)), None)
        if found is None:
            return False
        del given[found]
    return not given


def _once(items: list[Answer]) -> list[Answer]:
    kept: list[Answer] = []
    for item in items:
        if not any(_same(item, other) for other in kept):
            kept.append(item)
    return kept
