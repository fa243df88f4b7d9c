"""Every reward on the lab's first model for some steps: tokens, accuracy, before and after.

The recipe of ``bench/lab-v1.toml`` but for the reward, its target and the number of steps. Rewards
that compare with a reference get the base model's own figures on each training problem, sampled
first.

    python bench/rewards.py [--steps 20] [--only kimi,laser]
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from tersely import rewards
from tersely.core import jsonl
from tersely.core.types import EvalRecord, Problem, SamplingSpec
from tersely.engines.fallback import make_sampler
from tersely.engines.models import load_policy
from tersely.flows.observer import QUIET
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe, check_recipe, read_recipe
from tersely.flows.train.loop import train
from tersely.metrics.budgets import Protocol
from tersely.metrics.comparison import compare, pair
from tersely.metrics.records import tabulate
from tersely.tasks import grading

FIRST_DEMO = Path(__file__).parent / "lab-v1.toml"
BINS = {"name": "difficulty_bins", "start_tokens": 160, "step_tokens": 10, "every_steps": 5}
# Targets that belong to a reward; the others get the recipe's fixed one.
TARGETS = {
    "a_dlp": {"name": "dual_weight", "accuracy": 0.55},
    "acoer": {
        "name": "accuracy_control",
        "start_tokens": 160,
        "floor_tokens": 8,
        "warmup_steps": 2,
        "window_steps": 2,
        "span_steps": 4,
        "up": 1.2,
    },
    "expthink": {"name": "history_quantile"},
    "hapo": {"name": "history_minimum"},
    "laser_d": BINS,
    "laser_de": BINS,
    "thinkprune": {"name": "staged", "tokens": [60, 40, 30], "every_steps": 10},
}
# Lengths in the lab are a hundredth of a real model's; what is given per token grows as much.
PARAMETERS = {
    "l1_exact": {"alpha": 0.03},
    "l1_max": {"alpha": 0.03},
    "l1_max_code": {"alpha": 0.03},
    "shorterbetter": {"beta": 0.03},
}
# On-policy SFT is the truncation reward without a baseline.
ADVANTAGES = {"on_policy_sft": {"name": "unbaselined"}}
EVAL = {"every_steps": 1000, "samples": 8, "budgets": [30, 320]}


def recipe_of(name: str, steps: int, problems: Path) -> Recipe:
    """The recipe with another reward."""
    settings = read_recipe(FIRST_DEMO).model_dump(exclude_none=True)
    settings["reward"] = {"name": name, **PARAMETERS.get(name, {})}
    settings["target"] = TARGETS.get(name, settings["target"])
    settings["advantage"] = ADVANTAGES.get(name, settings["advantage"])
    settings["learner"]["steps"] = steps
    settings["evaluation"] = EVAL
    settings["problems"] |= {"train": str(problems), "test_limit": 100}
    settings["checkpoint"] = {"every_steps": 1000}
    return check_recipe(settings)


def write_problems(file: Path, steps: int) -> None:
    """The training problems with the base model's mean length and accuracy on each."""
    recipe = read_recipe(FIRST_DEMO, overrides=[f"learner.steps={steps}"])
    training, _ = load_problems(recipe)
    policy = load_policy("lab-v1")
    spec = SamplingSpec(samples=4, cap_tokens=320, seed=99)
    groups = make_sampler(policy.model, policy.tokenizer).sample(training, spec)
    jsonl_rows = []
    for problem, group in zip(training, groups, strict=True):
        right = [grading.grade(problem, r.text).grade == "correct" for r in group]
        jsonl_rows.append(
            replace(
                problem,
                reference_tokens=float(np.mean([r.tokens for r in group])),
                reference_accuracy=float(np.mean(right)),
            )
        )
    jsonl.write(file, jsonl_rows)
    assert jsonl.read(file, Problem) == jsonl_rows


def run(name: str, steps: int, problems: Path, folder: Path) -> str:
    """Trains, and says what became of it."""
    began = perf_counter()
    train(recipe_of(name, steps, problems), folder, resume=False, observer=QUIET)
    before, after, _ = pair(
        *(
            tabulate(jsonl.read(folder / "eval" / f"step-{step:06d}.jsonl", EvalRecord))
            for step in (0, steps)
        )
    )
    compared = compare(
        name,
        before,
        after,
        budgets=EVAL["budgets"],
        protocol=Protocol.FINISHED,
        rng=np.random.default_rng(0),
    )
    tokens, accuracy = compared.find("mean tokens"), compared.find("accuracy", 320)
    low, high = 100 * accuracy.difference.low, 100 * accuracy.difference.high
    return (
        f"| {name} | {tokens.before.estimate:.1f} -> {tokens.after.estimate:.1f} | "
        f"{accuracy.before.estimate:.3f} -> {accuracy.after.estimate:.3f} | "
        f"{100 * accuracy.difference.estimate:+.1f} pp [{low:+.1f}, {high:+.1f}] | "
        f"{perf_counter() - began:.0f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", default=",".join(rewards.available()))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"after {arguments.steps} steps, seed 0, 100 held-out problems x 8 samples")
    print("| reward | mean tokens | accuracy at 320 tokens | difference | time |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        problems = Path(scratch) / "problems.jsonl"
        write_problems(problems, arguments.steps)
        for name in arguments.only.split(","):
            print(run(name, arguments.steps, problems, Path(scratch) / name), flush=True)


if __name__ == "__main__":
    main()
