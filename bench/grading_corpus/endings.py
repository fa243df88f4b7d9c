"""Ends of replies with two boxes: a list of two values, or a later answer that replaces an earlier."""

import random
from collections.abc import Iterator

from grading_corpus.judge import Pair

LISTS = (
    r"The solutions are $\boxed{A}$ and $\boxed{B}$.",
    r"Hence \[ x = \boxed{A} \quad\text{or}\quad x = \boxed{B}. \]",
    r"$\boxed{A}$, $\boxed{B}$",
    r"\boxed{A}; \boxed{B}",
    r"So $m=\boxed{A}$ and $n=\boxed{B}$.",
    "The two values of $k$ are\n\n\\[\\boxed{A}\\]\n\nand\n\n\\[\\boxed{B}\\]",
    r"The smaller root is $\boxed{A}$, and the larger root is $\boxed{B}$.",
    r"\(\boxed{A}\) and \(\boxed{B}\)",
    "(a) $\\boxed{A}$\n\n(b) $\\boxed{B}$",
    r"We obtain $p = \boxed{A}$, $q = \boxed{B}$.",
    "1. $\\boxed{A}$\n2. $\\boxed{B}$",
    r"One root is \boxed{A}, the other root is \boxed{B}.",
    "**Answers:** $\\boxed{A}$ , $\\boxed{B}$",
    r"$$x_1 = \boxed{A}, \qquad x_2 = \boxed{B}$$",
    "- $x = \\boxed{A}$\n- $x = \\boxed{B}$",
)
LASTS = (
    "This gives $\\boxed{A}$. Wait, I counted one case twice. The answer is $\\boxed{B}$.",
    "\\boxed{A}\n\nHmm, that can't be right, since it must be positive.\n\n\\boxed{B}",
    "First, the radius is $\\boxed{A}$. The area that is asked for is then $\\boxed{B}$.",
    "So the answer would be \\boxed{A}, but we need the sum of digits, which is \\boxed{B}.",
    "Step 1: $x = \\boxed{A}$.\nStep 2: substituting, $y^2 = 3x + 1$, so the value asked for is $\\boxed{B}$.",
    "It is not $\\boxed{A}$ but $\\boxed{B}$.",
    "My earlier answer $\\boxed{A}$ was wrong; the correct one is $\\boxed{B}$.",
    "$\\boxed{A}$\n\nChecking: the product comes out too large. Corrected answer:\n\n$\\boxed{B}$",
    "Rounded down this is \\boxed{A}; the problem asks for rounding up: \\boxed{B}",
    "If order mattered we would have $\\boxed{A}$. Since it does not, we divide by two. $\\boxed{B}$",
    "The final answer is \\boxed{A}.\n\nActually, the final answer is \\boxed{B}.",
    "\\boxed{A} is what we get without the last term. With it: \\boxed{B}",
    "Therefore $\\boxed{A}$... no, I forgot the factor. $\\boxed{B}$",
    "We found $n = \\boxed{A}$. Therefore, $m + n = \\boxed{B}$.",
    "The answer is $\\boxed{A}$, or rather $\\boxed{B}$.",
    "Sorry, instead of $\\boxed{A}$ it should read $\\boxed{B}$.",
)


def endings(rng: random.Random, *, each: int) -> Iterator[Pair]:
    for count, (form, texts) in ((2, ("ending: list", LISTS)), (1, ("ending: correction", LASTS))):
        for text in texts:
            for _ in range(each):
                a, b = rng.sample(range(2, 99), 2)
                reply = text.replace("{A}", f"{{{a}}}").replace("{B}", f"{{{b}}}")
                right = f"{a}, {b}" if count == 2 else str(b)
                for gold in (f"{a}, {b}", str(a), str(b)):
                    yield Pair(form, gold, reply, gold == right)
