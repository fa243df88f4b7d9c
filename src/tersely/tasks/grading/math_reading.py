"""Maths answers read as lists, equations and expressions of sympy.

Lists and equations are cut apart as text; what is left is read as LaTeX by latex2sympy2-extended.
"""

import re
from functools import lru_cache
from math import gcd
from typing import Any, NamedTuple

from tersely.tasks.grading.math_text import Written, bare, written

_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_TOKEN = re.compile(
    r"\\begin\b|\\end\b|\\[{}]|\\\\|[{}()\[\]|]|[,;]|(?<![<>!:\\])=(?!=)|\\in(?![a-z])"
)
_OPEN, _CLOSE = {"{", r"\{", "(", "[", r"\begin"}, {"}", r"\}", ")", "]", r"\end"}
_FUNCTION = (
    r"log|ln|lg|lim|sum|prod|int|oint|max|min|sup|inf|frac|sqrt|binom|bigcup|bigcap|text|mathbb"
    r"|cdot|times|pi"
)
# Letters under these name one thing and are no product.
_FIGURE = re.compile(
    r"\\(?:angle|triangle|overline|overrightarrow|overleftrightarrow|widehat|parallel|perp|odot"
    r"|mapsto|Rightarrow|equiv|[pb]?mod)(?![a-zA-Z])"
)
# Derivatives of what is not said; dates; times of day, which are no ratios in lowest terms.
_UNREAD = re.compile(
    r"\\frac ?\{ ?(?:d|\\partial)[^{}]*\} ?\{ ?(?:d|\\partial) ?[a-z]|\d{4}-\d\d-\d\d"
    r"|\d{1,2}/\d{1,2}/\d{4}|:0\d"
)
_RATIO = re.compile(r"(\d{1,2}) ?: ?(\d\d)")
_SYMBOL = re.compile(r"\\[a-zA-Z]+|[a-zA-Z]")
_SUBSCRIPTED = re.compile(
    rf"(\\(?!(?:{_FUNCTION})(?![a-zA-Z]))[a-zA-Z]+ ?|(?<![\\a-zA-Z])[a-zA-Z])"
    r"_ ?(?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\w))"
)
_BASED = re.compile(
    r"\(?(?P<digits>[0-9A-Fa-f]+)\)?_ ?(?:\{ ?(?:\\text\{ ?)?(?P<base>\w+)[ }]*\}|(?P<one>\d))"
)
# A number times a name, 5f_1, where the digits and letters are none of that base.
_PRODUCT = re.compile(r"\d+[A-Fa-f] ?_.*")
_COMPLEX = re.compile(
    r"(?<![a-zA-Z\\])i(?![a-zA-Z])|\\text\{ ?i ?\}|\\(?:imath|Re|Im|arg)(?![a-z])|\\mathbb\{C\}"
)
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
_BASES |= {"ten": 10, "sixteen": 16}


class MathReading(NamedTuple):
    """How the symbols of both answers are read: the same in both."""

    keep_case: bool
    is_complex: bool


class Leaf(NamedTuple):
    """An expression of sympy; ``value`` is None if its text cannot be read."""

    text: str
    value: Any
    unit: str = ""
    base: int = 10


class AnswerList(NamedTuple):
    """A list, with its brackets; empty ones for none."""

    text: str
    brackets: str
    items: tuple["Answer", ...]


class Equation(NamedTuple):
    """The sides of an equation, or of several in a chain."""

    text: str
    sides: tuple["Answer", ...]


Answer = Leaf | AnswerList | Equation


def reading_of(one: str, other: str) -> MathReading:
    """How the symbols of two answers are read: capitals as small letters unless both occur."""
    # Greek capitals are other symbols; an N for an n is a slip unless one text has both.
    texts = [one, other, "".join(re.findall(r"\\[a-zA-Z]+", one + other))]
    names = [set(_SYMBOL.findall(re.sub(r"_\{[^{}]*\}", "", text))) for text in texts]
    both = any(_other_case(name) in found for found in names for name in found)
    return MathReading(both, any(_COMPLEX.search(text) for text in (one, other)))


def _other_case(name: str) -> str:
    return f"\\{name[1].swapcase()}{name[2:]}" if name[0] == "\\" else name.swapcase()


def _cut(text: str, marks: set[str]) -> list[str]:
    """The parts between marks that stand in no bracket."""
    depth, begin, parts = 0, 0, []
    for match in _TOKEN.finditer(text):
        if match[0] in _OPEN:
            depth += 1
        elif match[0] in _CLOSE:
            depth -= 1
        elif depth == 0 and match[0] in marks:
            parts.append(text[begin : match.start()].strip())
            begin = match.end()
    return [*parts, text[begin:].strip()]


def read(answer: Written, reading: MathReading) -> Answer:
    """The answer cut into its items or its sides; what cannot be read keeps its text."""
    text = answer.text
    if _GROUPED.fullmatch(text):
        return _leaf(text.replace(",", ""), reading, unit=answer.unit)
    parts = [part for part in _cut(text, {",", ";"}) if part]
    if len(parts) > 1:
        return AnswerList(text, "", _flat(_read_part(part, answer.unit, reading) for part in parts))
    bracketed = _bracketed(text)
    if bracketed is not None:
        marks, inside = bracketed
        parts = [part for part in _cut(inside, {",", ";"}) if part]
        if len(parts) > 1 or (marks == r"\{\}" and parts and not re.search(r"[|:]|\\mid", inside)):
            return AnswerList(text, marks, _flat(_read_part(part, "", reading) for part in parts))
    if not re.search(r"[<>]|\\(?:le|ge|ne|approx|equiv)(?![a-z])", text):
        sides = _cut(text, {"=", r"\in"})
        if len(sides) > 1 and all(sides):
            return Equation(text, tuple(_read_part(side, answer.unit, reading) for side in sides))
    return _plus_minus(_leaf(text, reading, unit=answer.unit))


def _read_part(text: str, unit: str, reading: MathReading) -> Answer:
    part = written(text)
    if part.condition.startswith("mod"):
        # Compared as it is written: the next may have another.
        return Leaf(text, None, unit)
    return read(part._replace(unit=part.unit or unit), reading)


def _plus_minus(leaf: Leaf) -> Answer:
    """Several values of one expression are a list; what is empty or no list of numbers is none."""
    from sympy import FiniteSet

    if isinstance(leaf.value, FiniteSet) and leaf.value.args:
        items = tuple(Leaf(leaf.text, value, leaf.unit) for value in leaf.value.args)
        return AnswerList(leaf.text, "", items)
    return leaf


def _flat(items: Any) -> tuple[Answer, ...]:
    """What one item of a list has several values adds them to the list."""
    found: list[Answer] = []
    for item in items:
        several = isinstance(item, AnswerList) and not item.brackets
        found.extend(item.items if several else [item])
    return tuple(found)


def _bracketed(text: str) -> tuple[str, str] | None:
    """The brackets around the whole text and what stands in them."""
    opening = next((mark for mark in (r"\{", "(", "[") if text.startswith(mark)), None)
    closing = next((mark for mark in (r"\}", ")", "]") if text.endswith(mark)), None)
    if opening is None or closing is None or len(text) < len(opening) + len(closing):
        return None
    if (opening == r"\{") != (closing == r"\}"):
        return None
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match[0] in _OPEN) - (match[0] in _CLOSE)
        if depth == 0 and match[0] in _CLOSE:
            whole = match.end() == len(text)
            return (opening + closing, text[len(opening) : -len(closing)]) if whole else None
    return None


def _leaf(text: str, reading: MathReading, *, unit: str) -> Leaf:
    base = 10
    if based := _BASED.fullmatch(text):
        said = based["base"] or based["one"]
        base = _BASES.get(said.lower()) or (int(said) if said.isdigit() else 0)
        if 2 <= base <= 36 and all(int(d, 36) < base for d in based["digits"]):
            text = str(int(based["digits"], base))
        elif not _PRODUCT.fullmatch(text):
            return Leaf(text, None, unit)
        else:
            base = 10
    return Leaf(text, expression(text, reading), unit, base)


# The answers to one problem come with one gold answer.
@lru_cache(maxsize=256)
def expression(text: str, reading: MathReading) -> Any:
    """The expression of sympy; None if the text cannot be read."""
    from latex2sympy2_extended.latex2sympy2 import (
        ConversionConfig,
        NormalizationConfig,
        latex2sympy,
        normalize_latex,
    )

    ratio = _RATIO.fullmatch(text)
    if ratio and gcd(int(ratio[1]), int(ratio[2])) > 1:
        return None
    spelt = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none"
    )
    if _FIGURE.search(text) or _UNREAD.search(text):
        return None
    text = re.sub(r",(?=\d{3}(?!\d))", "", text) if re.fullmatch(r"[^a-z(\[]*", text) else text
    text = _SUBSCRIPTED.sub(_as_index, text)
    if text.startswith("."):
        text = f"0{text}"
    try:
        read = latex2sympy(
            normalize_latex(text, config=spelt),
            is_real=not reading.is_complex,
            convert_degrees=False,
            normalization_config=None,
            conversion_config=ConversionConfig(lowercase_symbols=not reading.keep_case),
        )
    # The parser raises bare exceptions for what it cannot read.
    except Exception:
        return None
    return _with_imaginary_unit(read) if reading.is_complex else read


def _with_imaginary_unit(value: Any) -> Any:
    from sympy import I

    symbols = [s for s in getattr(value, "free_symbols", ()) if str(s) == "i"]
    return value.xreplace(dict.fromkeys(symbols, I)) if symbols else value


def _as_index(match: re.Match[str]) -> str:
    """A name with a subscript of any form as one with a number, another for each."""
    name = bare(match[0]).replace("{", "").replace("}", "").replace(" ", "")
    return "x_{" + "".join(f"{ord(character):03d}" for character in name) + "}"
