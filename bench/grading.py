"""The maths grader against plain math-verify: errors on answers of known truth, then seconds.

Gold answers of reasoning-gym tasks and of hand-written templates (sets, intervals, pairs, roots,
expressions). Each problem is answered 16 times, as in an evaluation or a group: by four answers of
unequal weight, right or wrong, in ways in which models write them. Both sides use as many processes
as there are cores, in turns over parts of the answers.

Before that, both grade answers of known truth (``grading_corpus``), and what each took wrongly for
right and for wrong is counted. Exit 1 below the bar of 10x, or if ours is not lower on both counts.

    python bench/grading.py [--answers 20000] [--parts 10] [--seed 0] [--table]
"""

import argparse
import logging
import os
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from time import perf_counter

import numpy as np
import reasoning_gym
from grading_truth import errors, measure, measure_stated, table

from tersely.core.types import Grade, Problem
from tersely.tasks import grading

BAR = 10.0
WARM_UP, WARM_UP_SEED = 2000, 1_000_000
SAMPLES, WEIGHTS = 16, (8, 4, 2, 1)
TASKS = (
    *("basic_arithmetic", "chain_sum", "products", "gcd", "lcm"),
    *("fraction_simplification", "simple_equations", "decimal_arithmetic", "count_primes"),
    *("gsm_symbolic", "complex_arithmetic", "calendar_arithmetic", "leg_counting"),
)
TEMPLATES = (
    lambda r: f"\\frac{{{r.randint(1, 40)}}}{{{r.randint(2, 40)}}}",
    lambda r: f"({r.randint(-9, 9)}, {r.randint(-9, 9)})",
    lambda r: f"[{r.randint(-9, 0)}, {r.randint(1, 9)})",
    lambda r: f"\\{{{r.randint(1, 4)}, {r.randint(5, 9)}\\}}",
    lambda r: f"{r.randint(2, 9)}\\sqrt{{{r.choice([2, 3, 5, 7])}}}",
    lambda r: f"\\frac{{\\pi}}{{{r.randint(2, 12)}}}",
    lambda r: f"{r.randint(10, 99)}\\%",
    lambda r: f"x^{{2}} + {r.randint(2, 9)}x - {r.randint(1, 9)}",
)


def golds(count: int, rng: random.Random, *, seed: int) -> list[str]:
    """About three in four from reasoning-gym, as short as answers of benchmarks are."""
    found: list[str] = []
    each = 3 * count // (4 * len(TASKS)) + 1
    for task in TASKS:
        drawn = reasoning_gym.create_dataset(task, seed=seed, size=each)
        found += [str(entry["answer"]) for entry in drawn]
    found = [a for a in found if 0 < len(a) <= 60 and any(map(str.isdigit, a))]
    found += [rng.choice(TEMPLATES)(rng) for _ in range(count - len(found))]
    rng.shuffle(found)
    return found[:count]


def written(gold: str, rng: random.Random) -> str:
    """The gold answer as a model may write it, or a wrong one of its kind."""
    number = _number(gold)
    if number is None:
        # Another digit at a random place.
        places = [place for place, character in enumerate(gold) if character.isdigit()]
        at = rng.choice(places)
        changed = f"{gold[:at]}{(int(gold[at]) + rng.randint(1, 8)) % 9 + 1}{gold[at + 1 :]}"
        return rng.choice([gold, gold, f"${gold}$", f" {gold} ", changed, changed])
    if rng.random() < 0.4:
        number += rng.choice([1, -1, 10, Fraction(1, 2)])
    if number.denominator == 1:
        whole = int(number)
        forms = [f"{whole}", f"{whole}", f"{whole:,}", f"{whole}.0", f"x = {whole}"]
        return rng.choice([*forms, f"{whole}\\text{{ cm}}", f"${whole}$", f"{whole}^\\circ"])
    top, bottom = number.numerator, number.denominator
    forms = [f"\\frac{{{top}}}{{{bottom}}}", f"\\dfrac{{{top}}}{{{bottom}}}", f"{top}/{bottom}"]
    return rng.choice([*forms, f"{float(number):.4f}", f"{float(number)}"])


def _number(text: str) -> Fraction | None:
    try:
        return Fraction(text.replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return None


def answered(count: int, *, seed: int) -> list[tuple[str, str]]:
    """Gold answers and replies to them."""
    rng = random.Random(seed)
    return [
        (gold, f"<think>Let me see.</think>The answer is \\boxed{{{found}}}.")
        for gold in golds(-(-count // SAMPLES), rng, seed=seed)
        for found in rng.choices([written(gold, rng) for _ in WEIGHTS], WEIGHTS, k=SAMPLES)
    ]


def plain(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """What math-verify says of the box alone, with its own limits of time."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    return [
        verify(parse(f"\\boxed{{{gold}}}"), parse(text[text.index("\\boxed") : -1]))
        for gold, text in pairs
    ]


def as_problems(pairs: Sequence[tuple[str, str]]) -> list[tuple[Problem, str]]:
    """The texts with the problems that they answer."""
    return [
        (Problem(id="p", prompt="?", answer=gold, source="s", grader="math"), text)
        for gold, text in pairs
    ]


def ours(pairs: Sequence[tuple[Problem, str]]) -> list[bool]:
    """What the grader says, workers included."""
    return [verdict.grade is Grade.CORRECT for verdict in grading.grade_all(pairs)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=20000)
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the answers of known truth")
    parser.add_argument("--table", action="store_true", help="print every form, as Markdown")
    chosen = parser.parse_args()
    is_truer = compare_truth(seed=chosen.seed, with_table=chosen.table)
    is_faster = not chosen.answers or compare_speed(answers=chosen.answers, parts=chosen.parts)
    return 0 if is_truer and is_faster else 1


def compare_truth(*, seed: int, with_table: bool) -> bool:
    """Whether fewer answers of known truth are graded wrongly than by math-verify, either way."""
    pairs, mine, theirs = measure(seed=seed)
    if with_table:
        print(table(pairs, mine, theirs))
    a, b = errors(pairs, mine), errors(pairs, theirs)
    right = sum(pair.right for pair in pairs)
    print(f"{len(pairs):,} answers of known truth, {right:,} right, seed {seed}")
    print(f"taken for right wrongly: {a.accepts}, math-verify {b.accepts}")
    print(f"taken for wrong wrongly: {a.rejects}, math-verify {b.rejects}")
    for name, (asked, taken) in measure_stated(seed=seed).items():
        wrongly = errors(asked, taken)
        print(
            f"grader {name}: {len(asked):,} replies, taken for right wrongly: {wrongly.accepts}, "
            f"for wrong: {wrongly.rejects}"
        )
        pairs, mine = [*pairs, *asked], [*mine, *taken]
    for pair, taken in zip(pairs, mine, strict=True):
        if taken is not pair.right:
            said = "right" if taken else "wrong"
            print(f"  {pair.form}: gold {pair.gold!r}, {pair.reply!r} is taken for {said}")
    return a.accepts < b.accepts and a.rejects < b.rejects


def compare_speed(*, answers: int, parts: int) -> bool:
    """Whether the grader is as many times as fast as plain math-verify as the bar asks."""
    pairs, others = answered(answers, seed=0), answered(WARM_UP, seed=WARM_UP_SEED)
    cores = len(os.sched_getaffinity(0))
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    differing: list[tuple[str, str, bool, bool]] = []
    right = 0
    with ProcessPoolExecutor(cores) as pool:
        # Imports and tables on both sides, and all processes; on answers that are not timed.
        list(pool.map(plain, [others[-200:]] * cores))
        ours(as_problems(others))
        for number in range(parts):
            size = len(pairs) // parts // SAMPLES * SAMPLES
            part = pairs[number * size : (number + 1) * size]
            asked = as_problems(part)
            began = perf_counter()
            mine = ours(asked)
            seconds["ours"].append(perf_counter() - began)
            began = perf_counter()
            pieces = [part[at::cores] for at in range(cores)]
            done = list(pool.map(plain, pieces))
            seconds["plain"].append(perf_counter() - began)
            theirs = [done[at % cores][at // cores] for at in range(len(part))]
            right += sum(theirs)
            differing += [
                (*pair, a, b) for pair, a, b in zip(part, mine, theirs, strict=True) if a != b
            ]
            spent = ", ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items())
            print(f"part {number + 1} of {parts}: {spent}", file=sys.stderr, flush=True)
    ratios = np.array(seconds["plain"]) / np.array(seconds["ours"])
    total = sum(seconds["plain"]) / sum(seconds["ours"])
    print(f"{len(pairs):,} answers, {right / len(pairs):.0%} right, {cores} processes a side")
    print(
        f"plain math-verify takes {total:.1f} times as long ({ratios.min():.1f} to "
        f"{ratios.max():.1f} over {parts} parts); bar {BAR:g}"
    )
    print(f"{len(differing)} verdicts differ")
    for gold, text, a, b in differing[:20]:
        print(f"  gold {gold!r}, {text[len('<think>Let me see.</think>') :]!r}: {a}, plain {b}")
    return bool(total >= BAR)


if __name__ == "__main__":
    sys.exit(main())
