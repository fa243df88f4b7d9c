"""Whether two plain answers are equal, without a parser: numbers, sets, intervals, words.

The rules are those of ``math_answers``, which takes a hundred times as long; the functions here
answer None wherever they do not settle the case for sure.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

from tersely.tasks.grading import units
from tersely.tasks.grading.expressions import close
from tersely.tasks.grading.math_text import bare, same_condition, written

MOST_CHARS = 200

_NUMBER = re.compile(
    r"(?P<sign>[-+]?) ?"
    r"(?:(?P<grouped>[1-9]\d{0,2}(?:,\d{3}){1,10})|(?P<whole>\d{1,40}))?(?P<places>\.\d{1,40})?"
    r"(?: ?\\(?:times|cdot) ?10 ?\^ ?(?:\{ ?(?P<power>-?\d{1,3}) ?\}|(?P<digit>\d)))?"
)
_FRACTION = re.compile(
    r"(?P<sign>[-+]?) ?(?:(?P<top>\d{1,30}) ?/ ?(?P<bottom>\d{1,30})"
    r"|\\frac(?: ?(?P<digits>\d\d)| ?\{ ?(?P<over>-?\d{1,30}) ?\} ?\{ ?(?P<under>-?\d{1,30}) ?\}))"
)
_ASSIGNED = re.compile(
    r"(?!\\pi|[ei] ?=)\\?[a-zA-Z]+(?:_(?:\{[^{}=]*\}|\w))?(?:\([a-z\d]\))? ?= ?(?P<value>[^=]+)"
)
_GROUPED_IN_LIST = re.compile(r",\d{3}(?!\d)")
_LIST = re.compile(r"(?P<open>[(\[]|\\\{)(?P<inside>[^()\[\]]*?)(?P<close>[)\]]|\\\})")
_WORD = re.compile(r"[a-zA-Z]{3,20}(?: [a-zA-Z]{2,20}){0,5}")
_TEXT = re.compile(r"\\text\{(?P<words> ?[a-zA-Z]{2,20}(?: [a-zA-Z]{1,20}){0,9}[ .]?)\}")
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
    """A number: ``exact`` unless written with places; of a percent, what stands before the sign."""

    value: Fraction
    exact: bool = True
    percent: bool = False


class ListKind(StrEnum):
    """What a list of numbers is read as."""

    SET = "set"
    TUPLE = "tuple"
    OPEN = "open interval"
    CLOSED = "closed interval"
    LEFT_OPEN = "left-open interval"
    RIGHT_OPEN = "right-open interval"


class NumberList(NamedTuple):
    """A list of numbers in the order written."""

    shape: ListKind
    items: tuple[Number, ...]


def same(answer: str, found: str) -> bool | None:
    """Whether ``found`` equals the gold ``answer``; None where that is not sure."""
    if max(len(answer), len(found)) > MOST_CHARS:
        # One text twice is equal, however long.
        return True if answer.strip() == found.strip() and _same_text(answer, found) else None
    return _same(answer, found)


# A group gives the same answer many times.
@lru_cache(maxsize=16_384)
def _same(answer: str, found: str) -> bool | None:
    gold, given = written(answer), written(found)
    if not same_condition(gold.condition, given.condition):
        return False
    times = units.ratio(gold.unit, given.unit)
    if times is None:
        return False
    percents = units.is_percent(gold.unit), units.is_percent(given.unit)
    if times == 1 and percents[0] == percents[1] and _same_text(gold.text, given.text):
        return True
    one, other = _read(gold.text, percents[0]), _read(given.text, percents[1])
    if isinstance(one, Number) and other is None and (named := _ASSIGNED.fullmatch(given.text)):
        other = _read(named["value"], percents[1])
        other = other if isinstance(other, Number) else None
    if isinstance(one, Number) and isinstance(other, Number):
        return _same_number(one, other._replace(value=other.value * times))
    if times != 1 or any(percents):
        return None
    return _same_plain(gold.text, given.text, one, other)


def _same_plain(
    answer: str, found: str, gold: Number | NumberList | None, given: Number | NumberList | None
) -> bool | None:
    if gold is None and given is None:
        return same_words(answer, found)
    if gold is not None and given is not None:
        return _same_several(_as_several(gold), _as_several(given))
    number, other = (gold, found) if gold is not None else (given, answer)
    # A product of symbols is no number.
    return False if isinstance(number, Number) and _is_plain_word(other) else None


def _same_text(one: str, other: str) -> bool:
    """Whether the texts are equal and say something: braces that close, a letter or a digit."""
    text = bare(one)
    if text != bare(other):
        return False
    depths = list(accumulate({"{": 1, "}": -1}.get(character, 0) for character in text))
    closes = not depths or (min(depths) >= 0 and depths[-1] == 0)
    said = re.sub(r"\\text(?![a-z])", "", text)
    return (closes or "\\begin" in text) and bool(re.search(r"[a-zA-Z0-9]", said))


def _read(text: str, percent: bool = False) -> Number | NumberList | None:
    if not text.isascii():
        return None
    number = _number(text) or _fraction(text)
    if number is not None:
        return number._replace(percent=percent)
    return None if percent else _several(text)


def _number(text: str) -> Number | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    grouped, whole, places = match.group("grouped", "whole", "places")
    digits = (grouped or whole or "").replace(",", "") + (places or "")
    if not digits:
        return None
    value = Fraction(digits)
    if power := int(match["power"] or match["digit"] or 0):
        value *= Fraction(10) ** power
    return Number(-value if match["sign"] == "-" else value, exact=not places)


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
    return Number(-value if match["sign"] == "-" else value)


def _several(text: str) -> NumberList | None:
    if _GROUPED_IN_LIST.search(text):
        return None
    match = _LIST.fullmatch(text)
    parts = (match["inside"] if match else text).split(",")
    items = []
    for part in parts:
        item = _number(part.strip()) or _fraction(part.strip())
        if item is None:
            return None
        items.append(item)
    if match is None:
        return NumberList(ListKind.SET, tuple(items)) if len(items) > 1 else None
    shape = _shape(match["open"] + match["close"], items)
    return None if shape is None else NumberList(shape, tuple(items))


def _shape(marks: str, items: Sequence[Number]) -> ListKind | None:
    if marks == r"\{\}":
        return ListKind.SET
    if len(items) < 2:
        return None
    if len(items) > 2:
        return ListKind.TUPLE if marks in ("()", "[]") else None
    left, right = (item.value for item in items)
    if left < right:
        shapes = {
            "()": ListKind.OPEN,
            "[]": ListKind.CLOSED,
            "(]": ListKind.LEFT_OPEN,
            "[)": ListKind.RIGHT_OPEN,
        }
        return shapes.get(marks)
    # What would be an empty interval is a pair.
    pair = marks == "()" or (marks == "[]" and left > right)
    return ListKind.TUPLE if pair else None


def _as_several(value: Number | NumberList) -> NumberList:
    return value if isinstance(value, NumberList) else NumberList(ListKind.SET, (value,))


def _same_number(gold: Number, given: Number) -> bool:
    if gold.percent == given.percent:
        return _equal(gold, given)
    per_cent, plain = (gold, given) if gold.percent else (given, gold)
    size = abs(plain.value)
    # p% is p where no sign was asked for; a share of at most 1 is as many hundredths.
    share = per_cent._replace(value=per_cent.value / 100)
    return (size >= 1 and _equal(plain, per_cent)) or (size <= 1 and _equal(plain, share))


def _equal(gold: Number, given: Number) -> bool:
    if gold.value == given.value:
        return True
    return not (gold.exact and given.exact) and close(gold.value, given.value)


def _same_several(gold: NumberList, given: NumberList) -> bool | None:
    intervals = {ListKind.OPEN, ListKind.CLOSED, ListKind.LEFT_OPEN, ListKind.RIGHT_OPEN}
    if gold.shape in intervals and given.shape in intervals:
        return _in_order(gold.items, given.items) if gold.shape is given.shape else False
    for side in (gold, given):
        # Equal numbers in one set are one; which of two nearly equal ones comes first is open.
        if side.shape is ListKind.SET and not _all_apart(side.items):
            return None
    if {gold.shape, given.shape} & (intervals - {ListKind.OPEN}):
        return False
    # From here an open interval is the pair of its ends.
    if len(gold.items) != len(given.items):
        return False
    if gold.shape is ListKind.SET:
        return _in_order(_ordered(gold.items), _ordered(given.items))
    return _in_order(gold.items, given.items)


def _ordered(items: Sequence[Number]) -> list[Number]:
    return sorted(items, key=lambda item: item.value)


def _in_order(gold: Sequence[Number], given: Sequence[Number]) -> bool:
    return all(_same_number(a, b) for a, b in zip(gold, given, strict=True))


def _all_apart(items: Sequence[Number]) -> bool:
    values = [item.value for item in _ordered(items)]
    return not any(a == b or close(a, b) for a, b in pairwise(values))


def _is_plain_word(text: str) -> bool:
    return bool(_WORD.fullmatch(text)) and not _MEANT.search(text)


def same_words(answer: str, found: str) -> bool | None:
    """Whether two words or texts are one, letter for letter, whatever their case, or two letters;
    None if they may be anything else."""
    letters = _LETTER.fullmatch(answer), _LETTER.fullmatch(found)
    if letters[0] and letters[1]:
        one, other = (m[m.lastgroup or 0].strip("()").casefold() for m in letters if m)
        return one == other
    words = _words(answer), _words(found)
    if words[0] is None or words[1] is None:
        return None
    return words[0] == words[1]


def _words(text: str) -> str | None:
    """The words that the text is, in small letters; None if it may be anything else."""
    marked = _TEXT.fullmatch(text)
    if not marked and not _is_plain_word(text):
        return None
    return " ".join((marked["words"] if marked else text).split()).strip(" .").casefold()
