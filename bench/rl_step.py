"""One RL step here and in TRL's GRPOTrainer, side by side: trained tokens a second, and the ratio.

Both sides take the same recipe (the demo's unless told otherwise), start from the same
weights and get the same prompts in the same order; each round runs TRL, then us, in processes of
their own. A trained token is a sampled completion token, stop token included, that went through
the whole step: sampling, grading, learning. Imports, loading and the warm-up steps are not timed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from tersely.core import jsonl
from tersely.core.types import Finish, Grade, RolloutRecord, StepTiming
from tersely.flows.recipe.recipe import Recipe, as_toml, read_recipe, shipped
from tersely.metrics.intervals import Interval, bootstrap_mean

HERE = Path(__file__).resolve().parent
TRL_PYTHON = HERE.parent / ".venv-trl" / "bin" / "python"
HOW_TO_INSTALL = """\
TRL needs an environment of its own, and there is none at {python}; make it with

    python3 -m venv .venv-trl
    .venv-trl/bin/pip install torch==2.13.0
    .venv-trl/bin/pip install --editable '.[trl]'

(or `make bench-trl`). torch first and pinned, or pip may fetch a CUDA build of several GB."""
PARTS = {"sample_s": "sampling", "grade_s": "grading", "learn_s": "learning", "other_s": "other"}


class Side(NamedTuple):
    """What one process did in one round; a step is a dictionary of times and per-rollout lists."""

    versions: str
    threads: int
    warm_up: list[dict[str, Any]]
    steps: list[dict[str, Any]]

    @property
    def rate(self) -> float:
        """Trained tokens a second over the timed steps."""
        return sum(sum(s["tokens"]) for s in self.steps) / sum(s["seconds"] for s in self.steps)

    def mean(self, part: str) -> float:
        """Seconds a timed step spends on a part."""
        return sum(step[part] for step in self.steps) / len(self.steps)


class Round(NamedTuple):
    """Both sides of one round."""

    trl: Side
    ours: Side

    @property
    def ratio(self) -> float:
        """How many times TRL's rate ours is."""
        return self.ours.rate / self.trl.rate


def run_ours(recipe: Recipe, *, steps: int, threads: int) -> dict[str, Any]:
    """The steps of ``tersely train``, without evaluations and checkpoints."""
    import torch
    import transformers

    from tersely.flows.observer import QUIET
    from tersely.flows.train.loop import load_run
    from tersely.flows.train.session import begin, open_folder
    from tersely.flows.train.step import take_step

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        session = begin(recipe, Path(folder) / "run", resume=False)
        run = load_run(session, observer=QUIET)
        open_folder(session)
        state: Any = {}
        seconds = []
        for step in range(steps):
            began = perf_counter()
            state = take_step(run, step, state).state
            seconds.append(perf_counter() - began)
        done = [{"seconds": s, **_recorded(run.folder, step)} for step, s in enumerate(seconds)]
    return {
        "versions": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "steps": done,
    }


def _recorded(folder: Path, step: int) -> dict[str, Any]:
    """A step's times and rollouts, as the run folder has them."""
    timing = list(jsonl.read(folder / "timings.jsonl", StepTiming))[step]
    rollouts = list(jsonl.read(folder / "rollouts" / f"step-{step:06d}.jsonl.zst", RolloutRecord))
    return {
        **{part: getattr(timing, part) for part in PARTS},
        "problems": [r.problem for r in rollouts],
        "tokens": [r.tokens for r in rollouts],
        "correct": [r.grade is Grade.CORRECT and r.finish is Finish.STOP for r in rollouts],
        "rewards": [r.reward for r in rollouts],
    }


def run_side(command: Sequence[str], *, threads: int, warm_up: int) -> Side:
    """Runs a side in a process of its own and reads the JSON object that it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [*command, "--threads", str(threads)]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout)
    return Side(
        found["versions"], found["threads"], found["steps"][:warm_up], found["steps"][warm_up:]
    )


def measure(recipe: Recipe, number: int, args: argparse.Namespace) -> Round:
    """One round from the base weights, with prompts and random numbers of its own."""
    recipe = recipe.model_copy(update={"seed": recipe.seed + number})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.toml"
        file.write_text(as_toml(recipe), encoding="utf-8")
        both = ["--recipe", str(file)]
        both += ["--warm-up", str(args.warm_up), "--steps", str(args.steps)]
        trl_command = [str(args.trl_python), str(HERE / "trl_side.py"), *both]
        trl_command += ["--micro-rows", str(args.trl_micro_rows)]
        our_command = [sys.executable, __file__, "--ours-only", *both]
        trl = run_side(trl_command, threads=args.trl_threads, warm_up=args.warm_up)
        ours = run_side(our_command, threads=args.threads, warm_up=args.warm_up)
    problems = [[step["problems"] for step in side.warm_up + side.steps] for side in (trl, ours)]
    if problems[0] != problems[1]:
        sys.exit("the sides did not get the same prompts in the same order")
    return Round(trl, ours)


def speed_table(rounds: Sequence[Round]) -> Table:
    """Trained tokens a second, round by round, and their ratio."""
    table = Table(title="Trained tokens a second")
    for column in ("round", "TRL", "tersely", "ratio", "TRL s/step", "tersely s/step"):
        table.add_column(column, justify="right")
    for number, r in enumerate(rounds, start=1):
        table.add_row(
            str(number), f"{r.trl.rate:.0f}", f"{r.ours.rate:.0f}", f"{r.ratio:.1f}x",
            f"{r.trl.mean('seconds'):.2f}", f"{r.ours.mean('seconds'):.2f}",
        )  # fmt: skip
    table.add_section()
    columns = [
        ([r.trl.rate for r in rounds], "{:.0f}"),
        ([r.ours.rate for r in rounds], "{:.0f}"),
        ([r.ratio for r in rounds], "{:.1f}x"),
        ([r.trl.mean("seconds") for r in rounds], "{:.2f}"),
        ([r.ours.mean("seconds") for r in rounds], "{:.2f}"),
    ]
    table.add_row("median", *(form.format(median(values)) for values, form in columns))
    table.add_row("range", *(f"{form.format(min(v))}–{form.format(max(v))}" for v, form in columns))
    return table


def time_table(rounds: Sequence[Round]) -> Table:
    """Where a timed step's seconds go, means over rounds."""
    table = Table(title="Where a step's time goes (s, share)")
    table.add_column("")
    for name in PARTS.values():
        table.add_column(name, justify="right")
    for name, sides in _by_side(rounds):
        total_s = np.mean([side.mean("seconds") for side in sides])
        means_s = [np.mean([side.mean(part) for side in sides]) for part in PARTS]
        table.add_row(name, *(f"{mean:.3f} ({mean / total_s:4.0%})" for mean in means_s))
    return table


def work_table(rounds: Sequence[Round]) -> Table:
    """What was sampled: first from equal weights on equal prompts, then in the timed steps."""
    table = Table(title="The same work? (mean, 95 % interval over problems)")
    table.add_column("")
    for column in ("length", "accuracy", "rewarded", "tokens/step", "rollouts"):
        table.add_column(column, justify="right")
    before = {name: [s for x in sides for s in x.warm_up[:1]] for name, sides in _by_side(rounds)}
    timed = {name: [s for x in sides for s in x.steps] for name, sides in _by_side(rounds)}
    for label, both in (("base weights", before), ("timed", timed)):
        for name, steps in both.items():
            table.add_row(f"{name}, {label}", *_work_cells(steps))
        table.add_section()
    return table


def _work_cells(steps: Sequence[dict[str, Any]]) -> list[str]:
    rollouts = sum(len(step["tokens"]) for step in steps)
    cells = []
    for key, digits in (("tokens", 1), ("correct", 2), ("rewards", 2)):
        mean = bootstrap_mean(
            _by_problem(steps, key), n_samples=rollouts, rng=np.random.default_rng(0)
        )
        cells.append(_shown(mean, digits=digits))
    tokens = sum(sum(step["tokens"]) for step in steps)
    return [*cells, f"{tokens / len(steps):.0f}", str(rollouts)]


def length_difference(rounds: Sequence[Round]) -> Interval:
    """Our mean length minus TRL's before any update, paired by problem."""
    trl, ours = ([s for x in sides for s in x.warm_up[:1]] for _, sides in _by_side(rounds))
    return bootstrap_mean(
        _by_problem(ours, "tokens") - _by_problem(trl, "tokens"),
        n_samples=sum(len(step["tokens"]) for step in ours),
        rng=np.random.default_rng(0),
    )


def _by_side(rounds: Sequence[Round]) -> list[tuple[str, list[Side]]]:
    return [("TRL", [r.trl for r in rounds]), ("tersely", [r.ours for r in rounds])]


def _by_problem(steps: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    """The mean of a per-rollout list over each group of each step."""
    means = []
    for step in steps:
        groups: dict[str, list[float]] = {}
        for problem, value in zip(step["problems"], step[key], strict=True):
            groups.setdefault(problem, []).append(float(value))
        means += [np.mean(group) for group in groups.values()]
    return np.array(means)


def _shown(interval: Interval, *, digits: int) -> str:
    low, high = interval.low, interval.high
    return f"{interval.estimate:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model folder (default: the recipe's)")
    parser.add_argument("--recipe", type=Path, default=shipped("demo"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=1, help="untimed steps a round, at least 1")
    parser.add_argument("--steps", type=int, default=4, help="timed steps a round")
    parser.add_argument("--threads", type=int, help="default: the recipe's, or all cores")
    parser.add_argument("--trl-threads", type=int, help="default: as many as --threads")
    parser.add_argument("--trl-python", type=Path, default=TRL_PYTHON)
    parser.add_argument("--trl-micro-rows", type=int, default=64, help="rows of a TRL forward pass")
    parser.add_argument("--ours-only", action="store_true", help="our side alone, as JSON")
    return parser.parse_args()


def main() -> None:
    """Runs the rounds, prints the tables; exit 2 if TRL's environment is missing."""
    args = arguments()
    overrides = [f"model.path={json.dumps(args.model)}"] if args.model else []
    recipe = read_recipe(args.recipe, overrides=overrides)
    args.threads = args.threads or recipe.model.cpu_threads or os.cpu_count()
    args.trl_threads = args.trl_threads or args.threads
    if args.ours_only:
        result = run_ours(recipe, steps=args.warm_up + args.steps, threads=args.threads)
        print(json.dumps(result))
        return
    if not args.trl_python.exists():
        print(HOW_TO_INSTALL.format(python=args.trl_python), file=sys.stderr)
        sys.exit(2)
    load = os.getloadavg()[0]
    rounds = []
    for number in range(args.rounds):
        rounds.append(measure(recipe, number, args))
        r = rounds[-1]
        print(
            f"round {number + 1}: TRL {r.trl.rate:.0f}, tersely {r.ours.rate:.0f} tokens/s",
            file=sys.stderr,
        )
    show(rounds, recipe, args, load=load)


def show(rounds: Sequence[Round], recipe: Recipe, args: argparse.Namespace, *, load: float) -> None:
    """Everything measured, and the machine and settings it was measured with."""
    console, sampling = Console(), recipe.sampling
    console.width = max(console.width, 110)
    console.print(speed_table(rounds), time_table(rounds), work_table(rounds))
    difference = _shown(length_difference(rounds), digits=1)
    rollouts = sampling.prompts_per_step * sampling.samples_per_prompt
    first = rounds[0]
    for line in (
        f"length, ours - TRL, before any update, same problems: {difference} tokens",
        f"{args.rounds} rounds of {args.warm_up} untimed + {args.steps} timed steps, each from the "
        f"base weights; {sampling.prompts_per_step} prompts x {sampling.samples_per_prompt} "
        f"samples, cap {sampling.cap_tokens} tokens",
        f"TRL: one optimizer step = {rollouts} rollouts in micro-batches of "
        f"{args.trl_micro_rows}; no gradient checkpointing, fp32",
        f"machine: {os.cpu_count()} cores, load {load:.1f} at the start (0 is a quiet machine), "
        f"threads {first.ours.threads} here and {first.trl.threads} in TRL",
        f"TRL: {first.trl.versions}; tersely: {first.ours.versions}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(
        f"median ratio {median(r.ratio for r in rounds):.1f}x (wanted >= 4x, aim 10x)",
        highlight=False,
    )


if __name__ == "__main__":
    main()
