"""Questions whose answer is a number with a root, a power, a factorial or pi."""

import random

import sympy
from sympy import Integer, Rational, factorial, pi, sqrt

from grading_corpus.judge import Question

MINUS = "−"


def roots(rng: random.Random) -> Question:
    a, b = rng.randint(2, 12), rng.choice([2, 3, 5, 6, 7, 10, 11])
    v = a * sqrt(b)
    right = [
        f"{a}\\sqrt{{{b}}}",
        f"\\sqrt{{{a * a * b}}}",
        f"\\sqrt{{{b}}}\\cdot {a}",
        f"{a} \\cdot \\sqrt{{{b}}}",
        f"{a}\\cdot {b}^{{1/2}}",
        f"{a}\\times {b}^{{\\frac{{1}}{{2}}}}",
        f"{a}\\,\\sqrt{{{b}}}",
        f"\\frac{{{a * b}}}{{\\sqrt{{{b}}}}}",
        f"{a}\\sqrt[2]{{{b}}}",
        f"{a}√{b}",
        f"{a} \\sqrt {{{b}}}",
    ] + ([f"{a}\\sqrt{b}", f"{a}\\sqrt {b}"] if b < 10 else [])
    wrong = [
        (f"{a + 1}\\sqrt{{{b}}}", (a + 1) * sqrt(b)),
        (f"{a}\\sqrt{{{b + 1}}}", a * sqrt(b + 1)),
        (f"{a * b}", Integer(a * b)),
        (f"-{a}\\sqrt{{{b}}}", -v),
        (f"{a}\\sqrt[3]{{{b}}}", a * sympy.cbrt(b)),
        (f"\\sqrt{{{a * b}}}", sqrt(a * b)),
        (f"\\frac{{{a}}}{{\\sqrt{{{b}}}}}", a / sqrt(b)),
        (f"{a}+\\sqrt{{{b}}}", a + sqrt(b)),
        (f"\\sqrt[{a}]{{{b}}}", Integer(b) ** Rational(1, a)),
        (f"\\sqrt{{{a * a * b + 1}}}", sqrt(a * a * b + 1)),
    ]
    return Question(
        "root",
        f"{a}\\sqrt{{{b}}}",
        v,
        [(t, v) for t in rng.sample(right, 5)] + rng.sample(wrong, 4),
    )


def surds(rng: random.Random) -> Question:
    a, b, c = rng.randint(1, 9), rng.choice([2, 3, 5, 7]), rng.randint(2, 6)
    v = (a + sqrt(b)) / c
    right = [
        f"\\frac{{{a} + \\sqrt{{{b}}}}}{{{c}}}",
        f"\\frac{{\\sqrt{{{b}}}+{a}}}{{{c}}}",
        f"\\frac{{1}}{{{c}}}({a}+\\sqrt{{{b}}})",
        f"\\frac{{{a}}}{{{c}}}+\\frac{{\\sqrt{{{b}}}}}{{{c}}}",
        f"({a}+\\sqrt{b})/{c}",
    ]
    wrong = [
        (f"\\frac{{{a} - \\sqrt{{{b}}}}}{{{c}}}", (a - sqrt(b)) / c),
        (f"{a}+\\frac{{\\sqrt{{{b}}}}}{{{c}}}", a + sqrt(b) / c),
        (f"\\frac{{{a} + \\sqrt{{{b + 1}}}}}{{{c}}}", (a + sqrt(b + 1)) / c),
        (f"\\frac{{{a} + {b}}}{{{c}}}", Rational(a + b, c)),
        (f"\\frac{{{a} + \\sqrt{{{b}}}}}{{{c + 1}}}", (a + sqrt(b)) / (c + 1)),
        (f"\\frac{{\\sqrt{{{a} + {b}}}}}{{{c}}}", sqrt(a + b) / c),
    ]
    return Question("sum with a root", right[0], v, [(t, v) for t in right] + rng.sample(wrong, 4))


def factorials(rng: random.Random) -> Question:
    n, k = rng.randint(5, 30), rng.randint(2, 4)
    kind = rng.randrange(3)
    if kind == 0:
        f = lambda n: (f"{n}!", factorial(n))
        right = [
            f(n),
            (f"{n} \\cdot {n - 1}!", factorial(n)),
            (f"{n}\\times ({n - 1})!", factorial(n)),
            (str(factorial(n)), factorial(n)),
        ]
        wrong = [
            f(n + 1),
            f(n - 1),
            (str(n), Integer(n)),
            (str(factorial(n) + 1), factorial(n) + 1),
            (f"{n} \\cdot {n - 2}!", n * factorial(n - 2)),
        ]
    elif kind == 1:
        f = lambda n: (f"\\frac{{1}}{{{n}!}}", 1 / factorial(n))
        right = [
            f(n),
            (f"1/{n}!", 1 / factorial(n)),
            (f"\\frac{{{n + 1}}}{{{n + 1}!}}", 1 / factorial(n)),
            (f"\\frac{{1}}{{{n} \\cdot {n - 1}!}}", 1 / factorial(n)),
        ]
        wrong = [
            f(n + 1),
            f(n - 1),
            f(n + 2),
            (f"\\frac{{2}}{{{n}!}}", 2 / factorial(n)),
            (f"\\frac{{1}}{{{n}}}", Rational(1, n)),
        ]
    else:
        v = sympy.binomial(n, k)
        right = [
            (f"\\binom{{{n}}}{{{k}}}", v),
            (f"\\binom{{{n}}}{{{n - k}}}", v),
            (str(v), v),
            (f"\\frac{{{n}!}}{{{k}!{n - k}!}}", v),
            (f"{{{n} \\choose {k}}}", v),
            (f"\\dbinom{{{n}}}{{{k}}}", v),
        ]
        wrong = [
            (f"\\binom{{{n + 1}}}{{{k}}}", sympy.binomial(n + 1, k)),
            (f"\\binom{{{n}}}{{{k + 1}}}", sympy.binomial(n, k + 1)),
            (str(v + 1), v + 1),
            (f"\\frac{{{n}}}{{{k}}}", Rational(n, k)),
            (f"\\frac{{{n}!}}{{{k}!}}", factorial(n) / factorial(k)),
        ]
    return Question("factorial, binomial", right[0][0], right[0][1], right + rng.sample(wrong, 4))


def powers(rng: random.Random) -> Question:
    b, e = rng.choice([2, 3, 5, 7, 10, 12]), rng.randint(4, 120)
    spell = lambda b, e: (
        rng.choice([f"{b}^{{{e}}}", f"{b}^ {{{e}}}", f"({b})^{{{e}}}", f"{{{b}}}^{{{e}}}"]),
        Integer(b) ** e,
    )
    v = Integer(b) ** e
    right = [
        spell(b, e),
        (f"{b}\\cdot {b}^{{{e - 1}}}", v),
        (f"{b}^{{{e - 3}}} \\times {b**3}", v),
        (f"\\frac{{{b}^{{{e + 1}}}}}{{{b}}}", v),
    ]
    if e < 60:
        right.append((str(v), v))
    wrong = [
        spell(b, e + 1),
        spell(b, e - 1),
        spell(b + 1, e),
        (f"{b}^{{-{e}}}", 1 / v),
        (f"{b}^{{{e}}} - 1", v - 1),
        (f"-{b}^{{{e}}}", -v),
        (f"{b}^{{{e}}} + 1", v + 1),
        (f"{b * e}", Integer(b * e)),
    ]
    return Question("power", f"{b}^{{{e}}}", v, right + rng.sample(wrong, 5))


def with_pi(rng: random.Random) -> Question:
    p, q = rng.randint(1, 11), rng.randint(2, 12)
    v = Rational(p, q)
    p, q = v.p, v.q
    top = "" if p == 1 else str(p)
    right = [
        f"\\frac{{{top}\\pi}}{{{q}}}",
        f"\\frac{{{p}}}{{{q}}}\\pi",
        f"{top}\\pi/{q}",
        f"\\dfrac{{{top} \\pi}}{{{q}}}",
        f"\\frac{{\\pi \\cdot {p}}}{{{q}}}",
        f"\\frac{{{p}}}{{{q}}} \\cdot \\pi",
        f"\\frac{{{2 * p}\\pi}}{{{2 * q}}}",
        f"\\frac{{{top}π}}{{{q}}}",
    ]
    wrong = [
        (f"\\frac{{{p + 1}\\pi}}{{{q}}}", Rational(p + 1, q) * pi),
        (f"-\\frac{{{top}\\pi}}{{{q}}}", -v * pi),
        (f"\\frac{{{p}}}{{{q}}}", v),
        (f"\\frac{{{top}\\pi}}{{{q + 1}}}", Rational(p, q + 1) * pi),
        (f"\\frac{{{p}}}{{{q}\\pi}}", v / pi),
        (f"\\frac{{{top}\\pi^2}}{{{q}}}", v * pi**2),
    ]
    return Question(
        "multiple of pi",
        f"\\frac{{{top}\\pi}}{{{q}}}",
        v * pi,
        [(t, v * pi) for t in rng.sample(right, 5)] + rng.sample(wrong, 4),
    )


FORMS = (roots, surds, factorials, powers, with_pi)
