"""The demo over several seeds: how much shorter, how right, and both stages, with a verdict each.

    python bench/demo_seeds.py --seeds 5 --out runs/seeds

Two seeds run at a time, one thread each. Finished folders are read, not run again. The bars:
mean tokens after <= 40% of before; accuracy at the full budget not lower (the paired 95%
interval's lower end above -2 points) in every seed; first the length
falls while accuracy dips or stands, then accuracy rises at a steady length. The fall is judged
where four fifths of it are done, the rise from the fitted end of stage one (95% done) on.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from tersely.metrics.intervals import Interval, bootstrap_mean
from tersely.metrics.records import SampleTable, tabulate
from tersely.report.pages.run import measure, read_run
from tersely.report.tables.comparison import full_budget_accuracy

AT_ONCE = 2
EVALUATED = "evaluation.every_steps=10"
MOST_OF_THE_FALL = 0.8


class Row(NamedTuple):
    """One seed's figures. Four evaluations are compared: before; the first with four fifths of the
    length's fall done; the first at or after the fitted end of stage one; after."""

    seed: int
    token_ratio: Interval
    accuracy: Interval
    at_steps: list[int]
    tokens: list[float]
    accuracies: list[float]
    in_the_fall: Interval
    at_steady_length: Interval
    train_s: float


def run_seed(seed: int, out: Path, settings: Sequence[str]) -> None:
    """Trains one seed unless its folder is finished."""
    folder = out / f"seed-{seed}"
    resume = ["--resume"] if (folder / "manifest.json").exists() else []
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "tersely", "train", "--out", str(folder)]
    with (out / f"seed-{seed}.log").open("a") as log:
        subprocess.run(
            [*command, "--set", f"seed={seed}", "--set", EVALUATED, *words, *resume],
            check=True,
            stdout=log,
            stderr=log,
        )


def read_seed(seed: int, out: Path) -> Row:
    """The figures of a finished folder."""
    run = read_run(out / f"seed-{seed}")
    measured = measure(run)
    points = measured.points
    first, last = points[0].tokens_mean, points[-1].tokens_mean
    fallen = [p for p in points if first - p.tokens_mean >= MOST_OF_THE_FALL * (first - last)]
    adapted = [p for p in points if p.step >= measured.stages.stage_end_step] or points[-1:]
    chosen = [points[0], fallen[0], adapted[0], points[-1]]
    tables = [tabulate(run.evaluations[point.step]) for point in chosen]
    return Row(
        seed=seed,
        token_ratio=measured.overall.token_ratio,
        accuracy=full_budget_accuracy(measured.overall).difference,
        at_steps=[point.step for point in chosen],
        tokens=[point.tokens_mean for point in chosen],
        accuracies=[point.accuracy for point in chosen],
        in_the_fall=change(tables[0], tables[1]),
        at_steady_length=change(tables[2], tables[3]),
        train_s=sum(t.sample_s + t.grade_s + t.learn_s + t.other_s for t in run.timings),
    )


def change(before: SampleTable, after: SampleTable) -> Interval:
    """The paired difference in accuracy at the full budget: correct and finished."""
    shares = [(t.correct_PS & t.finished_PS).mean(axis=1) for t in (before, after)]
    rng = np.random.default_rng(0)
    return bootstrap_mean(shares[1] - shares[0], n_samples=before.correct_PS.size, rng=rng)


def show(rows: Sequence[Row]) -> Table:
    """One line a seed."""
    table = Table(title="The demo recipe over seeds: accuracy at the full budget, 95% intervals")
    for name in (
        "seed",
        "tokens after / before",
        "accuracy, after - before",
        "at steps",
        "tokens there",
        "accuracy there",
        "change in the fall",
        "change at steady length",
        "training (s)",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row.seed),
            between(row.token_ratio, "{:.1%}"),
            between(row.accuracy, "{:+.3f}"),
            " ".join(str(step) for step in row.at_steps),
            " ".join(f"{tokens:.1f}" for tokens in row.tokens),
            " ".join(f"{accuracy:.3f}" for accuracy in row.accuracies),
            between(row.in_the_fall, "{:+.3f}"),
            between(row.at_steady_length, "{:+.3f}"),
            f"{row.train_s:.0f}",
        )
    return table


def between(interval: Interval, form: str) -> str:
    """An estimate with its interval."""
    low, high = form.format(interval.low), form.format(interval.high)
    return f"{form.format(interval.estimate)} [{low}, {high}]"


def judge(rows: Sequence[Row]) -> list[tuple[str, bool]]:
    """The bars, each with whether it is met."""
    worst_ratio = max(row.token_ratio.estimate for row in rows)
    worst_low = min(row.accuracy.low for row in rows)
    # Dips or stands: no rise that its interval can tell from zero.
    stands = [row.in_the_fall.low <= 0 for row in rows]
    rises = [row.at_steady_length.low > 0 for row in rows]
    steady = max(abs(row.tokens[3] / row.tokens[2] - 1) for row in rows)
    n = len(rows)
    return [
        (
            f"tokens after / before <= 40% in every seed: worst {worst_ratio:.1%}",
            worst_ratio <= 0.4,
        ),
        (f"accuracy's lower end > -2 points in every seed: {worst_low:+.3f}", worst_low > -0.02),
        (f"accuracy dips or stands in the fall: {sum(stands)} of {n} seeds", all(stands)),
        (f"then rises at a steady length: {sum(rises)} of {n} seeds", all(rises)),
        (f"and that length changes by at most {steady:.0%}", steady <= 0.1),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/seeds"), help="folder of run folders"
    )
    parser.add_argument("--set", action="append", default=[], help="override a recipe setting")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    seeds = range(args.seeds)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda seed: run_seed(seed, args.out, args.set), seeds))
    rows = [read_seed(seed, args.out) for seed in seeds]
    console = Console(width=190)
    console.print(show(rows))
    for words, met in judge(rows):
        console.print(f"{'met   ' if met else 'MISSED'}  {words}", highlight=False)


if __name__ == "__main__":
    main()
