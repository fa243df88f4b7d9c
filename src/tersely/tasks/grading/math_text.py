r"""How maths answers are spelt: one plain LaTeX for many ways of writing, units apart.

``written`` takes apart what stands around the value: its unit, a condition ("for all $n$"), marks
of layout. A unit is left out where only one of two answers has one (5 for 5 cm); two that are known
are converted (0.05 m is 5 cm) and are different where they cannot be (5 m is not 5 kg).
"""

import re
from functools import lru_cache
from typing import NamedTuple

from tersely.tasks.grading import units

MOST_CHARS = 10_000
_SIMPLE = re.compile(r"-?\d+(?:\.\d+)?")

_SPELT = {
    r"\times ": "×",
    r"\cdot ": "·⋅",
    "-": "−–‐‑",
    "/": "÷∕⁄",
    " ": "\xa0\u2009\u202f\u3000",
    "'": "’",
    '"': "“”",
    "%": "％",
    r"\pi ": "π",
    r"\theta ": "θ",
    r"\alpha ": "α",
    r"\beta ": "β",
    r"\lambda ": "λ",
    r"\omega ": "ω",
    r"\phi ": "φ",
    r"\infty ": "∞",
    r"^\circ ": "°",
    r"\text{euro} ": "€",
    r"\text{sterling} ": "£",
    r"\text{yen} ": "¥",
    r"\text{rupee} ": "₹",
    r"\sqrt ": "√",
    r"\le ": "≤",
    r"\ge ": "≥",
    r"\ne ": "≠",
    r"\approx ": "≈",
    r"\pm ": "±",
    r"\in ": "∈",
    r"\cup ": "∪",
    r"\cap ": "∩",
    r"\emptyset ": "∅",
    r"\mathbb{R}": "ℝ",
    r"\mathbb{Z}": "ℤ",
    "^2": "²",
    "^3": "³",
    "^4": "⁴",
    r"\frac{1}{2}": "½",
    r"\frac{1}{4}": "¼",
    r"\frac{3}{4}": "¾",
    r"\frac{1}{3}": "⅓",
    r"\frac{2}{3}": "⅔",
}
_ROOT_OF_DIGITS = re.compile(r"√ ?(\d+)")
_UNICODE = str.maketrans({sign: latex for latex, signs in _SPELT.items() for sign in signs})
# Marks of layout: what stands for a space, and what stands for nothing.
_GROUPED = re.compile(r"(?<=\d)(?:\\[,;:! ]|~|\{,\}|\{\\[,!]\}|,\\!)\s*(?=\d{3}(?!\d))")
_NOTHING = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|hfill|rm|bf|it"
    r"|tiny|small|normalsize|large|Large|LARGE|huge|Huge)"
    r"(?![a-zA-Z])"
    r"|\\(?:text)?color(?:box)? ?(?:\[[^\]]*\])? ?\{[^{}]*\}"
    r"|(?<!\\)\\!\s*|(?<!\\)\$|(?<!\\)\\[()\[\]]|\\phantom\{[^{}]*\}|\*\*(?=\Z)|\A\*\*"
)
# Braces and marks of text that change nothing.
_BRACED = re.compile(r"(\A|[=,(+\-*]|\\times|\\cdot)\s*\{ ?(\d+) ?\}(?= ?[_^])")
_CHOOSE = re.compile(r"\{ ?([^{}]{1,99}?) ?\\choose ?([^{}]{1,99}?) ?\}")
_DOLLARS = re.compile(r"\\(?:text|mathrm|mbox)\{ ?\\\$ ?([\d.,]+) ?\}")
_PRIMES = re.compile(r"\^ ?(?:\{ ?(?:\\prime ?)+\}|\\prime(?![a-zA-Z]))")
_SUBSCRIPT = re.compile(r"_ ?(\\text ?\{[^{}]*\})")
_SPACE = re.compile(
    r"(?<!\\)\\[,;:> ]|~|\\q?quad(?![a-zA-Z])|\\(?:thin|med|thick|en|neg)?space(?![a-zA-Z])"
    r"|\\hspace\*?\{[^{}]*\}|\s+"
)
_STYLE = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|up|normal)?|math(?:rm|bf|it|sf|tt|normal)|mbox|hbox|emph"
    r"|operatorname\*?|boldsymbol|bm|pmb|underline)\s*(?=\{)"
)
_OPERATOR = re.compile(
    r"(?<!_\{)(?<!_)\\text\{ ?(sin|cos|tan|cot|sec|csc|sinh|cosh|tanh|log|ln|exp|lg|arcsin|arccos"
    r"|arctan|gcd|max|min|lim|det) ?\}(?= ?[({\\a-zA-Z\d])"
)
_BARE_FUNCTION = re.compile(
    r"(?<![a-zA-Z\\])(sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp|sqrt)"
    r"(?=[ ({^_\d])"
)
_ROOT = re.compile(r"\\sqrt ?\(([^()]*)\)")
_PI = re.compile(r"(?<![a-zA-Z\\])pi(?![a-zA-Z])")
_NATURAL = re.compile(r"\\log ?_ ?(?:e(?![a-zA-Z])|\{ ?e ?\})")
_LEADING = re.compile(r"\A(?:\\approx(?![a-z])|=|\\Rightarrow) *")
_SAID = re.compile(
    r"\A(?:\\text\{ ?(?:[Tt]he )?(?:final |correct )?[Aa]nswer(?: is)? ?:? ?\} ?"
    r"|[Tt]he (?:final |correct )?answer is:? )"
)
_AND = re.compile(
    r",?\s*(?:\\text\{\s*,?\s*(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])|\\lor(?![a-z])"
    r"|\\vee(?![a-z]))"
)
_VALUE_IN_TEXT = re.compile(
    r"\\text\{ ?([-+]?[\d.,/]+) ?\}|\\text\{ ?(i) ?\}"
    r"|(?<![\d})\]])(?<![\d})\]] )\\text\{ ?([a-zA-Z]) ?\}"
)
_SPELT_OUT = {
    r"\frac": "dfrac tfrac cfrac",
    r"\binom": "tbinom dbinom",
    r"\{": "lbrace",
    r"\}": "rbrace",
    "(": "lparen langle",
    ")": "rparen rangle",
    "[": "lbrack",
    "]": "rbrack",
    "<": "lt",
    ">": "gt",
    r"\le": "leq leqslant",
    r"\ge": "geq geqslant",
    r"\ne": "neq",
    r"\emptyset": "varnothing",
    r"^\circ": "degree",
    ":": "colon",
    r"\Rightarrow": "implies",
    r"\ldots": "dots",
    r"\log_{10}": "lg",
}
_NAMED = {f"\\{name}": name_for for name_for, names in _SPELT_OUT.items() for name in names.split()}
_COMMAND = re.compile(r"\\[a-zA-Z]+")

_REPEATING = re.compile(
    r"(?<![\d.])(\d*)\.(\d*) ?\\(?:overline|bar|dot) ?(?:\{ ?(\d+) ?\}|(\d))"
    r"(?![\d.])"
)
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?|\.\d+)[eE]([-+]?\d{1,5})(?![\w.])")
_TIMES_TEN = re.compile(r"(?<=\d) ?[x*] ?(?=10 ?\^)")
_TEN_TO = re.compile(r"(?<=10\^)\((-?\d+)\)|(?<=10\^)(-\d+|\d\d+)")
_MIXED = re.compile(
    r"(?<![\w.^_/}])(\d{1,9})(?: *\\frac ?\{(\d{1,9})\} ?\{(\d{1,9})\}| +\\frac ?(\d) ?(\d)(?!\d)"
    r"|\\frac(\d)(\d)(?!\d)| (\d{1,9}) ?/ ?(\d{1,9}))(?![\w.^/])"
)
_SCALE_WORD = re.compile(
    r"(?<=[\d}]) ?(?:\\text\{ ?)?(hundred|thousand|million|billion|trillion|dozen)(?![a-z]) ?\}?"
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?) ?\^ ?(?:\\circ|\{ ?\\circ ?\})")
_ORDINAL = re.compile(r"(?<=\d) ?(?:\^ ?\{? ?)?(?:\\text\{ ?)?(?:th|st|nd|rd)(?![a-zA-Z]) ?\}{0,2}")
_CONDITION = re.compile(
    r"[,;]? *(?:\\text\{ *,? *(?:for|where|when|with|if)\b(?P<said>.*)"
    r"|[,(] *(?P<set>[a-z](?:, ?[a-z])* ?\\in ?\\(?:mathbb|mathbf|text)\{[ZNRQ]\}[^,]*))\Z",
    re.DOTALL,
)
_MODULUS = re.compile(
    r" ?(?:\( ?)?(?:\\text\{ ?\(? ?mod(?:ulo)? ?\}? ?|\\[pb]?mod ?|(?<![a-zA-Z\\])mod(?:ulo)? )"
    r"\{? ?(?P<modulus>\d{1,40}) ?[)}]{0,2}\Z"
)
# As conditions stand: without braces and \text.
_INTEGERS = re.compile(
    r"(?:[a-z](?:,[a-z])*)?(?:\\in(?:\\math(?:bb|bf))?Z"
    r"|(?:is|are)?(?:an|any|some|all|every)?integers?(?:[a-z](?:,[a-z])*)?)\.?"
)


class Written(NamedTuple):
    """An answer apart from what stands around it.

    Attributes:
        text: the value in plain LaTeX.
        unit: what it is counted in, as written; empty if not said.
        condition: for what it holds, as written without spaces; empty if not said.
    """

    text: str
    unit: str = ""
    condition: str = ""


@lru_cache(maxsize=4096)
def written(answer: str) -> Written:
    """The answer in one plain spelling, its unit and condition apart."""
    # The end of a line, or the backslash of a space that was stripped.
    answer = answer.strip().rstrip("\\ \n")
    if _SIMPLE.fullmatch(answer) or len(answer) > MOST_CHARS:
        return Written(answer)
    text, condition = _without_condition(_plain(answer))
    text, unit = units.split(_ORDINAL.sub("", text))
    return Written(_values(text), unit, condition)


def bare(text: str) -> str:
    """The text without spaces that mean nothing, and without marks of text."""
    text = re.sub(r"\\text ?\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"_ ?\{ ?(\w) ?\}", r"_\1", text)
    return re.sub(r"(\\[a-zA-Z]+) +(?=[a-zA-Z])| +", lambda m: f"{m[1]} " if m[1] else "", text)


def same_condition(one: str, other: str) -> bool:
    """Whether the second condition may be the gold one: one is not said, or both are. A gold
    modulus has to be said."""
    if "mod" in (one[:3], other[:3]):
        return not one or one == other
    if not one or not other or one == other:
        return True
    return bool(_INTEGERS.fullmatch(one) and _INTEGERS.fullmatch(other))


def _plain(text: str) -> str:
    text = _ROOT_OF_DIGITS.sub(r"\\sqrt{\1}", text)
    text = text.translate(_UNICODE).replace("**", "^") if not text.isascii() else text
    text = re.sub(r"(?<=[\w)}]) ?\*\* ?(?=[\w({-])", "^", text)
    text = _BRACED.sub(r"\1 \2", _CHOOSE.sub(r"\\binom{\1}{\2}", text.replace("{:}", ":")))
    text = _DOLLARS.sub(r"\\$\1", _GROUPED.sub("", text))
    text = re.sub(r"\\\$", r"\\text{dollar} ", text)
    text = _SPACE.sub(" ", _NOTHING.sub("", text))
    text = _COMMAND.sub(lambda match: _NAMED.get(match[0], match[0]), text)
    text = _OPERATOR.sub(r"\\\1 ", _STYLE.sub(r"\\text", text))
    text = _AND.sub(",", _BARE_FUNCTION.sub(r"\\\1", text))
    text = _PRIMES.sub(lambda match: "'" * match[0].count("prime"), text)
    text = _SUBSCRIPT.sub(r"_{\1}", text)
    text = _VALUE_IN_TEXT.sub(r"\1\2\3", text)
    text = re.sub(r"\\text\{ *\}", " ", text)
    text = _ROOT.sub(r"\\sqrt{\1}", _PI.sub(r"\\pi ", _NATURAL.sub(r"\\ln ", text)))
    text = _LEADING.sub("", re.sub(r" +", " ", text).strip())
    text = re.sub(r"(?:(?<=[^\\ ])|(?<=\\ ))[.,;: ]+\Z", "", text) or text
    if (whole := re.fullmatch(r"\\text\{([^{}]*)\}", text)) and re.search(r"\d", whole[1]):
        text = whole[1].strip()
    text = _SAID.sub("", text)
    while text[:1] == "{" and text[-1:] == "}" and _closes_at_the_end(text):
        text = text[1:-1].strip()
    return text


def _closes_at_the_end(text: str) -> bool:
    depth = 0
    for place, character in enumerate(text):
        if character in "{}" and text[place - 1 : place] != "\\":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return place == len(text) - 1
    return False


def _without_condition(text: str) -> tuple[str, str]:
    if modulus := _MODULUS.search(text):
        return _without_modulus(text[: modulus.start()].strip(), modulus["modulus"])
    match = _CONDITION.search(text)
    before = text[: match.start()].strip() if match else ""
    # Several conditions are the branches of one answer.
    if match is None or not before or "\\begin" in text or before.endswith(("(", "{")):
        return text, ""
    if len(re.findall(r"\b(?:for|where|when|with|if|otherwise)\b", text)) > 1:
        return text, ""
    return before, re.sub(r"[ {}()]|\\text", "", match["said"] or match["set"] or "")


def _without_modulus(text: str, modulus: str) -> tuple[str, str]:
    """Residues without their modulus. One that is not reduced is another number, and stays."""
    equation = text.replace(r"\equiv", "=")
    residues = [residue.strip() for residue in equation.rpartition("=")[2].split(",")]
    if all(r.isdecimal() and len(r) <= 40 and int(r) < int(modulus) for r in residues):
        return equation, f"mod{modulus}"
    return f"{text} \\pmod{{{modulus}}}", ""


def _values(text: str) -> str:
    """Numbers in forms of their own, each as a fraction or a power of ten."""
    if "." in text:
        text = _REPEATING.sub(_repeating, text)
    text = _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text)
    if "10" in text:
        text = _TIMES_TEN.sub(r" \\times ", text)
        text = _TEN_TO.sub(lambda match: f"{{{match[1] or match[2]}}}", text)
    if "/" in text or "frac" in text:
        text = _MIXED.sub(_mixed, text)
    if "circ" in text and _TRIGONOMETRIC.search(text):
        text = _DEGREES.sub(r"(\1\\cdot\\frac{\\pi}{180})", text)
    return _SCALE_WORD.sub(_scale, text)


def _repeating(match: re.Match[str]) -> str:
    whole, fixed, again = match[1] or "0", match[2], match[3] or match[4]
    if len(match[0]) > 60:
        return match[0]
    bottom = (10 ** len(again) - 1) * 10 ** len(fixed)
    top = int(whole + fixed + again) - int(whole + fixed)
    return f"\\frac{{{top}}}{{{bottom}}}"


def _mixed(match: re.Match[str]) -> str:
    whole, *parts = (int(part) for part in match.groups() if part)
    top, bottom = parts
    if not 0 < top < bottom:
        return match[0]
    return f"\\frac{{{whole * bottom + top}}}{{{bottom}}}"


def _scale(match: re.Match[str]) -> str:
    word = match[1]
    return r" \times 12" if word == "dozen" else f" \\times 10^{{{_SCALES[word]}}}"
