"""Replies that differ in their boxes: none around the digits, other frames, several, corrected ones."""

import random
from collections.abc import Iterator

from grading_corpus.judge import Pair


def boxes(rng: random.Random, *, count: int) -> Iterator[Pair]:
    for _ in range(count):
        a, b = rng.sample(range(2, 99), 2)
        form = "box without braces, \\fbox"
        bare = rng.choice(
            [
                f"The answer is \\boxed {a}.",
                f"So $\\boxed{a}$.",
                f"We get \\fbox{{{a}}}.",
                f"Thus \\framebox{{{a}}}.",
                f"It is \\boxed {{{a}}}.",
                f"Hence $\\boxed {a}$",
            ]
        )
        yield Pair(form, str(a), bare, True)
        yield Pair(form, str(b), bare, False)
        form = "boxes as a list"
        several = rng.choice(
            [
                f"The roots are \\boxed{{{a}}} and \\boxed{{{b}}}.",
                f"So $x=\\boxed{{{a}}}$ or $x=\\boxed{{{b}}}$.",
                f"\\boxed{{{a}}}, \\boxed{{{b}}}",
                f"$\\boxed{{{a}}}$, $\\boxed{{{b}}}$",
                f"We find $x = \\boxed{{{a}}}$ and $x = \\boxed{{{b}}}$.",
            ]
        )
        yield Pair(form, f"{a}, {b}", several, True)
        yield Pair(form, f"{a}, {b + 1}", several, False)
        yield Pair(
            form, f"{a}, {b}", several.replace(f"\\boxed{{{b}}}", f"\\boxed{{{b + 1}}}"), False
        )
        form = "a corrected box"
        again = rng.choice(
            [
                f"So the answer is $\\boxed{{{a}}}$. Wait, I made a mistake: the sum is {b}. The answer is $\\boxed{{{b}}}$.",
                f"\\boxed{{{a}}}\n\nChecking once more, the last step was wrong. The correct answer is\n\n\\boxed{{{b}}}",
                f"First guess: \\boxed{{{a}}}. That cannot be. Final answer: \\boxed{{{b}}}",
            ]
        )
        yield Pair(form, str(b), again, True)
        yield Pair(form, str(a), again, False)
        yield Pair(form, f"{a}, {b}", again, False)
