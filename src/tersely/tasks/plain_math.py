"""Whether two plain answers are equal to math-verify, without it: numbers, sets, intervals, words.

math-verify 0.9.0 reads an answer with latex2sympy2-extended and compares what it got by rules of
its own: (1, 2) is an open interval but equal to the list "1, 2"; 9% equals 9 and 0.09; decimals
are compared to six places. The functions here keep to its rules and answer None wherever they do
not settle the case for sure. bench/grading.py compares the two.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import NamedTuple

MOST_CHARS = 200
# Floats of 53 bits: seven decimal places are sure below this.
_MOST_DECIMAL = 10**8
# math-verify rounds to six places: two numbers this far apart never become one.
_APART = Fraction(2, 10**6)

_DELIMITER = re.compile(r"\\left(?=[(\[]|\\\{)|\\right(?=[)\]]|\\\})|\\?\$|\\!\s*")
_AND = re.compile(r",?\s*\\text\{\s*(?:and|or)\s*\}|(?<![a-zA-Z]),?\s*(?:and|or)(?![a-zA-Z])")
_COMMAND = re.compile(r"\\[a-zA-Z]+")

_NUMBER = re.compile(
    r"(?P<sign>[-+]?) ?"
    r"(?:(?P<grouped>[1-9]\d{0,2}(?:,\d{3}){1,10})|(?P<whole>\d{1,30}))?(?P<places>\.\d{1,12})?"
    r"(?P<suffix> ?\\?%|\^\{?\\circ\}?| ?\\(?:text|mbox|mathrm)\{[ a-zA-Z]+\}| ?[a-zA-Z]+)?"
)
_FRACTION = re.compile(
    r"(?P<sign>[-+]?) ?(?:(?P<top>\d{1,30}) ?/ ?(?P<bottom>\d{1,30})"
    r"|(?P<mixed>\d{1,30})? ?\\[dt]?frac"
    r"(?: ?(?P<digits>\d\d)|\{(?P<over>-?\d{1,30})\}\{(?P<under>-?\d{1,30})\}))"
)
# Some of the units that math-verify drops after a number.
_UNITS = re.compile(
    r"(?:cm|mm|dm|m|km|ft|mile|inches|yard|feet|kg|gm|g|lb|pound|liter|litre|gallon|hour|hr|minute"
    r"|min|second|sec|day|month|year|degree|unit|square|mph|kmph|apple|coin|student)s?"
)
# Inside a unit in \text{} these mean something else than a unit.
_NO_UNIT = re.compile(r"percent|pct|inf|sqrt|\b(?:and|or)\b", re.IGNORECASE)
_ASSIGNED = re.compile(r"[a-cf-hj-np-zA-CF-HJ-NP-Z] ?= ?(?P<value>[^=]+)")
_GROUPED_IN_LIST = re.compile(r",\d{3}(?!\d)")
_LIST = re.compile(r"(?P<open>[(\[]|\\\{)(?P<inside>[^()\[\]]*?)(?P<close>[)\]]|\\\})")
_WORD = re.compile(r"[a-zA-Z]{2,20}")
# Letters that spell a function, a constant or an infinity are no mere product of symbols.
_MEANT = re.compile(
    r"sin|cos|tan|cot|sec|csc|arc|log|ln|exp|lim|det|max|min|gcd|lcm|inf|sqrt|mod|floor|ceil|pi"
    r"|oo|nan|i|rank|diag|trace|frac|and|or|gauss|ortho|eig|svd|ref|hom|percent|pct",
    re.IGNORECASE,
)
_LETTER = re.compile(
    r"(?P<bare>[a-cfghj-np-zA-CFGHJ-NP-Z])|\((?P<round>[A-CFGH])\)|\\text\{(?P<text>[A-CFGH]|\([A-CFGH]\))\}"
)


class Number(NamedTuple):
    """A number as math-verify reads it: ``exact`` unless written with places, which it rounds."""

    value: Fraction
    exact: bool = True
    percent: bool = False


class Shape(StrEnum):
    """What a list of numbers is read as."""

    SET = "set"
    TUPLE = "tuple"
    OPEN = "open interval"
    CLOSED = "closed interval"
    LEFT_OPEN = "left-open interval"
    RIGHT_OPEN = "right-open interval"


class Several(NamedTuple):
    """A list of numbers in the order written."""

    shape: Shape
    items: tuple[Number, ...]


def same(answer: str, found: str) -> bool | None:
    """Whether math-verify takes ``found`` for the gold ``answer``; None where that is not sure."""
    answer, found = answer.strip(), found.strip()
    if max(len(answer), len(found)) > MOST_CHARS:
        return None
    if answer == found:
        return True if _has_content(answer) else None
    answer, found = _clean(answer), _clean(found)
    if answer == found and _has_content(answer):
        return True
    gold, given = _read(answer), _read(found)
    if gold is None and given is None:
        return _same_words(answer, found)
    if isinstance(gold, Number) and (assigned := _ASSIGNED.fullmatch(found)):
        # "x = 5" is read as its right side where the gold answer is no equation.
        given = _read(assigned["value"])
        given = given if isinstance(given, Number) and not given.percent else None
        return None if given is None else _same_number(gold, given)
    if isinstance(gold, Number) and isinstance(given, Number):
        return _same_number(gold, given)
    if gold is not None and given is not None:
        return _same_several(_as_several(gold), _as_several(given))
    number, other = (gold, found) if gold is not None else (given, answer)
    # A product of symbols is no number.
    return False if isinstance(number, Number) and _is_plain_word(other) else None


def _has_content(text: str) -> bool:
    """Whether math-verify's normalisation leaves something of it: equal texts are then right."""
    depths = list(accumulate({"{": 1, "}": -1}.get(character, 0) for character in text))
    closes = bool(depths) and min(depths) >= 0 and depths[-1] == 0
    return closes and bool(re.search(r"[a-zA-Z0-9]", _COMMAND.sub("", text)))


def _clean(text: str) -> str:
    text = _AND.sub(",", _DELIMITER.sub("", text))
    return re.sub(r"\s+", " ", text.replace("{,}", ",")).strip()


def _read(text: str) -> Number | Several | None:
    if not text.isascii():
        return None
    return _number(text) or _fraction(text) or _several(text) or None


def _number(text: str) -> Number | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    grouped, whole, places, suffix = match.group("grouped", "whole", "places", "suffix")
    digits = (grouped or whole or "").replace(",", "") + (places or "")
    if not digits or (places and len(digits) > 15) or (suffix and not _is_unit(suffix)):
        return None
    # "+1,234" is read as a list; "-.5" as no number.
    if match["sign"] and not whole and (match["sign"] == "+" or not grouped):
        return None
    percent = bool(suffix) and suffix.endswith("%")
    value = Fraction(digits) / (100 if percent else 1)
    exact = not places or text in ("0.5", ".5")
    return Number(-value if match["sign"] == "-" else value, exact, percent)


def _is_unit(suffix: str) -> bool:
    suffix = suffix.strip()
    if suffix.endswith("%") or suffix in (r"^\circ", r"^{\circ}"):
        return True
    if suffix.startswith("\\"):
        return not _NO_UNIT.search(suffix)
    return bool(_UNITS.fullmatch(suffix))


def _fraction(text: str) -> Number | None:
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    if match["top"]:
        top, bottom = int(match["top"]), int(match["bottom"])
    elif match["digits"]:
        top, bottom = map(int, match["digits"])
    else:
        top, bottom = int(match["over"]), int(match["under"])
    if bottom == 0:
        return None
    value = Fraction(top, bottom)
    if match["mixed"]:
        if value <= 0 or bottom < 0 or match["mixed"].startswith("0"):
            return None
        value += int(match["mixed"])
    return Number(-value if match["sign"] == "-" else value)


def _several(text: str) -> Several | None:
    if _GROUPED_IN_LIST.search(text):
        return None
    match = _LIST.fullmatch(text)
    parts = (match["inside"] if match else text).split(",")
    items = []
    for part in parts:
        item = _number(part.strip()) or _fraction(part.strip())
        # A decimal in a list is never the exact 1/2 that a lone 0.5 is.
        if item is None or item.percent or re.search("[a-zA-Z]{2}|circ", part.replace("frac", "")):
            return None
        items.append(item._replace(exact=item.exact and "." not in part))
    if match is None:
        return Several(Shape.SET, tuple(items)) if len(items) > 1 else None
    shape = _shape(match["open"] + match["close"], items)
    return None if shape is None else Several(shape, tuple(items))


def _shape(marks: str, items: Sequence[Number]) -> Shape | None:
    if marks == r"\{\}":
        return Shape.SET
    if len(items) < 2:
        return None
    if len(items) > 2:
        return Shape.TUPLE if marks in ("()", "[]") else None
    left, right = (item.value for item in items)
    if left < right:
        shapes = {
            "()": Shape.OPEN,
            "[]": Shape.CLOSED,
            "(]": Shape.LEFT_OPEN,
            "[)": Shape.RIGHT_OPEN,
        }
        return shapes.get(marks)
    # What would be an empty interval is a pair.
    pair = marks == "()" or (marks == "[]" and left > right)
    return Shape.TUPLE if pair else None


def _as_several(value: Number | Several) -> Several:
    return value if isinstance(value, Several) else Several(Shape.SET, (value,))


def _same_number(gold: Number, given: Number) -> bool | None:
    if gold.exact and given.exact:
        if gold.value == given.value:
            return True
        # 9% equals 9, whichever of the two has the sign; below zero it is not sure.
        as_written = (gold.percent or given.percent) and _face(gold) == _face(given)
        return None if as_written and gold.value < 0 else as_written
    if gold.value == given.value:
        return True
    apart = abs(gold.value - given.value)
    largest = max(abs(gold.value), abs(given.value))
    return False if apart > _APART and largest < _MOST_DECIMAL else None


def _face(number: Number) -> Fraction | None:
    """The whole number that is written; None for any other."""
    face = number.value * 100 if number.percent else number.value
    return face if face.denominator == 1 else None


def _same_several(gold: Several, given: Several) -> bool | None:
    intervals = {Shape.OPEN, Shape.CLOSED, Shape.LEFT_OPEN, Shape.RIGHT_OPEN}
    if gold.shape in intervals and given.shape in intervals:
        return _in_order(gold.items, given.items) if gold.shape is given.shape else False
    for side in (gold, given):
        # Equal numbers in one set become one; which of two nearly equal ones comes first is open.
        if side.shape is Shape.SET and not _all_apart(side.items):
            return None
    if {gold.shape, given.shape} & (intervals - {Shape.OPEN}):
        return False
    # From here an open interval is the pair of its ends.
    if len(gold.items) != len(given.items):
        return False
    if gold.shape is Shape.SET:
        return _in_order(_ordered(gold.items), _ordered(given.items))
    return _in_order(gold.items, given.items)


def _ordered(items: Sequence[Number]) -> list[Number]:
    return sorted(items, key=lambda item: item.value)


def _in_order(gold: Sequence[Number], given: Sequence[Number]) -> bool | None:
    results = [_same_number(a, b) for a, b in zip(gold, given, strict=True)]
    if False in results:
        return False
    return None if None in results else True


def _all_apart(items: Sequence[Number]) -> bool:
    values = [item.value for item in _ordered(items)]
    return all(b - a > _APART for a, b in pairwise(values))


def _is_plain_word(text: str) -> bool:
    return bool(_WORD.fullmatch(text)) and not _MEANT.search(text)


def _same_words(answer: str, found: str) -> bool | None:
    """Words are products of their letters, in any order; single letters are symbols."""
    letters = _LETTER.fullmatch(answer), _LETTER.fullmatch(found)
    if letters[0] and letters[1]:
        one, other = (m[m.lastgroup or 0].strip("()").casefold() for m in letters if m)
        return one == other
    if not (_is_plain_word(answer) and _is_plain_word(found)):
        return None
    return None if sorted(answer.casefold()) == sorted(found.casefold()) else False
