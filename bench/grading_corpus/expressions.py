"""Questions whose answer is an expression, an equation or a condition."""

import random

import sympy
from sympy import Rational, Symbol, cos, cosh, exp, log, sin, sinh, tan, tanh

from grading_corpus.judge import Question

x, y, t, n, a, b = sympy.symbols("x y t n a b")


def _poly(coefficients: list[int], name: str, order: list[int] | None = None) -> str:
    """Highest power first, or in another order of the powers."""
    text = ""
    powers = list(range(len(coefficients) - 1, -1, -1)) if order is None else order
    for power in powers:
        c = coefficients[power]
        if c == 0:
            continue
        body = {0: "", 1: name}.get(power, f"{name}^{{{power}}}")
        size = "" if abs(c) == 1 and power else str(abs(c))
        sign = "-" if c < 0 else "+" if text else ""
        text += f" {sign} {size}{body}" if text else f"{sign}{size}{body}"
    return text.strip()


def polynomials(rng: random.Random) -> Question:
    name = rng.choice(["x", "n", "t", "a", "\\theta", "k"])
    s = Symbol(name)
    cs = [rng.choice([-1, 1]) * rng.randint(1, 12) for _ in range(rng.randint(2, 4))]
    value = lambda cs, s=s: sum(c * s**p for p, c in enumerate(cs))
    v = value(cs)
    order = list(range(len(cs)))
    right = [
        _poly(cs, name),
        _poly(cs, name, order),
        _poly(cs, name).replace(" ", ""),
        f"({_poly(cs, name)})",
        f"y = {_poly(cs, name)}" if name != "y" else _poly(cs, name),
        _poly(cs, name, rng.sample(order, len(order))),
        f"-({_poly([-c for c in cs], name)})",
    ]
    if len(cs) > 2:
        tail = f"{'+' if cs[0] > 0 else '-'} {abs(cs[0])}"
        right += [_poly(cs, name).replace("^{2}", "^2"), f"{name}({_poly(cs[1:], name)}) {tail}"]
    at = rng.randrange(len(cs))
    near = [
        [c + (p == at) if c != -1 else c - (p == at) for p, c in enumerate(cs)],
        [-c if p == at else c for p, c in enumerate(cs)],
        [-c for c in cs],
        [0, *cs],
        [c if p != at else 0 for p, c in enumerate(cs)],
    ]
    wrong = [(_poly(w, name), value(w)) for w in near if any(w)]
    other = Symbol("z")
    wrong.append((_poly(cs, "z"), value(cs, other)))
    return Question(
        "polynomial",
        _poly(cs, name),
        v,
        [(r, v) for r in rng.sample(right, 5)] + rng.sample(wrong, 4),
    )


def factored(rng: random.Random) -> Question:
    p, q, k = rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 5)
    v = k * (x - p) * (x + q)
    head = "" if k == 1 else str(k)
    cs = [-k * p * q, k * (q - p), k]
    right = [
        f"{head}(x-{p})(x+{q})",
        f"{head}(x + {q})(x - {p})",
        _poly(cs, "x"),
        f"{head}({q}+x)(x-{p})",
        f"-{head}({p}-x)(x+{q})",
        f"{head}\\left(x-{p}\\right)\\left(x+{q}\\right)",
        f"{k}\\cdot (x-{p})\\cdot(x+{q})",
    ]
    wrong = [
        (f"{head}(x+{p})(x-{q})", k * (x + p) * (x - q)),
        (f"{head}(x-{p})(x-{q})", k * (x - p) * (x - q)),
        (f"{head}(x-{p + 1})(x+{q})", k * (x - p - 1) * (x + q)),
        (f"-{head}(x-{p})(x+{q})", -v),
        (f"{head}(x-{p})", k * (x - p)),
        (f"{k + 1}(x-{p})(x+{q})", (k + 1) * (x - p) * (x + q)),
    ]
    return Question(
        "factors", right[0], v, [(r, v) for r in rng.sample(right, 5)] + rng.sample(wrong, 4)
    )


def rational(rng: random.Random) -> Question:
    p = rng.randint(2, 9)
    v = p / (x * (x + p))
    right = [
        f"\\frac{{{p}}}{{x(x+{p})}}",
        f"\\frac{{1}}{{x}} - \\frac{{1}}{{x+{p}}}",
        f"\\frac{{{p}}}{{x^2+{p}x}}",
        f"{p}/(x(x+{p}))",
        f"\\frac{{{p}}}{{x}}\\cdot\\frac{{1}}{{x+{p}}}",
    ]
    wrong = [
        (f"\\frac{{1}}{{x(x+{p})}}", 1 / (x * (x + p))),
        (f"\\frac{{{p}}}{{x(x-{p})}}", p / (x * (x - p))),
        (f"\\frac{{1}}{{x}} + \\frac{{1}}{{x+{p}}}", 1 / x + 1 / (x + p)),
        (f"\\frac{{x(x+{p})}}{{{p}}}", 1 / v),
        (f"\\frac{{{p}}}{{x+{p}}}", p / (x + p)),
        (f"\\frac{{{p}}}{{x(x+{p + 1})}}", p / (x * (x + p + 1))),
    ]
    return Question(
        "rational function", right[0], v, [(r, v) for r in right] + rng.sample(wrong, 4)
    )


def functions(rng: random.Random) -> Question:
    """Trigonometric, hyperbolic, exponential and logarithmic identities with their near misses."""
    k = rng.randint(2, 9)
    rows = [
        (
            cos(2 * k * x),
            [
                f"\\cos {2 * k}x",
                f"2\\cos^2({k}x) - 1",
                f"1 - 2\\sin^2 ({k}x)",
                f"\\cos^2({k}x)-\\sin^2({k}x)",
                f"\\cos({2 * k}x)",
            ],
            [
                (f"2\\cos^2({k}x)+1", 2 * cos(k * x) ** 2 + 1),
                (f"\\sin({2 * k}x)", sin(2 * k * x)),
                (f"\\cos({2 * k + 1}x)", cos((2 * k + 1) * x)),
                (f"1-\\sin^2({k}x)", 1 - sin(k * x) ** 2),
                (f"-\\cos({2 * k}x)", -cos(2 * k * x)),
            ],
        ),
        (
            sin(2 * k * x),
            [
                f"\\sin({2 * k}x)",
                f"2\\sin({k}x)\\cos({k}x)",
                f"\\sin {2 * k}x",
                f"2\\cos({k}x)\\sin({k}x)",
            ],
            [
                (f"\\sin({k}x)\\cos({k}x)", sin(k * x) * cos(k * x)),
                (f"2\\sin({k}x)", 2 * sin(k * x)),
                (f"\\cos({2 * k}x)", cos(2 * k * x)),
                (f"\\sinh({2 * k}x)", sinh(2 * k * x)),
            ],
        ),
        (
            k * tan(x),
            [
                f"{k}\\tan x",
                f"{k}\\frac{{\\sin x}}{{\\cos x}}",
                f"\\frac{{{k}\\sin x}}{{\\cos x}}",
                f"{k}\\tan(x)",
            ],
            [
                (f"{k}\\cot x", k / tan(x)),
                (f"\\tan {k}x", tan(k * x)),
                (f"{k + 1}\\tan x", (k + 1) * tan(x)),
                (f"{k}\\tanh x", k * tanh(x)),
            ],
        ),
        (
            k * sinh(x),
            [
                f"{k}\\sinh x",
                f"{k}\\frac{{e^x-e^{{-x}}}}{{2}}",
                f"\\frac{{{k}}}{{2}}(e^{{x}}-e^{{-x}})",
                f"{k}\\sinh(x)",
                f"\\frac{{{k}e^x - {k}e^{{-x}}}}{{2}}",
            ],
            [
                (f"{k}\\cosh x", k * cosh(x)),
                (f"{k}\\frac{{e^x+e^{{-x}}}}{{2}}", k * cosh(x)),
                (f"{k}(e^x-e^{{-x}})", 2 * k * sinh(x)),
                (f"{k}\\sin x", k * sin(x)),
            ],
        ),
        (
            k * tanh(x),
            [
                f"{k}\\tanh x",
                f"{k}\\frac{{e^x-e^{{-x}}}}{{e^x+e^{{-x}}}}",
                f"\\frac{{{k}\\sinh x}}{{\\cosh x}}",
                f"{k}\\frac{{e^{{2x}}-1}}{{e^{{2x}}+1}}",
            ],
            [
                (f"{k}\\frac{{e^x+e^{{-x}}}}{{e^x-e^{{-x}}}}", k / tanh(x)),
                (f"{k}\\tan x", k * tan(x)),
                (f"{k}\\frac{{e^x-1}}{{e^x+1}}", k * tanh(x / 2)),
            ],
        ),
        (
            exp(x + k),
            [
                f"e^{{x+{k}}}",
                f"e^{{{k}}} e^x",
                f"\\exp(x+{k})",
                f"e^x \\cdot e^{k}",
                f"e^{{{k} + x}}",
            ],
            [
                (f"e^{{x-{k}}}", exp(x - k)),
                (f"e^{{{k}x}}", exp(k * x)),
                (f"e^x + e^{k}", exp(x) + exp(k)),
                (f"e^x+{k}", exp(x) + k),
                (f"{k}e^x", k * exp(x)),
            ],
        ),
        (
            k * exp(-2 * x),
            [
                f"{k}e^{{-2x}}",
                f"\\frac{{{k}}}{{e^{{2x}}}}",
                f"{k}\\exp(-2x)",
                f"{k} \\cdot e^{{-2 x}}",
            ],
            [
                (f"{k}e^{{2x}}", k * exp(2 * x)),
                (f"{k}e^{{-x}}", k * exp(-x)),
                (f"{k}e^{{-2}}x", k * exp(-2) * x),
                (f"-{k}e^{{-2x}}", -k * exp(-2 * x)),
            ],
        ),
        (
            k * log(2),
            [
                f"{k}\\ln 2",
                f"\\ln {2**k}",
                f"\\ln(2^{{{k}}})",
                f"{k} \\ln(2)",
                f"-{k}\\ln\\frac{{1}}{{2}}",
                f"\\ln 2^{{{k}}}",
            ],
            [
                (f"{k}\\ln 3", k * log(3)),
                (f"\\ln {2 * k}", log(2 * k)),
                (f"(\\ln 2)^{{{k}}}", log(2) ** k),
                (f"{k + 1}\\ln 2", (k + 1) * log(2)),
                (f"-{k}\\ln 2", -k * log(2)),
                (f"\\frac{{\\ln 2}}{{{k}}}", log(2) / k),
            ],
        ),
        (
            log(Rational(k + 1, k)),
            [
                f"\\ln\\frac{{{k + 1}}}{{{k}}}",
                f"\\ln {k + 1} - \\ln {k}",
                f"\\ln\\left(\\frac{{{k + 1}}}{{{k}}}\\right)",
                f"-\\ln\\frac{{{k}}}{{{k + 1}}}",
            ],
            [
                (f"\\ln {k + 1} + \\ln {k}", log(k * (k + 1))),
                (f"\\frac{{\\ln {k + 1}}}{{\\ln {k}}}", log(k + 1) / log(k)),
                (f"\\ln\\frac{{{k}}}{{{k + 1}}}", -log(Rational(k + 1, k))),
                (f"\\ln\\frac{{{k + 2}}}{{{k}}}", log(Rational(k + 2, k))),
            ],
        ),
        (
            log(k + 1) / log(2),
            [
                f"\\log_2 {k + 1}",
                f"\\log_{{2}}({k + 1})",
                f"\\frac{{\\ln {k + 1}}}{{\\ln 2}}",
                f"\\log_2{{{k + 1}}}",
            ],
            [
                (f"\\log_3 {k + 1}", log(k + 1) / log(3)),
                (f"\\log_2 {k + 2}", log(k + 2) / log(2)),
                (f"\\log_{{{k + 1}}} 2", log(2) / log(k + 1)),
                (f"\\ln {k + 1}", log(k + 1)),
            ],
        ),
        (
            cos(sympy.pi / (k + 2)),
            [
                f"\\cos\\frac{{\\pi}}{{{k + 2}}}",
                f"\\cos(\\pi/{k + 2})",
                f"\\cos\\left(\\frac{{\\pi}}{{{k + 2}}}\\right)",
                f"\\sin\\left(\\frac{{\\pi}}{{2}}-\\frac{{\\pi}}{{{k + 2}}}\\right)",
            ],
            [
                (f"\\cos\\frac{{\\pi}}{{{k + 3}}}", cos(sympy.pi / (k + 3))),
                (f"\\sin\\frac{{\\pi}}{{{k + 2}}}", sin(sympy.pi / (k + 2))),
                (f"-\\cos\\frac{{\\pi}}{{{k + 2}}}", -cos(sympy.pi / (k + 2))),
                (f"\\cos\\frac{{1}}{{{k + 2}}}", cos(Rational(1, k + 2))),
            ],
        ),
        (
            sympy.atan(Rational(1, k)),
            [
                f"\\arctan\\frac{{1}}{{{k}}}",
                f"\\tan^{{-1}}\\frac{{1}}{{{k}}}",
                f"\\arctan(1/{k})",
                f"\\tan^{{-1}}\\left(\\frac{{1}}{{{k}}}\\right)",
            ],
            [
                (f"\\arctan {k}", sympy.atan(k)),
                (f"\\arcsin\\frac{{1}}{{{k}}}", sympy.asin(Rational(1, k))),
                (f"\\tan\\frac{{1}}{{{k}}}", tan(Rational(1, k))),
                (f"-\\arctan\\frac{{1}}{{{k}}}", -sympy.atan(Rational(1, k))),
            ],
        ),
    ]
    v, right, wrong = rng.choice(rows)
    kind = (
        "trigonometric"
        if v.has(cos, sin, tan, sympy.atan)
        else "hyperbolic"
        if v.has(sinh, tanh)
        else "exponential, logarithm"
    )
    return Question(kind, right[0], v, [(r, v) for r in right] + wrong)


FORMS = (polynomials, factored, rational, functions, functions, functions)
