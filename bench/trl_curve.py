"""One recipe in our own loop and in TRL through the adapter: both curves in one table.

Both sides take the same recipe and seed, start from the same weights and get the same prompts in
the same order; what they sample differs. TRL runs in ``.venv-trl`` (``make test-trl`` makes it).
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from tersely.core import jsonl
from tersely.core.types import EvalRecord, Finish, Grade, StepRecord
from tersely.flows.recipe.recipe import Recipe, as_toml, read_recipe
from tersely.metrics.intervals import Interval, bootstrap_mean

HERE = Path(__file__).resolve().parent
SIZE = (
    "sampling.prompts_per_step=16",
    "sampling.cap_tokens=160",
    "problems.test_limit=100",
    "evaluation.samples=4",
    "evaluation.budgets=[20, 40, 80, 160]",
    "learner.learning_rate=1e-3",
)


class Side(NamedTuple):
    """One run: its name, step records, first and last evaluation, and seconds of wall clock."""

    name: str
    steps: list[StepRecord]
    before: list[EvalRecord]
    after: list[EvalRecord]
    seconds: float


def run_side(name: str, command: Sequence[str], folder: Path, *, steps: int) -> Side:
    """Runs a side in processes of its own and reads its run folder."""
    began = perf_counter()
    print(f"{name}: {steps} steps ...", file=sys.stderr)
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    before, after = (
        jsonl.read(folder / "eval" / f"step-{step:06d}.jsonl", EvalRecord) for step in (0, steps)
    )
    return Side(
        name,
        list(jsonl.read(folder / "steps.jsonl", StepRecord)),
        list(before),
        list(after),
        perf_counter() - began,
    )


def curve_table(sides: Sequence[Side], *, every: int) -> Table:
    """Mean length, accuracy and share of rewarded rollouts, a few steps to a line."""
    table = Table(title=f"Training curves, means of {every} steps")
    table.add_column("steps", justify="right")
    for what in ("length", "accuracy", "rewarded"):
        for side in sides:
            table.add_column(f"{what}\n{side.name}", justify="right")
    steps = len(sides[0].steps)
    for first in range(0, steps, every):
        cells = []
        for field, digits in (("tokens_mean", 1), ("accuracy", 2), ("positive_share", 2)):
            for side in sides:
                some = side.steps[first : first + every]
                cells.append(f"{np.mean([getattr(s, field) for s in some]):.{digits}f}")
        table.add_row(f"{first + 1}–{min(first + every, steps)}", *cells)
    return table


def held_out_table(sides: Sequence[Side]) -> Table:
    """Length and accuracy on held-out problems, with intervals over problems."""
    table = Table(title="Held-out problems (95 % interval over problems)")
    for column in ("", "length before", "length after", "accuracy before", "accuracy after"):
        table.add_column(column, justify="right")
    for side in sides:
        both = (side.before, side.after)
        lengths = [_shown(_by_problem(records, right=False), digits=1) for records in both]
        right = [_shown(_by_problem(records, right=True), digits=2) for records in both]
        table.add_row(side.name, *lengths, *right)
    return table


def _by_problem(records: Sequence[EvalRecord], *, right: bool) -> Interval:
    values: dict[str, list[float]] = {}
    for r in records:
        correct = r.grade is Grade.CORRECT and r.finish is Finish.STOP
        values.setdefault(r.problem, []).append(float(correct if right else r.tokens))
    means_P = np.array([np.mean(v) for v in values.values()])
    return bootstrap_mean(means_P, n_samples=len(records), rng=np.random.default_rng(0))


def _shown(interval: Interval, *, digits: int) -> str:
    low, high = interval.low, interval.high
    return f"{interval.estimate:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def show(sides: Sequence[Side], recipe: Recipe) -> None:
    """Both tables, and what they were measured with."""
    console, sampling = Console(), recipe.sampling
    console.width = max(console.width, 110)
    console.print(curve_table(sides, every=5), held_out_table(sides))
    tests = len({record.problem for record in sides[0].after})
    console.print(
        f"{recipe.learner.steps} steps of {sampling.prompts_per_step} prompts x "
        f"{sampling.samples_per_prompt} samples, cap {sampling.cap_tokens} tokens; held out: "
        f"{tests} problems x {recipe.evaluation.samples} samples; wall clock with evaluations: "
        + ", ".join(f"{side.name} {side.seconds:.0f} s" for side in sides),
        highlight=False,
        soft_wrap=True,
    )


def main() -> None:
    """Runs our loop, then TRL with each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", type=Path, default=HERE / "lab-v1.toml")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--trl", type=Path, default=HERE.parent / ".venv-trl" / "bin" / "tersely")
    args = parser.parse_args()
    if not args.trl.exists():
        sys.exit(f"no {args.trl}; make it with make test-trl")
    steps = [f"learner.steps={args.steps}", f"evaluation.every_steps={args.steps}"]
    recipe = read_recipe(args.recipe, overrides=[*SIZE, *steps, *args.settings])
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "recipe.toml"
        file.write_text(as_toml(recipe), encoding="utf-8")
        ours = Path(sys.executable).parent / "tersely"
        folder = Path(scratch) / "ours"
        command = [str(ours), "train", str(file), "--out", str(folder)]
        sides = [run_side("tersely", command, folder, steps=args.steps)]
        for processes in args.processes:
            folder = Path(scratch) / f"trl-{processes}"
            command = [str(args.trl), "launch", "trl", str(file), "--out", str(folder)]
            command += ["--processes", str(processes)]
            sides.append(run_side(f"TRL x {processes}", command, folder, steps=args.steps))
    show(sides, recipe)


if __name__ == "__main__":
    main()
