"""Units of measurement behind a number: found, compared and converted."""

import re
from fractions import Fraction
from functools import lru_cache

Dimension = tuple[tuple[str, int], ...]

_BASE: dict[str, tuple[str, int, Fraction]] = {}


def _add(dimension: str, factor: Fraction | int | str, names: str, power: int = 1) -> None:
    for name in names.split():
        _BASE[name] = (dimension, power, Fraction(factor))


_add("length", 1, "m meter metre")
_add("length", "1/1000", "mm millimeter millimetre")
_add("length", "1/100", "cm centimeter centimetre")
_add("length", "1/10", "dm decimeter decimetre")
_add("length", 1000, "km kilometer kilometre")
_add("length", "0.0254", "in inch inche")
_add("length", "0.3048", "ft foot feet")
_add("length", "0.9144", "yd yard")
_add("length", "1609.344", "mi mile")
_add("length", 10_000, "hectare ha", 2)
_add("length", "1/1000", "l L liter litre", 3)
_add("length", "1/1000000", "ml mL milliliter millilitre cc", 3)
_add("length", "1/100000", "cl cL centiliter centilitre", 3)
_add("length", "1/10000", "dl dL deciliter decilitre", 3)
_add("length", 1, "kiloliter kilolitre", 3)
_add("length", "0.003785411784", "gallon gal", 3)
_add("mass", 1, "kg kilogram")
_add("mass", "1/1000", "g gm gram")
_add("mass", "1/1000000", "mg milligram")
_add("mass", "0.45359237", "lb pound")
_add("mass", "0.028349523125", "oz ounce")
_add("mass", 1000, "tonne")
_add("time", 1, "s sec second")
_add("time", "1/1000", "ms millisecond")
_add("time", 60, "min minute")
_add("time", 3600, "h hr hour")
_add("time", 86_400, "day")
_add("time", 604_800, "week")
_add("month", 1, "month")
_add("month", 12, "year yr")
_add("dollar", 1, "dollar usd USD")
_add("dollar", "1/100", "cent")
_add("euro", 1, "euro eur EUR")
_add("sterling", 1, "sterling gbp GBP")
_add("yen", 1, "yen")
_add("rupee", 1, "rupee Rs rs")
_add("degree", 1, "degree deg")
_add("radian", 1, "radian rad")
_add("celsius", 1, "celsius")
_add("fahrenheit", 1, "fahrenheit")
_add("percent", 1, "% percent percentage pct")
_SHORT = {"mph": "mi/h", "kmph": "km/h", "kmh": "km/h", "kph": "km/h", "fps": "ft/s"}

# Units that may follow a number without being marked as text. Other letters are symbols.
_BARE = (
    r"(?:(?:cm|mm|dm|km|m|ft|inches|inch|feet|foot|yards?|miles?|kg|gm|g|lbs?|pounds?|liters?"
    r"|litres?|gallons?|hours?|hrs?|minutes?|mins?|seconds?|secs?|days?|weeks?|months?|years?"
    r"|degrees?|radians?|dollars?|cents?|units?|meters?|metres?|mL|ml|mph|kmph|apples?|coins?"
    r"|students?|ounces?|euros?|(?:kilo|centi|milli|deci)(?:meters?|metres?|liters?|litres?)"
    r"|grams?|kilograms?|milligrams?|percent|pct|percentage|inches|s|h)(?:\^ ?\{?[23]\}?)?)"
)
_WORDS = rf"(?:(?:square|cubic|sq\.?|cu\.?) )?{_BARE}(?: ?(?:/|per) ?{_BARE})?(?: squared| cubed)?"
_TEXT = r"\\text\{(?:[^{}]|\{[^{}]*\})*\}(?:\^ ?(?:\{ ?-?\d ?\}|\d))?"
_MARKED = re.compile(
    rf"(?P<of>(?: ?(?:/|\\cdot|\\times)? ?{_TEXT})+(?: ?/ ?[a-z]+\^?\d?)?"
    rf"| ?\\frac ?\{{ ?{_TEXT} ?\}} ?\{{ ?{_TEXT} ?\}})\Z"
)
_NOUN = r"(?:[a-z]{3,20} ){0,2}(?:[a-z]{3,20}s|people|men|women|children)"
_UNMARKED = re.compile(rf"(?<=[\d)}} ]) ?(?P<of>{_WORDS}|(?<=[\d)}}] ){_NOUN})\Z")
_SIGN = re.compile(r" ?(?P<of>\\?%|\^ ?\{? ?\\circ ?\}?(?: ?(?:\\text\{ ?[CF] ?\}|[CF]))?)\Z")
_BEFORE = re.compile(r"\A(?P<sign>-?) ?\\text\{(?P<of>dollar|euro|sterling|yen|rupee|Rs\.?) ?\} ?")
_NUMERIC = re.compile(
    r"(?:\\(?:frac|sqrt|pi|times|cdot|ln|log|approx|le|ge|pm|text\{ ?million ?\})(?![a-z])"
    r"|[\d\s.,+\-*/^{}()\[\]<>=:]|\\[{}]|[a-zA-Z] ?=|(?:th|m|b)ousand|[mb]illion|hundred|dozen)+"
)
# Words in a \text{} that say something else than a unit.
_NO_UNIT = re.compile(
    r"\b(?:and|or|if|for|mod|inf|sqrt|not|no|remainder|million|billion|thousand|hundred|trillion"
    r"|dozen|is|are|plus|minus|times|half|quarter)\b",
    re.IGNORECASE,
)
# Without a mark of text, words that may be more than what is counted.
_NO_NOUN = re.compile(
    r"\b(?:less|unless|cos|than|over|under|above|below|off|from|choose|divided|halves|thirds|quarters"
    r"|negatives|(?:hundred|thousand|million|billion|trillion|dozen|ten)s"
    r"|(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf|[a-z]+teen|[a-z]+tie|hundred|thousand)ths)\b"
)
_SCALE = re.compile(r"(\\text\{ ?)(hundred|thousand|million|billion|trillion|dozen) ([^{}]+\})\Z")


def split(text: str) -> tuple[str, str]:
    """The text without the unit that stands around it, and the unit; no unit is the empty text."""
    text = _SCALE.sub(r"\2\\text{\3", text)
    if (before := _BEFORE.match(text)) and before.end() < len(text):
        rest = before["sign"] + text[before.end() :]
        after, unit = split(rest)
        return (after, unit) if unit else (rest, before["of"])
    if (sign := _SIGN.search(text)) and sign.start():
        rest = text[: sign.start()].rstrip()
        if "%" in sign["of"] or _NUMERIC.fullmatch(rest):
            return rest, sign["of"].strip()
    if (marked := _MARKED.search(text)) and (rest := text[: marked.start()].strip()):
        unit = marked["of"].strip()
        known = measure(unit) is not None
        if known or (_NUMERIC.fullmatch(rest) and not _NO_UNIT.search(unit)):
            return rest, unit
    bare = _UNMARKED.search(text)
    rest = text[: bare.start()].strip() if bare else ""
    counted = bare and _NUMERIC.fullmatch(rest) and re.search(r"\d", rest)
    if bare and counted and not (_NO_UNIT.search(bare["of"]) or _NO_NOUN.search(bare["of"])):
        return rest, bare["of"]
    return text, ""


@lru_cache(maxsize=1024)
def measure(unit: str) -> tuple[Dimension, Fraction] | None:
    """What a unit measures and how much of it, in metres, kilograms, seconds; None if unknown."""
    text = re.sub(r"\\text\{((?:[^{}]|\{[^{}]*\})*)\}", r" \1 ", unit)
    text = re.sub(r"\^ ?\{? ?\\circ ?\}?", " degree ", text)
    text = re.sub(r"\\frac ?\{([^{}]*)\} ?\{([^{}]*)\}", r"\1/\2", text)
    text = re.sub(r"degrees? (?:C\b|celsius)", "celsius", text)
    text = re.sub(r"degrees? (?:F\b|fahrenheit)", "fahrenheit", text)
    text = re.sub(r"\\cdot|\\times|[{}]", " ", text).replace("\\%", "%").replace(" per ", "/")
    text = re.sub(r"\b(?:square|sq\.?) +([a-zA-Z]+)|([a-zA-Z]+) +squared\b", r"\1\2^2", text)
    text = re.sub(r"\b(?:cubic|cu\.?) +([a-zA-Z]+)|([a-zA-Z]+) +cubed\b", r"\1\2^3", text)
    text = re.sub(r"[a-zA-Z]+", lambda match: _SHORT.get(match[0], match[0]), text)
    text = re.sub(r"\s*\^\s*", "^", text)
    powers: dict[str, int] = {}
    factor = Fraction(1)
    below = False
    for mark, name, power in re.findall(r"(/)|([a-zA-Z%]+\.?)(?:\^(-?\d))?|\S", text):
        if mark:
            below = True
            continue
        known = _known(name.rstrip("."))
        if known is None:
            return None
        dimension, own, size = known
        times = (-1 if below else 1) * int(power or 1)
        powers[dimension] = powers.get(dimension, 0) + own * times
        factor *= size**times
    if not powers:
        return None
    return tuple(sorted((d, p) for d, p in powers.items() if p)), factor


def _known(name: str) -> tuple[str, int, Fraction] | None:
    for spelt in (name, name.lower()) if len(name) > 2 else (name,):
        if spelt in _BASE:
            return _BASE[spelt]
        if len(spelt) > 3 and spelt.endswith("s") and spelt[:-1] in _BASE:
            return _BASE[spelt[:-1]]
    return _BASE.get("lb") if name == "lbs" else _BASE.get(name[:-1]) if name == "hrs" else None


def are_other_things(gold: str, given: str) -> bool:
    """Whether what is counted is said of both and has no word in common: "red" and "blue"."""
    words = [
        set(re.findall(r"[a-z]{2,}", unit.replace("\\text", "").lower())) for unit in (gold, given)
    ]
    unknown = measure(gold) is None and measure(given) is None
    return unknown and bool(words[0]) and bool(words[1]) and not words[0] & words[1]


def is_percent(unit: str) -> bool:
    """Whether the unit is the hundredth."""
    found = measure(unit) if unit else None
    return found is not None and found[0] == (("percent", 1),)


def ratio(gold: str, given: str) -> Fraction | None:
    """By what a number in the unit ``given`` is multiplied to be one in ``gold``; None if it can
    be in no such unit. A unit that is not said, or is no measure ("apples"), is any.
    """
    if not gold or not given or gold == given:
        return Fraction(1)
    one, other = measure(gold), measure(given)
    if one is None or other is None:
        # Two short signs are units (J, kJ); longer words are things that are counted.
        signs = [re.sub(r"\\text|[^a-zA-Z]", "", unit) for unit in (gold, given)]
        short = max(map(len, signs)) <= 3
        return None if short and signs[0] != signs[1] else Fraction(1)
    return other[1] / one[1] if one[0] == other[0] else None
