"""Numbers as people and models write them, read as exact fractions.

Read are digits with or without thousands (``1,234``, ``1{,}234``, ``1\\,234``, ``1 234``,
``1_234``, ``1'234``, ``1,00,000``), ``.5``, decimals that repeat under a bar, powers (``3e3``,
``3 \\times 10^{3}``, ``2^{10}``), fractions (``14/2``, ``\\frac{14}{2}``) and mixed numbers
(``3\\frac{1}{2}``, ``3½``), each with any dash as its sign. Units, percent and currency mean
nothing: 50% is 50; a million behind a number multiplies it. More than 40 digits on a side of the
point, or a power of more than ``MOST_EXPONENT``, is no number here.
"""

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

# Looked at before the last digit of a text, and behind it.
WINDOW_CHARS, BEHIND_CHARS = 2_000, 100
MOST_EXPONENT = 1_000
_MOST_POWER_DIGITS = 2_000

_DIGITS, _RAISED_OR_PART = "0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
# Digits of any script, and the marks of the Arabic ones.
_OTHER_SCRIPT = re.compile("(?![0-9])\\d|[٫٬]")

# A fraction is put between these, whichever way it was written.
_OPEN, _SHUT = "\u2039", "\u203a"
_UNSIGNED = r"(?:\d{1,40}(?:\.\d{1,40})?|\.\d{1,40})"
_SIGNED = rf"[-+]? ?{_UNSIGNED}(?:e[-+]?\d{{1,4}})?"

_DASHES = {ord(dash): "-" for dash in "−‐‑‒–—⁃﹣－"}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED_RUN = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]++")
_LOWERED_RUN = re.compile("[₀-₉]++")
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_BARRED = re.compile("(\\d*\\.\\d*?)((?:\\d[\u0304\u0305])++)")
_THIN = "[\u00a0\u2002-\u200a\u202f]"
_SEPARATORS = (
    *(",", r"\{,\}(?:\\!)?", r",\\!", r"\{?\\[,;:! ]\}?", r"\\thinspace ?", "~", r"\\?_"),
    *("['’]", _THIN, "&nbsp;"),
)
_GROUPED = re.compile(
    r"(?<![\d^])(?<!\d\.)(?:\d{1,3}(?:"
    + "|".join(rf"(?:{mark}\d{{3}}){{1,13}}+" for mark in _SEPARATORS)
    + r")|(?<![\w.])[1-9]\d{0,2}(?: \d{3}){1,13}+)(?!,?\d)"
)
# Lakhs and crores; in brackets this may be a list.
_LAKHS = re.compile(r"(?<![\d.,(\[])\d{1,2}(?:,\d\d){1,6},\d{3}(?!,?\d)")
_NO_DIGIT = re.compile(r"&nbsp;|\\thinspace|\D")
_REWRITTEN = tuple(
    (re.compile(pattern, re.IGNORECASE if "negative" in pattern else 0), by)
    for pattern, by in (
        (r"\\(?:text)?color(?:box)? ?(?:\[[^\]]{0,20}\])? ?\{[^{}]{0,40}\}", " "),
        # A decimal comma; thousands are gone by now.
        (r"(?<=\d)\{,\}(?=\d)", "."),
        (rf"\\(?:[,;:! ]|quad|qquad|thinspace)(?![A-Za-z])|~|&nbsp;|{_THIN}", " "),
        (r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\[()\[\]]", ""),
        (r"(?<=[\d}]) ?\*\* ?(?=[-\d{(])", "^"),
        (r"\*\*|__|`", ""),
        (r"\^ ?\{ ?([-+]?\d{1,9}) ?\}", r"^\1 "),
        (r"\{ ?\^(\d)", r"^\1"),
        # The base of a number: another one than ten leaves no number to be read.
        (r"(?<=\d) ?_ ?(?:10|\{ ?10 ?\})(?!\w)", ""),
        (r"(?<=\d) ?_ ?(?:\w|\{[^{}]{1,20}\})", "^{b}"),
        (r"(?<=[A-Za-z)}]) ?_ ?(?:\d{1,3}|\{[^{}]{1,20}\})", ""),
        # Degrees, "th", and the powers of units and variables.
        (r"\^ ?\{? ?\\(?:circ|degree)(?![A-Za-z])(?: ?\})?", " "),
        (r"\^ ?\{? ?\\(?:text|mathrm|rm) ?\{ ?[a-z]{2} ?\}(?: ?\})?", " "),
        (r"(?<=[A-Za-z°µ]) ?\^ ?(?:\{[^{}]{0,20}\}|[-+]?\d{1,9})", " "),
        (r"(?<=[A-Za-z°µ ]\}) ?\^ ?(?:\{[^{}]{0,20}\}|[-+]?\d{1,9})", " "),
        (r"(?<=[\d ][kcdm]m)[23](?![\w.])|(?<=[\d ](?:in|ft))[23](?![\w.])", " "),
        (r"(?<=[\d ]m)[23](?![\w.])", " "),
        (r"\bnegative[ }]+(?=[\d.\\$])|(?<![\d)}] )\bminus[ }]+(?=[\d.\\$])", "-"),
        (r"(?<![\w}])\{ ?([-+]?[\d.]{1,80}) ?\}", r"\1"),
        (
            r"(?<=\d) ?(?:\\times|\\cdot|[×·⋅x*]) ?10 ?\^ ?([-+]?\d{1,9})(?! ?[\^\d])",
            r"e\1 ",
        ),
        (r"(?<=\d)E(?=[-+]?\d)", "e"),
        (rf"\\[dtc]?frac ?\{{ ?({_SIGNED}) ?\}} ?\{{ ?({_SIGNED}) ?\}}", r"‹\1/\2›"),
        (r"\\[dtc]?frac ?(\d) ?(\d)", r"‹\1/\2›"),
        (rf"\\[dtc]?frac ?(\d) ?\{{ ?({_SIGNED}) ?\}}", r"‹\1/\2›"),
        (rf"\\[dtc]?frac ?\{{ ?({_SIGNED}) ?\}} ?(\d)", r"‹\1/\2›"),
        (
            rf"(?<![\w/.^‹])(?<!/ )(?<!e[-+])({_UNSIGNED}) ?[/⁄∕÷] ?(-?{_UNSIGNED})"
            r"(?![\d›]| ?/|\.\d| ?\^)",
            r"‹\1/\2›",
        ),
        (r"(\b(?:[Ii]s|[Ee]quals|[Ee]qual to) [$(]*)- (?=\\?[$€£¥₹]?[\d.‹])", r"\1-"),
    )
)
_PERIOD = re.compile(
    r"(?<![\d.])(\d{0,40})\.(\d{0,40})(?:\\(?:overline|bar|dot) ?\{(\d{1,40})\}|\((\d{1,40})\))"
)
_WHOLE = re.compile(r"-?[0-9]{1,40}")
_SIGN_APART = re.compile(r"\A[\s$(]*- (?=[\d.‹])")
_DECIMAL = re.compile(rf"([-+]?{_UNSIGNED})(?:e([-+]?\d{{1,9}}))?")
# A sign counts only where it cannot be a minus between two numbers.
_TOKEN = re.compile(
    r"(?P<sign>(?<![\w).}›])[-+](?= ?\\?[$€£¥₹]|[\d.‹(])"
    r"|(?<=[=({\[:≈<>$])[-+] |(?<=[=({\[:≈<>$] )[-+] )?"
    r"(?: ?\\?[$€£¥₹] ?(?P<inner>-(?=[\d.]))?)?"
    r"(?:(?:(?<!\d)(?<!\d\.)(?P<whole>\d{1,40}) ?)?‹(?P<over>[^/›]*)/(?P<under>[^/›]*)›"
    r"|(?P<base>\((?:-?\d{1,40})\)(?= ?\^)"
    r"|(?<!\d)(?:(?<![\w.)])\.\d{1,40}+(?!\d)|\d{1,40}+(?!\d)(?:\.\d{1,40}+(?!\d)|(?!\.\d))))"
    r"(?:e(?P<ten>[-+]?\d{1,9})(?!\w)| ?\^ ?(?P<power>[-+]?\d{1,9})(?!\.?\d))?)"
    r"(?P<unread> ?\^ ?(?:\{(?:[^{}]|\{[^{}]{0,40}\}){0,40}\}|\([^()]{0,40}\)|[-+]?\w{0,9}))?"
)
_FUNCTION = (
    r"(?:\\(?:sqrt|log|ln|lg|exp|sin|cos|tan|cot|sec|csc|arc[a-z]{3}|binom|sum|prod|int|lim|[dtc]?frac)"
    r"(?![A-Za-z])|√)"
)
# What makes a number part of something else, right before it and right behind it.
_BEFORE = re.compile(
    _FUNCTION + r"(?:\[[^\]]{0,9}\])?(?:_ ?\w| ?_\{[^{}]{0,9}\})?[ {(]{0,3}\Z|\}\{ ?\Z"
)
_BEHIND = re.compile(r"\}? ?(?:" + _FUNCTION + r"|\\(?:pi|infty|pm)(?![A-Za-z])|[π∞±])")
# In a box: rests, floors, absolute values, bounds; a name right before the number.
_CHANGED = re.compile(
    _FUNCTION + r"|\\(?:[lr]floor|[lr]ceil|[lr]?vert|[bp]?mod|gcd|lcm|max|min"
    r"|leq?|geq?|neq?|lt|gt|leqslant|geqslant|[lc]?dots)(?![A-Za-z])|[|<>≤≥≠…]"
)
_NAMED = re.compile(r"(?<![\\A-Za-z])[A-Za-z]\(?\Z")
_RELATION = re.compile(
    r"=|≈|\\(?:approx|simeq|cong|implies|Rightarrow|rightarrow|to)(?![A-Za-z])|[→⇒]"
)
# "3 million"; no part of "3 million-dollar houses".
_SCALE = re.compile(
    r"(?:[\s~{}]|\\(?:text|mathrm)(?![A-Za-z])){1,9}(hundred|thousand|million|billion|trillion)"
    r"(?![\w-])",
    re.IGNORECASE,
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_OPERATOR = r"(?:[-+*/×·⋅÷±^]|\\(?:times|cdot|div|pm|mp)(?![A-Za-z]))"
_ENDS_IN_OPERATOR = re.compile(_OPERATOR + r"[ {($]*\Z")
_STARTS_WITH_OPERATOR = re.compile(r"[ })$]*(?:" + _OPERATOR + r"|!|[xyznkie](?![A-Za-z]))")
# Between two numbers: a list, a range, a ratio, a product.
_LIST = re.compile(
    r"[\s$(){}]*(?:[,;:]|\\(?:text|mathrm|quad|qquad)|and|or|to|through|[\s{}]){0,6}[\s$(){}]*"
)


class WrittenNumber(NamedTuple):
    """A number and where it stands; ``value`` is None where what is written has none."""

    value: Fraction | None
    begin: int
    end: int


def last_number(text: str) -> Fraction | None:
    """The last number of a text; None if there is none, or the last has no value."""
    text = _one_spelling(_without_lakhs(_tail(text)))
    found = list(_TOKEN.finditer(text))
    return _alone(text, _read(found[-1])[-1]) if found else None


def only_number(text: str) -> Fraction | None:
    """The number that a short text states, after its last ``=``; the last of several.

    None if there is none, or if it is part of something else: a sum, a product, a root, a list, a
    range, an expression in letters.
    """
    text = _one_spelling(_without_lakhs(_tail(text)))
    text = _SIGN_APART.sub("-", text)
    tokens = list(_TOKEN.finditer(text))
    if not tokens:
        return None
    *earlier, last = [*(_read(tokens[-2]) if len(tokens) > 1 else []), *_read(tokens[-1])]
    begin = max((m.end() for m in _RELATION.finditer(text, 0, last.begin)), default=0)
    near = earlier[-1] if earlier and earlier[-1].begin >= begin else None
    if near is not None and _LIST.fullmatch(text, near.end, last.begin):
        return None
    before = text[max(begin, last.begin - 40) : last.begin]
    if _ENDS_IN_OPERATOR.search(before) or _STARTS_WITH_OPERATOR.match(text, last.end):
        return None
    if _CHANGED.search(text, begin) or _NAMED.search(before):
        return None
    value = _alone(text, last)
    return None if _contradicts(text[:begin], value) else value


def _contradicts(before: str, value: Fraction | None) -> bool:
    """Whether a whole number is said to equal another: ``3 = 4``."""
    sides = [side.strip(" $") for side in before.split("=")[:-1]]
    if value is None or value.denominator > 1 or not before.rstrip().endswith("="):
        return False
    return any(_WHOLE.fullmatch(side) and int(side) != value for side in sides)


def numbers(text: str) -> int:
    """How many numbers a short text holds, those without a value too."""
    return sum(1 for _ in _TOKEN.finditer(_one_spelling(_without_lakhs(_tail(text)))))


def _without_lakhs(text: str) -> str:
    return _LAKHS.sub(lambda found: found[0].replace(",", ""), text)


def _tail(text: str) -> str:
    """What the last number can be read from: it is of a few characters."""
    if text.isascii():
        end = max(map(text.rfind, _DIGITS)) + 1
    else:
        end = next((n for n in range(len(text), 0, -1) if _is_digit(text[n - 1])), 0)
    tail = text[max(0, end - WINDOW_CHARS) : end + BEHIND_CHARS] if end else ""
    return tail if tail.isascii() else _OTHER_SCRIPT.sub(_western, tail)


def _is_digit(character: str) -> bool:
    return character.isdecimal() or character in _RAISED_OR_PART


def _western(found: re.Match[str]) -> str:
    return {"٫": ".", "٬": ","}.get(found[0]) or str(int(found[0]))


def _one_spelling(text: str) -> str:
    """Each sign, space, power, fraction and group of thousands in one way of writing it."""
    text = text.translate(_DASHES).replace(_OPEN, "<").replace(_SHUT, ">")
    text = _BARRED.sub(_overline, text)
    text = _RAISED_RUN.sub(lambda found: f"^{found[0].translate(_RAISED)} ", text)
    text = _LOWERED_RUN.sub("", text)
    text = _VULGAR.sub(lambda found: " " + unicodedata.normalize("NFKC", found[0]), text)
    text = _GROUPED.sub(lambda found: _NO_DIGIT.sub("", found[0]), text)
    text = "".join(map(_plain_character, text)) if not text.isascii() else text
    for pattern, by in _REWRITTEN:
        text = pattern.sub(by, text)
    return _PERIOD.sub(_repeating, text)


def _overline(found: re.Match[str]) -> str:
    digits = re.sub("[\u0304\u0305]", "", found[2])
    return f"{found[1]}\\overline{{{digits}}}"


def _plain_character(character: str) -> str:
    """A full-width or mathematical letter or digit as the plain one; others as they are."""
    if character in "×·⋅÷°µ⁄" or character.isspace():
        return character
    return unicodedata.normalize("NFKC", character)


def _repeating(found: re.Match[str]) -> str:
    """``a.bc`` with c repeated, as a fraction."""
    whole, places, period = found[1] or "0", found[2], found[3] or found[4]
    scale = 10 ** len(places)
    above = int(whole + places) * (10 ** len(period) - 1) + int(period)
    return f"‹{above}/{scale * (10 ** len(period) - 1)}›"


def _read(match: re.Match[str]) -> list[WrittenNumber]:
    """The number of a token; two of a whole one beside a fraction above 1."""
    sign = -1 if "-" in (match["sign"] or "") + (match["inner"] or "") else 1
    begin, end = match.span()
    if match["unread"]:
        return [WrittenNumber(None, begin, end)]
    if match["base"]:
        return [WrittenNumber(_times(sign, _power(match)), begin, end)]
    above, below = _decimal(match["over"]), _decimal(match["under"])
    part = None if above is None or not below else above / below
    if match["whole"] is None:
        return [WrittenNumber(_times(sign, part), begin, end)]
    whole = Fraction(match["whole"])
    if part is not None and 0 < part < 1:
        return [WrittenNumber(sign * (whole + part), begin, end)]
    between = match.end("whole")
    return [WrittenNumber(sign * whole, begin, between), WrittenNumber(part, between, end)]


def _times(sign: int, value: Fraction | None) -> Fraction | None:
    return None if value is None else sign * value


def _power(match: re.Match[str]) -> Fraction | None:
    """``3e5`` or ``2^10``; None where it would be too long, or divide by zero."""
    base = Fraction(match["base"].strip("()"))
    raised = match["power"] or match["ten"]
    if raised is None:
        return base
    exponent = int(raised)
    digits = len(match["base"]) if match["power"] else 1
    if abs(exponent) > MOST_EXPONENT or digits * abs(exponent) > _MOST_POWER_DIGITS:
        return None
    if match["ten"]:
        return base * Fraction(10) ** exponent
    return base**exponent if base or exponent > 0 else None


def _decimal(text: str) -> Fraction | None:
    found = _DECIMAL.fullmatch(text.replace(" ", ""))
    if found is None or abs(int(found[2] or 0)) > MOST_EXPONENT:
        return None
    return Fraction(found[1]) * Fraction(10) ** int(found[2] or 0)


def _alone(text: str, number: WrittenNumber) -> Fraction | None:
    """Its value, unless a function is taken of it or multiplied with it."""
    spoiled = _BEFORE.search(text[max(0, number.begin - 40) : number.begin])
    if spoiled or number.value is None or _BEHIND.match(text, number.end):
        return None
    scale = _SCALE.match(text, number.end)
    return number.value * 10 ** _SCALES[scale[1].lower()] if scale else number.value
