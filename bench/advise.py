"""What ``tersely advise`` says against the truth, and how long it takes.

    python bench/advise.py coverage [--worlds 300] [--problems 100 300]
    python bench/advise.py selection [--worlds 300] [--problems 30 100 300]
    python bench/advise.py speed [--problems 125000] [--samples 4]

Worlds are drawn by seed: problems with a chance to be solved and a typical length, two or six
models. The truth is that of 200,000 problems.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter

import numpy as np

from tersely.metrics.frontier import (
    ChoiceRule,
    Goal,
    allow,
    compare_cheapest,
    draw_means,
    judge_rule,
    split_halves,
)
from tersely.metrics.needed import find_needed, trace_curve
from tersely.metrics.records import SampleTable
from tersely.metrics.serving import CostAxis, Rates, choose_caps, lay_out
from tersely.metrics.simultaneous import bound_changes, bound_levels

CAP, SAMPLES, VOTES = 16384, 4, (1, 2, 4)
TARGETS = (0.3, 0.4, 0.5)
# What a model does to log lengths and to the odds of a right answer.
TWO = ((0.0, 1.0), (0.5, 0.7))
ALIKE = ((0.0, 1.0),) * 6


def draw_world(problems, models, *, rng):
    chance_P = rng.beta(0.8, 0.6, size=problems)
    log_P = 8.2 + 0.8 * (1 - chance_P) + 0.35 * rng.standard_normal(problems)
    shape, tables = (problems, SAMPLES), []
    for shift, gain in models:
        odds_P = gain * chance_P / np.maximum(1 - chance_P, 1e-9)
        right_PS = rng.random(shape) < (odds_P / (1 + odds_P))[:, None]
        log_PS = log_P[:, None] + 0.3 * rng.standard_normal(shape) - 0.3 * right_PS - shift
        tokens_PS = np.minimum(np.ceil(np.exp(log_PS)), CAP).astype(np.int64)
        finished_PS = tokens_PS < CAP
        tables.append(
            SampleTable(
                keys=tuple(("b", str(p)) for p in range(problems)),
                correct_PS=right_PS & finished_PS,
                finished_PS=finished_PS,
                graded_PS=np.ones(shape, dtype=bool),
                tokens_PS=tokens_PS,
                cap_tokens=CAP,
                answer_PS=np.where(right_PS, 0, rng.choice([-1, 1, 2, 3], size=shape)),
            )
        )
    return tables


def lay(tables, caps):
    rates = [Rates()] * len(tables)
    laid = lay_out(tables, caps=caps, votes=VOTES, rates=rates, axis=CostAxis.TOKENS)
    return laid.grid


def holds(intervals, truth):
    return all(i.low <= value <= i.high for i, value in zip(intervals, truth, strict=True))


def measure_coverage(problems, worlds):
    big = draw_world(200_000, TWO, rng=np.random.default_rng(1))
    caps = [choose_caps(table) for table in big]
    truth = lay(big, caps)
    right_M, cost_M = truth.right_PM.mean(axis=0), truth.cost_PM.mean(axis=0)
    settings = len(right_M)
    first = max(m for m, s in enumerate(truth.settings) if s.side == 0 and s.votes == 1)
    alone = [m for m, s in enumerate(truth.settings) if s.side == 0 and s.votes == 1][:-1]
    others = [m for m in range(settings) if m != first]
    curve = trace_curve(big[0])
    needed = {a: find_needed(curve, accuracy=a, rng=np.random.default_rng(0)) for a in TARGETS}

    def rules(accuracy):
        return [ChoiceRule(Goal.ACCURACY, accuracy, allow(truth, [side])) for side in (1, 0)]

    ratios = {a: compare_cheapest(truth, None, *rules(a), n_samples=1).estimate for a in TARGETS}
    held = Counter()
    for number in range(worlds):
        rng = np.random.default_rng([number, problems])
        tables = draw_world(problems, TWO, rng=rng)
        grid, n = lay(tables, caps), problems * SAMPLES
        levels = bound_levels(grid, n_samples_M=np.full(settings, n), rng=rng)
        held["levels: accuracy of all settings"] += holds(levels.accuracy, right_M)
        held["levels: cost of all settings"] += holds(levels.cost, cost_M)
        change = bound_changes(grid, pairs=[(m, first) for m in others], n_samples=2 * n, rng=rng)
        gains, times = (right_M - right_M[first])[others], (cost_M / cost_M[first])[others]
        held["changes: accuracy and cost of all settings"] += holds(
            change.accuracy, gains
        ) and holds(change.cost, times)
        single = bound_changes(
            grid, pairs=[(m, first) for m in alone], n_samples=n, rng=rng, together=False
        )
        for m, interval in zip(alone, single.accuracy, strict=True):
            key = f"cap {truth.settings[m].cap_tokens:,} instead of {CAP:,}"
            held[key] += holds([interval], [right_M[m] - right_M[first]])
        of_one, drawn = trace_curve(tables[0]), draw_means(grid, rng=rng)
        for a in TARGETS:
            found = find_needed(of_one, accuracy=a, rng=rng)
            held[f"cap needed for {a:.0%}"] += holds([found.cap], [needed[a].cap.estimate])
            held[f"tokens needed for {a:.0%}"] += holds([found.cost], [needed[a].cost.estimate])
            ratio = compare_cheapest(grid, drawn, *rules(a), n_samples=n)
            held[f"cost of the cheaper for {a:.0%}"] += holds([ratio], [ratios[a]])
    print(f"\n{problems} problems, {worlds} worlds, {settings} settings")
    for key, count in held.items():
        print(f"  {key:46s} {count / worlds:6.1%}")


def measure_selection(problems, worlds):
    """The most accurate of six models that are all alike, for at most what the first costs."""
    big = draw_world(200_000, ALIKE[:1], rng=np.random.default_rng(1))
    cap = choose_caps(big[0])
    right_M = np.tile(lay(big, [cap]).right_PM.mean(axis=0), len(ALIKE))
    said, judged, true, held = [], [], [], 0
    for number in range(worlds):
        rng = np.random.default_rng([number, problems, 7])
        grid = lay(draw_world(problems, ALIKE, rng=rng), [cap] * len(ALIKE))
        first = max(m for m, s in enumerate(grid.settings) if s.side == 0 and s.votes == 1)
        rule = ChoiceRule(Goal.COST, 1.02, np.ones(len(grid.settings), dtype=bool))
        halves = split_halves(grid, reference=first, rng=rng)
        choice = judge_rule(grid, halves, rule, reference=first, n_samples=problems * SAMPLES)
        said.append(choice.in_sample)
        judged.append(choice.accuracy.estimate)
        true.append(right_M[choice.setting])
        held += holds([choice.accuracy], [true[-1]])
    spread = np.std(np.array(judged) - np.array(true)) / worlds**0.5
    print(
        f"{problems:5d} problems  true {np.mean(true):.1%}  without the split {np.mean(said):.1%} "
        f"({100 * (np.mean(said) - np.mean(true)):+.2f})  with it {np.mean(judged):.1%} "
        f"({100 * (np.mean(judged) - np.mean(true)):+.2f} ± {100 * spread:.2f})  "
        f"its interval holds the truth {held / worlds:.1%}"
    )


def measure_speed(problems, samples):
    """Two evaluations as ``tersely eval`` writes them, from disk to page."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            write_records(Path(folder) / name, problems, samples, seed)
            for seed, name in enumerate(("a.jsonl", "b.jsonl"))
        ]
        before = perf_counter()
        words = ["-m", "tersely", "advise", *map(str, paths), "--out", folder, "--quiet"]
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        took_s = perf_counter() - before
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{2 * problems * samples:,} records: {took_s:.1f} s by the clock, "
        f"{usage.ru_utime + usage.ru_stime:.1f} s of CPU, {usage.ru_maxrss / 2**20:.1f} GB"
    )


def write_records(path, problems, samples, seed):
    rng = np.random.default_rng(seed)
    (table,) = draw_world(problems, [(0.5 * seed, 1.0)], rng=rng)
    with path.open("w") as file:
        for p in range(problems):
            for s in range(min(samples, SAMPLES)):
                right, tokens = bool(table.correct_PS[p, s]), int(table.tokens_PS[p, s])
                ended = tokens < CAP
                record = {
                    "schema": 1,
                    "run": path.stem,
                    "benchmark": "b",
                    "problem": f"p{p}",
                    "sample": s,
                    "grade": "correct" if right else "wrong" if ended else "unparsed",
                    "tokens": tokens,
                    "finish": "stop" if ended else "length",
                    "cap_tokens": CAP,
                    "seed": 0,
                    "extracted": str(int(table.answer_PS[p, s])) if ended else None,
                }
                file.write(json.dumps(record) + "\n")
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["coverage", "selection", "speed"])
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--problems", type=int, nargs="+")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    given = parser.parse_args()
    if given.what == "speed":
        measure_speed((given.problems or [125_000])[0], given.samples)
        return
    measure, usual = {
        "coverage": (measure_coverage, [100, 300]),
        "selection": (measure_selection, [30, 100, 300]),
    }[given.what]
    for problems in given.problems or usual:
        measure(problems, given.worlds)


if __name__ == "__main__":
    main()
