"""Questions whose answer is a number: integers, decimals, fractions, powers of ten, roots, units."""

import random
from fractions import Fraction

import sympy
from sympy import Integer, Rational

from grading_corpus.judge import Question

MINUS = "−"


def _signed(value: int | Rational, text: str) -> str:
    return f"-{text}" if value < 0 else text


def integers(rng: random.Random) -> Question:
    size = 10 ** rng.randint(0, 14)
    n = rng.choice([1, 1, -1]) * rng.randint(size, 10 * size - 1)
    digits = f"{abs(n):,}"
    right = [str(n), f"{n}.0", f"{n:,}", f"x={n}", f"x = {n}", f"\\mathbf{{{n}}}", f"\\text{{{n}}}"]
    for space in ("{,}", "\\,", ",\\!", " ", "\u2009", "\u202f", "~", "\\ "):
        right.append(_signed(n, digits.replace(",", space)))
    if n < 0:
        right += [f"{MINUS}{-n}", f"-\\,{-n}", f"- {-n}"]
    wrong = [n + 1, n - 1, -n, 10 * n, n + size, n * 1000]
    return Question(
        "integer",
        str(n),
        Integer(n),
        [(t, Integer(n)) for t in rng.sample(right, 5)]
        + [
            (rng.choice([str(w), f"{w:,}", f"{w:,}".replace(",", "{,}")]), Integer(w))
            for w in rng.sample(wrong, 3)
        ],
    )


def powers_of_ten(rng: random.Random) -> Question:
    e = rng.choice([-1, 1]) * rng.randint(2, 30)
    m = Rational(rng.randint(101, 999), 100) * rng.choice([1, 1, -1])
    spell = lambda m, e: rng.choice(
        [
            f"{decimal(m)} \\times 10^{{{e}}}",
            f"{decimal(m)} \\cdot 10^{{{e}}}",
            f"{decimal(m)}\\times10^{{{e}}}",
            f"{decimal(m)} × 10^{{{e}}}",
            f"{decimal(m)}\\,\\times\\,10^{{{e}}}",
            f"{decimal(m)}e{e}",
            f"{decimal(m)} \\times {{10}}^{{{e}}}",
            f"{decimal(m)}E{e}",
        ]
    )
    value = lambda m, e: m * Rational(10) ** e
    right = [(spell(m, e), value(m, e)) for _ in range(3)]
    right += [(spell(m * 10, e - 1), value(m, e)), (spell(m / 100, e + 2), value(m, e))]
    right.append((decimal(value(m, e)), value(m, e)))
    if e < 0:
        right.append((f"\\frac{{{decimal(m)}}}{{10^{{{-e}}}}}", value(m, e)))
    near = [(m, e + 1), (m, e - 1), (m, -e), (-m, e), (m + Rational(1, 100), e), (2 * m, e)]
    wrong = [(spell(*w), value(*w)) for w in rng.sample(near, 4)]
    wrong.append((decimal(value(m, e + 1)), value(m, e + 1)))
    gold = rng.choice([f"{decimal(m)} \\times 10^{{{e}}}", decimal(value(m, e))])
    return Question("power of ten", gold, value(m, e), right + wrong)


def decimal(value: Rational) -> str:
    """All digits of a number that has finitely many."""
    top, bottom, places = abs(value.p), value.q, 0
    while top % bottom:
        top, places = top * 10, places + 1
    digits = str(top // bottom).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return _signed(value, text)


def fractions(rng: random.Random) -> Question:
    q = rng.randint(2, 60)
    v = Rational(rng.randint(1, 99), q) * rng.choice([1, 1, -1])
    while v.q == 1:
        v = Rational(rng.randint(1, 99), rng.randint(2, 60))
    p, q = v.p, v.q
    right = [
        f"\\frac{{{p}}}{{{q}}}",
        f"\\dfrac{{{p}}}{{{q}}}",
        f"{p}/{q}",
        f"\\tfrac{{{p}}}{{{q}}}",
        f"\\frac{{{3 * p}}}{{{3 * q}}}",
        _signed(p, f"\\frac{{{abs(p)}}}{{{q}}}"),
        f"\\left(\\frac{{{p}}}{{{q}}}\\right)",
        f"\\displaystyle \\frac{{{p}}}{{{q}}}",
        f"{{{p}}}/{{{q}}}",
        f"x = \\frac{{{p}}}{{{q}}}",
        f"\\frac{{{-p}}}{{{-q}}}",
        f"\\frac{{ {p} }}{{ {q} }}",
        f"{_signed(p, f'{abs(p)}')} / {q}",
        f"\\cfrac{{{p}}}{{{q}}}",
    ]
    if 0 < p < 10 and q < 10:
        right += [f"\\frac{p}{q}", f"\\frac {p} {q}", f"\\frac{p}{{{q}}}"]
    if p < 0:
        right += [
            f"{MINUS}\\frac{{{-p}}}{{{q}}}",
            f"\\frac{{{-p}}}{{{-q}}}",
            f"\\frac{{{-p}}}{{-{q}}}",
        ]
    if not set(sympy.primefactors(q)) - {2, 5} and q < 20:
        right += [decimal(v), f"{decimal(v)}0"]
    wrong = [Rational(p + 1, q), Rational(p, q + 1), -v, Rational(q, p), Rational(p, q) + 1, v / 10]
    return Question(
        "fraction",
        f"\\frac{{{p}}}{{{q}}}",
        v,
        [(t, v) for t in rng.sample(right, 6)]
        + [
            (rng.choice([f"\\frac{{{w.p}}}{{{w.q}}}", f"{w.p}/{w.q}"]), w)
            for w in rng.sample(wrong, 4)
        ],
    )


def mixed(rng: random.Random) -> Question:
    b, c = rng.choice([(1, 2), (1, 3), (2, 3), (3, 4), (4, 5), (5, 8), (7, 11), (5, 6)])
    a = rng.randint(1, 12)
    sign = rng.choice([1, 1, -1])
    v = sign * Rational(a * c + b, c)
    s = "-" if sign < 0 else ""
    right = [
        f"{s}{a}\\frac{{{b}}}{{{c}}}",
        f"{s}{a} \\frac{{{b}}}{{{c}}}",
        f"{s}{a}\\,\\frac{{{b}}}{{{c}}}",
        f"{s}{a}\\tfrac{{{b}}}{{{c}}}",
        f"{s}{a} {b}/{c}",
        f"{s}{a}\\dfrac{{{b}}}{{{c}}}",
        f"{s}\\frac{{{a * c + b}}}{{{c}}}",
        f"{s}{a}\\ \\frac{{{b}}}{{{c}}}",
    ]
    if sign > 0:
        right += [f"{a}+\\frac{{{b}}}{{{c}}}", f"{a} + {b}/{c}"]
    wrong = [
        (f"{s}\\frac{{{a * b}}}{{{c}}}", sign * Rational(a * b, c)),
        (f"{s}{a + 1}\\frac{{{b}}}{{{c}}}", sign * Rational((a + 1) * c + b, c)),
        (f"{s}{a}\\frac{{{b}}}{{{c + 1}}}", sign * Rational(a * (c + 1) + b, c + 1)),
        (f"{s}{a} \\cdot \\frac{{{b}}}{{{c}}}", sign * Rational(a * b, c)),
        (f"{s}\\frac{{{a * c + b + 1}}}{{{c}}}", sign * Rational(a * c + b + 1, c)),
        (f"{s}{a}", sign * Integer(a)),
        (f"{'' if s else '-'}{a}\\frac{{{b}}}{{{c}}}", -v),
    ]
    golds = [f"{s}\\frac{{{a * c + b}}}{{{c}}}", f"{s}{a}\\frac{{{b}}}{{{c}}}"]
    return Question(
        "mixed number",
        rng.choice(golds),
        v,
        [(t, v) for t in rng.sample(right, 5)] + rng.sample(wrong, 4),
    )


def decimals(rng: random.Random) -> Question:
    places = rng.randint(1, 5)
    v = Rational(rng.choice([1, 1, -1]) * rng.randint(1, 10 ** rng.randint(1, 7)), 10**places)
    unit = Rational(1, 10**places)
    text = decimal(v)
    right = [
        text,
        f"{text}0" if "." in text else f"{text}.0",
        f"x={text}",
        f"\\frac{{{v.p}}}{{{v.q}}}",
        f"\\text{{{text}}}",
        f"\\mathrm{{{text}}}",
        f"${text}$",
    ]
    if abs(v) < 1:
        right += [text.replace("0.", ".", 1)] * 2
    if v < 0:
        right += [text.replace("-", MINUS), text.replace("-", "- ")]
    wrong = [v + unit, v - unit, -v, v * 10, v / 10, v + 1, v + 10 * unit]
    return Question(
        "decimal",
        text,
        v,
        [(t, v) for t in rng.sample(right, 5)] + [(decimal(w), w) for w in rng.sample(wrong, 4)],
    )


def repeating(rng: random.Random) -> Question:
    period = str(rng.randint(1, 9)) if rng.random() < 0.4 else f"{rng.randint(10, 98)}"
    before = rng.choice(["", "", "1", "0", "25"])
    whole = rng.randint(0, 12)

    def value(before: str, period: str) -> Rational:
        f = Fraction(
            int(before + period) - int(before or 0), 10 ** len(before) * (10 ** len(period) - 1)
        )
        return whole + Rational(f.numerator, f.denominator)

    def spell(before: str, period: str) -> str:
        marks = [f"\\overline{{{period}}}", f"\\bar{{{period}}}", f"\\overline {{{period}}}"]
        if len(period) == 1:
            marks += [f"\\dot{{{period}}}", f"\\overline{period}"]
        return f"{whole}.{before}{rng.choice(marks)}"

    v = value(before, period)
    right = [
        spell(before, period),
        spell(before, period),
        f"\\frac{{{v.p}}}{{{v.q}}}",
        spell(before, period * 2),
        f"{v.p}/{v.q}",
    ]
    near = [
        (before + period[0], period),
        ("0" + before, period),
        (before, period[::-1]),
        (before, str(int(period) % 98 + 1)),
        (before, period + "0"),
    ]
    wrong = [(spell(*w), value(*w)) for w in near]
    wrong += [
        (
            f"{whole}.{before}{period}",
            whole + Rational(int(before + period), 10 ** len(before + period)),
        )
    ]
    golds = [f"{whole}.{before}\\overline{{{period}}}", f"\\frac{{{v.p}}}{{{v.q}}}"]
    return Question("repeating decimal", rng.choice(golds), v, [(t, v) for t in right] + wrong)


FORMS = (integers, powers_of_ten, fractions, mixed, decimals, repeating)
