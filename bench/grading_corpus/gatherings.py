"""Questions whose answer gathers several values: sets, intervals, tuples, matrices, cases, boxes."""

import random

import sympy
from sympy import FiniteSet, Integer, Interval, Matrix, Rational, Union, oo

from grading_corpus.judge import Question

ROW = " \\\\ "


def _some(rng: random.Random, count: int) -> list[int]:
    return rng.sample([v for v in range(-20, 60) if v], count)


def sets(rng: random.Random) -> Question:
    items = _some(rng, rng.randint(2, 5))
    spell = lambda items, o="\\{", c="\\}": f"{o}{', '.join(map(str, items))}{c}"
    v = FiniteSet(*items)
    shuffled = rng.sample(items, len(items))
    right = [
        spell(items),
        spell(shuffled),
        spell(shuffled, "\\left\\{", "\\right\\}"),
        spell(items, "\\{ ", " \\}"),
        spell(shuffled, "\\lbrace ", "\\rbrace"),
        spell(items).replace(", ", ","),
        spell([*items, items[0]]),
        f"A = {spell(shuffled)}",
        spell(items, "\\bigl\\{", "\\bigr\\}"),
    ]
    at = rng.randrange(len(items))
    near = [
        items[:at] + items[at + 1 :],
        [w + 71 * (p == at) for p, w in enumerate(items)],
        [*items, 77],
        [w * (-1 if p == at else 1) for p, w in enumerate(items)],
    ]
    near = [w for w in near if w]
    return Question(
        "set",
        spell(items),
        v,
        [(r, v) for r in rng.sample(right, 5)] + [(spell(w), FiniteSet(*w)) for w in near],
    )


def tuples(rng: random.Random) -> Question:
    items = [
        Rational(w) if rng.random() < 0.7 else Rational(w, 2) for w in _some(rng, rng.randint(2, 4))
    ]
    one = lambda w: (
        str(w)
        if w.q == 1
        else rng.choice([f"\\frac{{{w.p}}}{{{w.q}}}", f"{float(w)}", f"{w.p}/{w.q}"])
    )
    spell = lambda items, o="(", c=")": f"{o}{', '.join(map(one, items))}{c}"
    v = tuple(items)
    right = [
        spell(items),
        spell(items, "\\left(", "\\right)"),
        spell(items).replace(", ", ","),
        spell(items, "( ", " )"),
        spell(items, "\\big(", "\\big)"),
        spell(items).replace(", ", ",\\,"),
        spell(items).replace(", ", ",\\ "),
    ]
    at = rng.randrange(len(items))
    near = [
        items[::-1],
        items[:-1],
        [w + int(p == at) for p, w in enumerate(items)],
        [-w if p == at else w for p, w in enumerate(items)],
        [*items, Rational(1)],
        items[1:] + items[:1],
    ]
    near = [w for w in near if w != items and len(w) > 1]
    return Question(
        "tuple",
        spell(items),
        v,
        [(r, v) for r in rng.sample(right, 4)]
        + [(spell(w), tuple(w)) for w in rng.sample(near, min(4, len(near)))],
    )


def intervals(rng: random.Random) -> Question:
    lo, hi = sorted(_some(rng, 2))
    kind = rng.choice(["both", "up", "down"])
    lo_, hi_ = (lo if kind != "down" else -oo), (hi if kind != "up" else oo)
    lopen, hopen = (kind == "down") or rng.random() < 0.5, (kind == "up") or rng.random() < 0.5

    def text(lo, hi, lopen, hopen, big=False):
        t = lambda w: {oo: "\\infty", -oo: "-\\infty"}.get(w, str(w))
        o, c = ("(" if lopen else "["), (")" if hopen else "]")
        left, right = ("\\left", "\\right") if big else ("", "")
        return f"{left}{o}{t(lo)}, {t(hi)}{right}{c}"

    v = Interval(lo_, hi_, lopen, hopen)
    right = [
        text(lo_, hi_, lopen, hopen),
        text(lo_, hi_, lopen, hopen, True),
        text(lo_, hi_, lopen, hopen).replace(", ", ","),
        f"x \\in {text(lo_, hi_, lopen, hopen)}",
    ]
    if hi_ == oo:
        op = (">", "<") if lopen else (rng.choice(["\\ge", "\\geq"]), "\\leq")
        right += [
            f"x {op[0]} {lo}",
            f"{lo} {op[1]} x",
            text(lo_, hi_, lopen, hopen).replace("\\infty", "+\\infty"),
        ]
    elif lo_ == -oo:
        op = ("<", ">") if hopen else (rng.choice(["\\le", "\\leq"]), "\\geq")
        right += [f"x {op[0]} {hi}", f"{hi} {op[1]} x"]
    else:
        one, other = "<" if lopen else "\\le", "<" if hopen else "\\leq"
        right.append(f"{lo} {one} x {other} {hi}")
    near = []
    if lo_ != -oo:
        near += [
            (lo_, hi_, not lopen, hopen),
            (lo_ - 1, hi_, lopen, hopen),
            (-oo, hi_, True, hopen),
        ]
    if hi_ != oo:
        near += [(lo_, hi_, lopen, not hopen), (lo_, hi_ + 1, lopen, hopen), (lo_, oo, lopen, True)]
    near.append((hi_, oo, True, True) if hi_ != oo else (-oo, lo_, True, True))
    wrong = [(text(*w), Interval(*w)) for w in near if w != (-oo, oo, True, True)]
    golds = [right[0], *(r for r in right if "x" in r and "in" not in r)]
    return Question(
        "interval, inequality",
        rng.choice(golds),
        v,
        [(r, v) for r in right] + rng.sample(wrong, min(4, len(wrong))),
    )


def unions(rng: random.Random) -> Question:
    p, q, r = sorted(_some(rng, 3))
    s = r + rng.randint(1, 9)
    v = Union(Interval.open(-oo, p), Interval(q, r, True, False))
    right = [
        f"(-\\infty, {p}) \\cup ({q}, {r}]",
        f"({q}, {r}] \\cup (-\\infty, {p})",
        f"\\left(-\\infty,{p}\\right)\\cup\\left({q},{r}\\right]",
        f"x \\in (-\\infty,{p}) \\cup ({q},{r}]",
    ]
    wrong = [
        (f"(-\\infty, {p}] \\cup ({q}, {r}]", Union(Interval(-oo, p), Interval(q, r, True, False))),
        (f"(-\\infty, {p}) \\cup ({q}, {r})", Union(Interval.open(-oo, p), Interval.open(q, r))),
        (f"(-\\infty, {p})", Interval.open(-oo, p)),
        (f"({q}, {r}]", Interval(q, r, True, False)),
        (
            f"(-\\infty, {p}) \\cup ({q}, {s}]",
            Union(Interval.open(-oo, p), Interval(q, s, True, False)),
        ),
        (f"(-\\infty, {p}) \\cap ({q}, {r}]", sympy.S.EmptySet),
    ]
    return Question(
        "union of intervals", right[0], v, [(t, v) for t in right] + rng.sample(wrong, 4)
    )


def matrices(rng: random.Random) -> Question:
    rows, columns = rng.choice([(2, 2), (2, 2), (3, 1), (2, 1), (2, 3), (3, 3)])
    grid = [[rng.randint(-9, 9) for _ in range(columns)] for _ in range(rows)]
    spell = lambda g, name="pmatrix", gap=" & ": (
        f"\\begin{{{name}}} {ROW.join(gap.join(map(str, r)) for r in g)} \\end{{{name}}}"
    )
    v = Matrix(grid).as_immutable()
    right = [
        spell(grid),
        spell(grid, "bmatrix"),
        spell(grid, gap="&"),
        spell(grid).replace(" \\\\ ", "\\\\"),
        spell(grid).replace(" \\\\ ", " \\\\\n"),
        f"A = {spell(grid)}",
    ]
    at, to = rng.randrange(rows), rng.randrange(columns)
    changed = [[w + (i == at and j == to) for j, w in enumerate(r)] for i, r in enumerate(grid)]
    signed = [[-w for w in r] for r in grid]
    near = [
        changed,
        signed,
        grid[::-1],
        [list(r) for r in zip(*grid, strict=True)],
        grid[:-1],
        [*grid, grid[0]],
    ]
    wrong = [(spell(w), Matrix(w).as_immutable()) for w in near if w]
    return Question("matrix", spell(grid), v, [(r, v) for r in right] + rng.sample(wrong, 4))


def cases(rng: random.Random) -> Question:
    """Cases between one brace that closes nowhere; the value is the list of their parts."""
    p, q, k = rng.randint(2, 9), rng.randint(1, 9), rng.choice([0, 1, 2])
    parts = [(f"{p}x", f"x > {k}"), (f"-{q}x", f"x \\le {k}")]
    spell = lambda parts, form: {
        "array": f"\\left\\{{\\begin{{array}}{{ll}} {ROW.join(f'{e} & {c}' for e, c in parts)} \\end{{array}}\\right.",
        "cases": f"\\begin{{cases}} {ROW.join(f'{e} & {c}' for e, c in parts)} \\end{{cases}}",
    }[form]
    form = rng.choice(["array", "cases"])
    changed = [(f"{p + 1}x", parts[0][1]), parts[1]]
    bounds = [(parts[0][0], f"x > {k + 1}"), (parts[1][0], f"x \\le {k + 1}")]
    swapped = [(parts[1][0], parts[0][1]), (parts[0][0], parts[1][1])]
    value = lambda parts: tuple(w for part in parts for w in part)
    f = rng.choice(["", "f(x)="])
    return Question(
        "cases, unpaired \\{",
        f + spell(parts, form),
        value(parts),
        [
            (f + spell(parts, form), value(parts)),
            (f + spell(parts, form).replace(" & ", "&"), value(parts)),
            (f + spell(parts, form).replace(" \\\\ ", "\\\\"), value(parts)),
        ]
        + [(f + spell(w, form), value(w)) for w in (changed, bounds, swapped)]
        + [(str(p), Integer(p))],
    )


def lists(rng: random.Random) -> Question:
    """Several values without brackets, in any order."""
    items = _some(rng, rng.randint(2, 3))
    v = FiniteSet(*items)
    shuffled = rng.sample(items, len(items))
    joined = lambda items: ", ".join(map(str, items))
    right = [
        joined(items),
        joined(shuffled),
        ",".join(map(str, items)),
        ", ".join(f"x = {w}" for w in shuffled),
        " \\text{ and } ".join(map(str, items)),
        " \\text{ or } ".join(f"x={w}" for w in items),
        ",\\ ".join(map(str, items)),
        f"x = {joined(shuffled)}",
        "x_1 = {}, x_2 = {}".format(*items[:2]) if len(items) == 2 else joined(items),
    ]
    near = [items[:-1], [*items[:-1], items[-1] + 61], [*items, 77], [-items[0], *items[1:]]]
    return Question(
        "list",
        joined(items),
        v,
        [(r, v) for r in rng.sample(right, 5)]
        + [(joined(w), FiniteSet(*w)) for w in near if w and FiniteSet(*w) != v],
    )


def plus_minus(rng: random.Random) -> Question:
    k, c, r = rng.randint(2, 40), rng.randint(1, 9), rng.choice([2, 3, 5, 7])
    if rng.random() < 0.5:
        v = FiniteSet(k, -k)
        right = [
            f"\\pm {k}",
            f"\\pm{k}",
            f"{k}, -{k}",
            f"-{k}, {k}",
            f"x = \\pm {k}",
            f"x={k} \\text{{ or }} x=-{k}",
            f"\\{{-{k}, {k}\\}}",
        ]
        wrong = [
            (f"{k}", Integer(k)),
            (f"-{k}", Integer(-k)),
            (f"\\pm {k + 1}", FiniteSet(k + 1, -k - 1)),
            (f"{k}, -{k + 1}", FiniteSet(k, -k - 1)),
        ]
        return Question(
            "plus-minus", rng.choice(right[:1] + right[2:3]), v, [(t, v) for t in right] + wrong
        )
    s = sympy.sqrt(r)
    v = FiniteSet(c + s, c - s)
    right = [
        f"{c} \\pm \\sqrt{{{r}}}",
        f"{c}\\pm\\sqrt{r}",
        f"{c}+\\sqrt{{{r}}}, {c}-\\sqrt{{{r}}}",
        f"{c}-\\sqrt{{{r}}}, {c}+\\sqrt{{{r}}}",
        f"x = {c} \\pm \\sqrt{{{r}}}",
    ]
    wrong = [
        (f"{c} + \\sqrt{{{r}}}", c + s),
        (f"{c} \\pm \\sqrt{{{r + 4}}}", FiniteSet(c + sympy.sqrt(r + 4), c - sympy.sqrt(r + 4))),
        (f"{c + 1} \\pm \\sqrt{{{r}}}", FiniteSet(c + 1 + s, c + 1 - s)),
        (f"-{c} \\pm \\sqrt{{{r}}}", FiniteSet(-c + s, -c - s)),
        (f"\\pm \\sqrt{{{r}}}", FiniteSet(s, -s)),
    ]
    return Question("plus-minus", right[0], v, [(t, v) for t in right] + wrong)


def ratios(rng: random.Random) -> Question:
    p, q = rng.choice([(2, 3), (3, 5), (1, 4), (7, 9), (5, 8), (11, 4), (2, 7)])
    value = lambda p, q: (Integer(p), Integer(q))
    spell = lambda p, q: rng.choice([f"{p}:{q}", f"{p} : {q}", f"{p}\\colon {q}", f"{p}{{:}}{q}"])
    return Question(
        "ratio",
        f"{p}:{q}",
        value(p, q),
        [(spell(p, q), value(p, q)) for _ in range(4)]
        + [(f"{c}:{d}", value(c, d)) for c, d in ((q, p), (p + 1, q), (p, q + 1))],
    )


_WORDS = (
    ("yes", "no"),
    ("even", "odd"),
    ("Monday", "Tuesday"),
    ("cat", "act"),
    ("listen", "silent"),
    ("blue", "red"),
    ("ellipse", "parabola"),
    ("Alice", "Bob"),
    ("true", "false"),
    ("increasing", "decreasing"),
    ("June", "July"),
    ("isosceles", "equilateral"),
    ("odd", "add"),
    ("north", "south"),
    ("stale", "least"),
    ("never", "always"),
)


def words(rng: random.Random) -> Question:
    one, other = rng.sample(rng.choice(_WORDS), 2)
    spell = lambda w: rng.choice(
        [f"\\text{{{w}}}", w, f"\\textbf{{{w}}}", f"\\mathrm{{{w}}}", f"\\text{{ {w} }}"]
    )
    return Question(
        "word",
        rng.choice([f"\\text{{{one}}}", one]),
        one,
        [(spell(one), one) for _ in range(4)]
        + [
            (spell(other), other),
            (spell(other), other),
            (f"\\text{{{one}{other}}}", one + other),
            (one[:-1], one[:-1]),
        ],
    )


FORMS = (
    sets,
    tuples,
    intervals,
    intervals,
    unions,
    matrices,
    cases,
    lists,
    plus_minus,
    ratios,
    words,
)
