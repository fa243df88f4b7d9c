"""Questions whose answer is a number with a sign behind it: a percent, a unit, money, a base."""

import random

import sympy
from sympy import Rational, Symbol

from grading_corpus.judge import Question
from grading_corpus.numbers import decimal

MINUS = "−"


def percents(rng: random.Random) -> Question:
    v = Rational(rng.randint(11, 995), rng.choice([1, 10, 10, 100]))
    share = Symbol("percent")
    right = [
        f"{decimal(v)}\\%",
        f"{decimal(v)} \\%",
        f"{decimal(v)}\\,\\%",
        f"{decimal(v)}%",
        f"{decimal(v)}\\text{{ percent}}",
        f"{decimal(v)}~\\%",
        f"{decimal(v)}\\mathrm{{\\%}}",
        f"{decimal(v)} percent",
    ]
    wrong = [v + Rational(1, 10), v * 10, v / 10, -v, v + 1]
    return Question(
        "percent",
        f"{decimal(v)}\\%",
        v * share,
        [(t, v * share) for t in rng.sample(right, 5)]
        + [(f"{decimal(w)}\\%", w * share) for w in rng.sample(wrong, 3)],
    )


_UNITS = {  # Name: (kind, size, spellings).
    "km": ("m", 1000, ["km", "kilometers", "kilometres"]),
    "m": ("m", 1, ["m", "meters", "metres"]),
    "cm": ("m", Rational(1, 100), ["cm", "centimeters"]),
    "kg": ("g", 1000, ["kg", "kilograms"]),
    "g": ("g", 1, ["g", "grams"]),
    "hours": ("s", 3600, ["hours", "h"]),
    "minutes": ("s", 60, ["minutes", "min"]),
    "seconds": ("s", 1, ["seconds", "s"]),
    "mm": ("m", Rational(1, 1000), ["mm", "millimeters"]),
    "L": ("l", 1, ["L", "liters", "litres"]),
    "mL": ("l", Rational(1, 1000), ["mL", "milliliters"]),
}


def units(rng: random.Random) -> Question:
    name = rng.choice(sorted(_UNITS))
    kind, size, spellings = _UNITS[name]
    n = rng.randint(2, 400)
    value = lambda n, unit: n * _UNITS[unit][1] * Symbol(_UNITS[unit][0])
    spell = lambda n, unit: rng.choice(
        [
            f"{n} \\text{{ {unit}}}",
            f"{n}\\text{{ {unit}}}",
            f"{n}\\,\\text{{{unit}}}",
            f"{n}\\ \\mathrm{{{unit}}}",
            f"{n}\\,\\mathrm{{{unit}}}",
            f"{n} {unit}",
            f"{n}~\\text{{{unit}}}",
            f"{n}\u2009\\text{{{unit}}}",
            f"{n}\\;\\textrm{{{unit}}}",
            f"{n}\u202f{unit}",
        ]
    )
    v = value(n, name)
    right = [(spell(n, rng.choice(spellings)), v) for _ in range(4)]
    smaller = [u for u, (k, s, _) in _UNITS.items() if k == kind and s < size]
    right += [(spell(int(n * size / _UNITS[u][1]), u), v) for u in smaller[:2]]
    others = rng.sample([u for u in sorted(_UNITS) if u != name], 3)
    wrong = [(spell(n, u), value(n, u)) for u in others]
    wrong += [(spell(n + 1, name), value(n + 1, name)), (spell(n * 10, name), value(n * 10, name))]
    return Question("unit", f"{n} \\text{{ {name}}}", v, right + wrong)


def compound_units(rng: random.Random) -> Question:
    n = rng.randint(2, 90)
    m, s = Symbol("m"), Symbol("s")
    rows = [
        (
            m**2 / 10**4,
            [
                "\\text{ cm}^2",
                "\\,\\mathrm{cm}^{2}",
                "\\text{ square centimeters}",
                "\\ \\text{cm}^2",
                "\\text{ cm}^{2}",
            ],
        ),
        (m**2, ["\\text{ m}^2", "\\,\\mathrm{m^2}", "\\text{ square meters}", "\\, \\text{m}^{2}"]),
        (m**3, ["\\text{ m}^3", "\\,\\mathrm{m}^{3}", "\\text{ cubic meters}"]),
        (m**3 / 10**6, ["\\text{ cm}^3", "\\,\\mathrm{cm}^{3}", "\\text{ cubic centimeters}"]),
        (1000 * m / (3600 * s), ["\\text{ km/h}", "\\,\\mathrm{km/h}", "\\ \\text{km/h}"]),
        (m / s, ["\\text{ m/s}", "\\,\\mathrm{m/s}", "\\ \\mathrm{m/s}"]),
    ]
    at = rng.randrange(len(rows))
    unit, spellings = rows[at]
    answers = [(f"{n}{t}", n * unit) for t in spellings]
    answers += [(f"{n}{rng.choice(t)}", n * u) for other, (u, t) in enumerate(rows) if other != at]
    answers.append((f"{n + 1}{spellings[0]}", (n + 1) * unit))
    return Question("area, volume, speed", f"{n}{spellings[0]}", n * unit, answers)


def money(rng: random.Random) -> Question:
    v = Rational(rng.randint(100, 999999), rng.choice([1, 100]))
    dollar, euro = Symbol("dollar"), Symbol("euro")
    whole, _, cents = decimal(v).partition(".")
    text = f"{whole}.{cents.ljust(2, '0')}" if cents else whole
    grouped = f"{int(whole):,}" + text[len(whole) :]
    right = [
        f"\\${text}",
        f"\\${grouped}",
        f"\\$ {text}",
        f"\\text{{\\${text}}}",
        f"\\$\\,{text}",
        f"\\${grouped.replace(',', '{,}')}",
        f"{text}\\text{{ dollars}}",
        f"\\${text}\\text{{ dollars}}",
    ]
    wrong = [
        (f"\\${decimal(v * 10)}", v * 10),
        (f"\\${decimal(v + 1)}", v + 1),
        (f"\\${decimal(v / 100)}", v / 100),
        (f"{decimal(v + 10)}\\text{{ dollars}}", v + 10),
    ]
    return Question(
        "money",
        f"\\${text}",
        v * dollar,
        [(t, v * dollar) for t in rng.sample(right, 5)]
        + [(t, w * dollar) for t, w in rng.sample(wrong, 3)]
        + [(f"€{text}", v * euro)],
    )


def angles(rng: random.Random) -> Question:
    n = rng.randint(5, 350)
    spell = lambda n: rng.choice(
        [
            f"{n}^\\circ",
            f"{n}^{{\\circ}}",
            f"{n}°",
            f"{n}\\text{{ degrees}}",
            f"{n} ^ \\circ",
            f"{n}\\degree",
            f"{n}^{{\\circ }}",
            f"\\theta = {n}^\\circ",
            f"{n}\\,^\\circ",
        ]
    )
    degree = Symbol("degree")
    return Question(
        "degree",
        f"{n}^\\circ",
        n * degree,
        [(spell(n), n * degree) for _ in range(5)]
        + [
            (spell(w), w * degree)
            for w in rng.sample([n + 1, n * 10, -n, 180 - n if n != 90 else 91, n - 1], 3)
        ],
    )


def bases(rng: random.Random) -> Question:
    b = rng.randint(2, 9)
    digits = [rng.randint(1, b - 1)] + [rng.randrange(b) for _ in range(rng.randint(2, 6))]
    text = "".join(map(str, digits))
    value = lambda text, b: sympy.Tuple(int(text, b), b)
    spell = lambda t, b: rng.choice(
        [f"{t}_{b}", f"{t}_{{{b}}}", f"{t}_ {b}", f"{{{t}}}_{{{b}}}", f"({t})_{{{b}}}"]
    )
    at = rng.randrange(1, len(text))
    changed = f"{text[:at]}{(digits[at] + 1) % b}{text[at + 1 :]}"
    swapped = text[::-1]
    wrong = [
        (spell(text, b + 1), value(text, b + 1)),
        (spell(changed, b), value(changed, b)),
        (f"{text}_{{{b + 2}}}", value(text, b + 2) if b + 2 <= 10 else value(text, 10)),
        (text + f"0_{b}", value(text + "0", b)),
    ]
    if swapped[0] != "0":
        wrong.append((spell(swapped, b), value(swapped, b)))
    return Question(
        "base",
        f"{text}_{{{b}}}" if rng.random() < 0.5 else f"{text}_{b}",
        tuple(value(text, b)),
        [(spell(text, b), tuple(value(text, b))) for _ in range(4)]
        + [(t, tuple(v)) for t, v in wrong],
    )


FORMS = (percents, units, compound_units, money, angles, bases)
