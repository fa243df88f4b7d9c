"""Replies for the graders of numbers and letters: what is stated, in sentences, marks and boxes."""

import random
from collections.abc import Iterator

from grading_corpus.judge import Pair

MINUS = "\u2212"


def letters(rng: random.Random, *, count: int) -> Iterator[Pair]:
    """A letter stated once or corrected; two letters choose nothing."""
    for _ in range(count):
        a, b = rng.sample("ABCD", 2)
        math = rng.choice(
            [
                "\\boxed{x^2+1}",
                "\\boxed{\\frac{1}{2}mv^2}",
                "\\boxed{42}",
                "$C_p - C_v = R$",
                "$E = mc^2$",
            ]
        )
        said = {
            "sentence": [
                f"The answer is {a} because the force grows.",
                f"The correct option is ({a}).",
                f"So the right choice is **{a}**.",
                f"I would choose {a}.",
                f"Hence option {a} is correct.",
                f"{a} is the correct answer.",
                f"Therefore, the answer must be {a}.",
                f"That leaves option {a} as the answer.",
                f"Based on this, I'd go with {a}.",
                f"It's {a}.",
                f"The answer is clearly {a}.",
                f"Thus, ({a}) is right.",
            ],
            "marks": [
                f"Answer: \\({a}\\)",
                f"Answer: ${a}$",
                f"Answer: `{a}`",
                f"**Answer: {a}**",
                f"Answer: \\text{{{a}}}",
                f"The answer is $\\textbf{{({a})}}$.",
                f"Final answer: \\(\\mathrm{{{a}}}\\)",
                f"Answer: **({a})**",
                f"**{a}**",
                f"answer: {a.lower()}",
            ],
            "box": [
                f"\\boxed{{{a}}}",
                f"\\boxed{{\\text{{{a}}}}}",
                f"\\boxed{{({a})}}",
                f"\\boxed{{\\textbf{{({a})}}}}",
                f"\\boxed{{{chr(ord(a) + 0xFEE0)}}}",
                f"\\boxed{{\\mathrm{{{a}}}}}",
                f"\\boxed{{{a}.}}",
                f"\\boxed{{\\text{{{a}) 14 m/s}}}}",
                f"\\boxed{{\\text{{Option {a}}}}}",
                f"\\boxed {a}",
            ],
            "maths before": [
                f"We get {math}.\n\nAnswer: {a}",
                f"From {math} it follows that the answer is ({a}).",
                f"{math}, which is option {a}.",
            ],
            "corrected": [
                f"The answer is {b}. Wait, that is wrong. The answer is {a}.",
                f"\\boxed{{{b}}} Let me check again. No: \\boxed{{{a}}}",
                f"Option {b} is tempting, but the answer is {a}.",
                f"{b} is wrong, so the answer is {a}.",
            ],
            "label": [f"{a}. forty-two", f"({a}) It doubles.", f"{a}) 9.8 m/s"],
        }
        for form, texts in said.items():
            text = rng.choice(texts)
            yield Pair(f"letter: {form}", a, text, True)
            yield Pair(f"letter: {form}", b, text, False)
        two = rng.choice(
            [
                f"The answer is {a} and {b}.",
                f"\\boxed{{{a}, {b}}}",
                f"\\boxed{{{a}{b}}}",
                f"Answer: {a}, {b}",
                f"Both {a} and {b} are correct.",
                f"\\boxed{{{a} \\text{{ and }} {b}}}",
                f"Answer: {a}/{b}",
            ]
        )
        yield Pair("letter: two at once", a, two, False)
        yield Pair("letter: two at once", b, two, False)


def figures(rng: random.Random, *, count: int) -> Iterator[Pair]:
    """A number in a sentence or a box, as people write it, and one that is off."""
    for _ in range(count):
        n, d = rng.randint(1000, 9_999_999), rng.randint(2, 9)
        e, m = rng.randint(2, 9), rng.randint(2, 9)
        rows = [
            (
                "minus",
                -n,
                rng.choice(
                    [
                        f"The answer is {MINUS}{n}.",
                        f"\\boxed{{{MINUS}{n}}}",
                        f"So x = \u2013{n}.",
                        f"\\boxed{{- {n}}}",
                    ]
                ),
            ),
            (
                "thousands",
                n,
                rng.choice(
                    [
                        f"\\boxed{{{n:,}}}".replace(",", s)
                        for s in (",", "{,}", "\\,", ",\\!", "\u202f", "\u2009", " ")
                    ]
                    + [f"It costs ${n:,}.", f"The total is {n:,}."]
                ),
            ),
            (
                "point first",
                f"0.{d}5",
                rng.choice([f"\\boxed{{.{d}5}}", f"The answer is .{d}5.", f"\\boxed{{0.{d}50}}"]),
            ),
            (
                "fraction",
                n,
                rng.choice(
                    [
                        f"\\boxed{{\\frac{{{n * d}}}{{{d}}}}}",
                        f"\\boxed{{{n * d}/{d}}}",
                        f"\\boxed{{\\dfrac{{{n * d}}}{{{d}}}}}",
                    ]
                ),
            ),
            (
                "power",
                m * 10**e,
                rng.choice(
                    [
                        f"\\boxed{{{m} \\times 10^{{{e}}}}}",
                        f"\\boxed{{{m}\\cdot 10^{e}}}",
                        f"\\boxed{{{m}e{e}}}",
                        f"\\boxed{{{m} \\times {{10}}^{{{e}}}}}",
                        f"The answer is {m} × 10^{e}.",
                    ]
                ),
            ),
            (
                "unit",
                n,
                rng.choice(
                    [
                        f"\\boxed{{{n}\\text{{ km}}}}",
                        f"\\boxed{{{n}\\,\\mathrm{{m^2}}}}",
                        f"The answer is {n} dollars.",
                        f"\\boxed{{\\${n}}}",
                        f"It takes {n} minutes.",
                        f"\\boxed{{{n}^\\circ}}",
                    ]
                ),
            ),
            (
                "last line",
                n,
                rng.choice(
                    [
                        f"2 + 2 is 4, so...\n#### {n}",
                        f"#### {n:,}",
                        f"Thus **{n}**.",
                        f"The answer is {n}.",
                    ]
                ),
            ),
        ]
        for form, gold, text in rows:
            yield Pair(f"number: {form}", str(gold), text, True)
            wrong = -n if form == "minus" and rng.random() < 0.0 else None
            off = (
                rng.choice(
                    [
                        str(gold) + "1",
                        "1" + str(gold).lstrip("-"),
                        str(gold)[1:] if str(gold)[0] == "-" else f"-{gold}",
                    ]
                )
                if wrong is None
                else str(wrong)
            )
            yield Pair(f"number: {form}", off, text, False)
        three = f"{n % 900 + 100}"
        yield Pair("number: thousands", three, f"\\boxed{{12{{,}}{three}}}", False)
        yield Pair("number: thousands", three, f"The answer is 12,{three}.", False)
        yield Pair("number: list", str(n), f"\\boxed{{{n}, {n + 1}}}", False)
        yield Pair("number: list", str(n + 1), f"\\boxed{{{n}, {n + 1}}}", False)
