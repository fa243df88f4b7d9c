"""Questions whose answer is a formula with names, an equation, a complex number or an infinity."""

import random

import sympy
from sympy import Integer, Symbol

from grading_corpus.judge import Question

x, y, t, n, a, b = sympy.symbols("x y t n a b")


def symbols(rng: random.Random) -> Question:
    """Formulas of several letters."""
    p, q = rng.randint(2, 9), rng.randint(2, 9)
    m, g, h, v0, r = sympy.symbols("m g h v_0 r", positive=True)
    rows = [
        (
            p * m * g / q,
            [
                f"\\frac{{{p}mg}}{{{q}}}",
                f"\\frac{{{p}}}{{{q}}}mg",
                f"\\frac{{{p}}}{{{q}}} m g",
                f"\\frac{{{p} g m}}{{{q}}}",
            ],
            [
                (f"\\frac{{{p}m}}{{{q}g}}", p * m / (q * g)),
                (f"\\frac{{{p + 1}mg}}{{{q}}}", (p + 1) * m * g / q),
                (f"\\frac{{{p}mg}}{{{q + 1}}}", p * m * g / (q + 1)),
                (f"\\frac{{{p}mh}}{{{q}}}", p * m * h / q),
                (f"{p}mg", p * m * g),
            ],
        ),
        (
            sympy.sqrt(2 * p * g * h),
            [
                f"\\sqrt{{{2 * p}gh}}",
                f"\\sqrt{{2 \\cdot {p} g h}}",
                f"({2 * p}gh)^{{1/2}}",
                f"\\sqrt{{{2 * p}hg}}",
            ],
            [
                (f"\\sqrt{{{p}gh}}", sympy.sqrt(p * g * h)),
                (f"{2 * p}gh", 2 * p * g * h),
                (f"\\sqrt{{\\frac{{{2 * p}g}}{{h}}}}", sympy.sqrt(2 * p * g / h)),
                (f"\\sqrt{{{2 * p}g}}h", sympy.sqrt(2 * p * g) * h),
            ],
        ),
        (
            p * sympy.pi * r**2,
            [f"{p}\\pi r^2", f"{p} \\pi r^{{2}}", f"{p}r^2\\pi", f"\\pi \\cdot {p} r^2"],
            [
                (f"{p}\\pi r", p * sympy.pi * r),
                (f"{p}\\pi r^3", p * sympy.pi * r**3),
                (f"{p + 1}\\pi r^2", (p + 1) * sympy.pi * r**2),
                (f"({p}\\pi r)^2", (p * sympy.pi * r) ** 2),
                (f"{p}\\pi", p * sympy.pi),
            ],
        ),
        (
            v0**2 / (p * g),
            [
                f"\\frac{{v_0^2}}{{{p}g}}",
                f"\\frac{{v_{{0}}^2}}{{{p}g}}",
                f"\\frac{{1}}{{{p}}}\\frac{{v_0^2}}{{g}}",
                f"v_0^2/({p}g)",
            ],
            [
                (f"\\frac{{v_0}}{{{p}g}}", v0 / (p * g)),
                (f"\\frac{{v_1^2}}{{{p}g}}", Symbol("v_1") ** 2 / (p * g)),
                (f"\\frac{{v_0^2}}{{{p + 1}g}}", v0**2 / ((p + 1) * g)),
                (f"\\frac{{{p}v_0^2}}{{g}}", p * v0**2 / g),
                (f"\\frac{{v_0^2g}}{{{p}}}", v0**2 * g / p),
            ],
        ),
        (
            2 ** (n - 1) * p,
            [
                f"{p}\\cdot 2^{{n-1}}",
                f"2^{{n-1}} \\cdot {p}",
                f"\\frac{{{p} \\cdot 2^n}}{{2}}",
                f"{p} \\times 2^{{n - 1}}",
            ],
            [
                (f"{p}\\cdot 2^{{n}}", p * 2**n),
                (f"{p}\\cdot 2^{{n-2}}", p * 2 ** (n - 2)),
                (f"{p}\\cdot 2^{{n}}-1", p * 2**n - 1),
                (f"{p}\\cdot 3^{{n-1}}", p * Integer(3) ** (n - 1)),
            ],
        ),
        (
            n * (n + 1) / 2,
            ["\\frac{n(n+1)}{2}", "\\frac{n^2+n}{2}", "\\frac{1}{2}n(n+1)", "\\binom{n+1}{2}"],
            [
                ("\\frac{n(n-1)}{2}", n * (n - 1) / 2),
                ("n(n+1)", n * (n + 1)),
                ("\\frac{n^2+1}{2}", (n**2 + 1) / 2),
                ("\\binom{n}{2}", n * (n - 1) / 2),
            ],
        ),
    ]
    v, right, wrong = rng.choice(rows)
    return Question("formula", right[0], v, [(s, v) for s in right] + wrong)


def named(rng: random.Random) -> Question:
    """Names that only a subscript tells apart."""
    one, other = rng.sample(
        [
            "max",
            "min",
            "red",
            "blue",
            "in",
            "out",
            "left",
            "right",
            "total",
            "net",
            "initial",
            "final",
        ],
        2,
    )
    letter, k = rng.choice(["f", "v", "\\lambda", "E", "T", "\\omega", "P"]), rng.randint(2, 9)
    s = {w: Symbol(f"{letter}_{w}", positive=True) for w in (one, other)}
    big = Symbol(f"{letter}_big", positive=True)
    spell = lambda w: rng.choice(
        [f"{letter}_{{\\text{{{w}}}}}", f"{letter}_{{\\mathrm{{{w}}}}}", f"{letter}_\\text{{{w}}}"]
    )
    gold = f"{letter}_{{\\text{{{one}}}}}"
    rows = [
        (gold, s[one], lambda w: spell(w), lambda w: s[w]),
        (f"{k}{gold}", k * s[one], lambda w: f"{k}{spell(w)}", lambda w: k * s[w]),
        (
            f"{gold}\\sqrt{{{k}}}",
            s[one] * sympy.sqrt(k),
            lambda w: f"\\sqrt{{{k}}}\\,{spell(w)}",
            lambda w: sympy.sqrt(k) * s[w],
        ),
        (
            f"\\frac{{{gold}}}{{{k}}}",
            s[one] / k,
            lambda w: f"\\frac{{1}}{{{k}}}{spell(w)}",
            lambda w: s[w] / k,
        ),
    ]
    text, v, write, value = rng.choice(rows)
    wrong = [
        (write(other), value(other)),
        (f"{gold}\\sqrt{{{k + 1}}}", s[one] * sympy.sqrt(k + 1)),
        (f"{k + 1}{gold}", (k + 1) * s[one]),
        (f"\\frac{{{gold}}}{{{k + 1}}}", s[one] / (k + 1)),
        (f"{gold}^2", s[one] ** 2),
        (f"{letter}_{{\\text{{{one}}}}} + {letter}_{{\\text{{{other}}}}}", s[one] + s[other]),
    ]
    del big
    return Question(
        "text subscript", text, v, [(text, v), (write(one), v), (write(one), v), *wrong]
    )


def lines(rng: random.Random) -> Question:
    """Equations of lines: the value is the equation's ratio of coefficients."""
    m, c = rng.choice([-1, 1]) * rng.randint(2, 9), rng.choice([-1, 1]) * rng.randint(1, 12)
    sign = lambda c: f"+ {c}" if c > 0 else f"- {-c}"
    value = lambda m, c: (Integer(m), Integer(c))
    v = value(m, c)
    right = [
        f"y = {m}x {sign(c)}",
        f"y={m}x{sign(c)}".replace(" ", ""),
        f"{m}x {sign(c)} = y",
        f"y = {c} {sign(m)}x",
        f"y {sign(-c)} = {m}x",
        f"{m}x - y {sign(c)} = 0",
        f"2y = {2 * m}x {sign(2 * c)}",
    ]
    wrong = [
        (f"y = {m + 1}x {sign(c)}", value(m + 1, c)),
        (f"y = {m}x {sign(-c)}", value(m, -c)),
        (f"y = {-m}x {sign(c)}", value(-m, c)),
        (f"y = {m}x {sign(c + 1) if c != -1 else '+ 1'}", value(m, c + 1 if c != -1 else 1)),
        (f"{m}x + y {sign(c)} = 0", value(-m, -c)),
    ]
    return Question(
        "equation of a line",
        right[0],
        v,
        [(r, v) for r in rng.sample(right, 5)] + rng.sample(wrong, 3),
    )


def circles(rng: random.Random) -> Question:
    h, k, r = rng.randint(1, 6), rng.randint(1, 6), rng.randint(2, 9)
    value = lambda h, k, rr: (Integer(h), Integer(k), Integer(rr))
    spell = lambda h, k, rr: (
        f"(x {'-' if h > 0 else '+'} {abs(h)})^2 + (y {'-' if k > 0 else '+'} {abs(k)})^2 = {rr}"
    )
    v = value(h, k, r * r)
    right = [
        spell(h, k, r * r),
        f"(x-{h})^2+(y-{k})^2-{r * r}=0",
        f"(y-{k})^2+(x-{h})^{{2}}={r * r}",
        f"(x-{h})^2 + (y-{k})^2 = {r}^2",
        f"x^2 + y^2 - {2 * h}x - {2 * k}y + {h * h + k * k - r * r} = 0".replace("+ -", "- "),
    ]
    wrong = [
        (spell(*w), value(*w))
        for w in [(-h, k, r * r), (h, -k, r * r), (h, k, r), (h, k, r * r + 1), (h + 1, k, r * r)]
    ]
    return Question("equation of a circle", right[0], v, [(s, v) for s in right] + wrong)


def chains(rng: random.Random) -> Question:
    """``x = 5`` is 5; a chain that is false is nothing."""
    k, d = rng.randint(3, 60), rng.randint(1, 9)
    letter = rng.choice(["x", "n", "a", "m", "S", "k"])
    v, nothing = Integer(k), "false"
    right = [
        f"{letter} = {k}",
        f"{letter}={k}",
        f"{letter} = {k * 2}/2 = {k}",
        f"{k - 1}+1={k}",
        f"{letter} = {k - 1} + 1 = {k}",
        f"{letter}_1 = {k}",
        f"{letter} = \\frac{{{3 * k}}}{{3}} = {k}",
    ]
    wrong = [
        (f"{letter} = {k} = {k + d}", nothing),
        (f"{letter} = {k + d} = {k}", nothing),
        (f"{k + d} = {k}", nothing),
        (f"{k} = {k + d}", nothing),
        (f"{letter} = {k + d}", Integer(k + d)),
        (f"{letter}=-{k}", Integer(-k)),
        (f"{k}+1={k}", nothing),
    ]
    return Question(
        "x = 5, chains", str(k), v, [(r, v) for r in rng.sample(right, 4)] + rng.sample(wrong, 5)
    )


def complexes(rng: random.Random) -> Question:
    p, q = rng.randint(1, 20), rng.randint(2, 20)
    v = p + q * sympy.I
    right = [
        f"{p} + {q}i",
        f"{p}+{q}i",
        f"{q}i + {p}",
        f"{p} + {q}\\mathrm{{i}}",
        f"{p} + i{q}",
        f"z = {p}+{q}i",
        f"{p}+{q}\\cdot i",
    ]
    wrong = [
        (f"{p} - {q}i", p - q * sympy.I),
        (f"{q} + {p}i", q + p * sympy.I),
        (f"{p} + {q + 1}i", p + (q + 1) * sympy.I),
        (f"-{p} + {q}i", -p + q * sympy.I),
        (f"{p}+{q}", Integer(p + q)),
        (f"{p}", Integer(p)),
        (f"{q}i", q * sympy.I),
    ]
    return Question(
        "complex number", right[0], v, [(r, v) for r in rng.sample(right, 5)] + rng.sample(wrong, 4)
    )


def infinities(rng: random.Random) -> Question:
    oo, k = sympy.oo, rng.randint(2, 99)
    if rng.random() < 0.5:
        return Question(
            "infinity",
            "\\infty",
            oo,
            [
                ("\\infty", oo),
                ("+\\infty", oo),
                ("∞", oo),
                ("-\\infty", -oo),
                (str(k), Integer(k)),
                ("0", Integer(0)),
            ],
        )
    nothing = "none"
    return Question(
        "infinity",
        str(k),
        Integer(k),
        [
            (s, nothing)
            for s in (
                "\\infty",
                "-\\infty",
                f"{k}\\infty",
                "\\pi\\infty",
                f"\\infty - {k}",
                f"{k} + \\infty",
                "\\frac{\\infty}{\\infty}",
                "\\infty - \\infty",
                f"\\frac{{{k}}}{{0}}",
                f"\\ln 0 + {k}",
            )
        ],
    )


FORMS = (symbols, symbols, named, lines, circles, chains, complexes, infinities)
