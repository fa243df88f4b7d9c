"""Trains every reward and everything else that a recipe may name for three steps at the smallest
size; one JSON line each on stdout.

A process of its own, without the type checks of the test suite, which cost more than the training.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import torch

from tersely import rewards, targets
from tersely.algo import advantages, aggregations, credit, losses
from tersely.algo.masks import STRATEGIES
from tersely.core import jsonl
from tersely.core.types import StepRecord
from tersely.flows.observer import QUIET
from tersely.flows.recipe.recipe import Recipe, check_recipe
from tersely.flows.train.loop import train
from tersely.lab.problems import Split, draw_problems

# A reward keeps nothing from step to step. The first step scores with the base model's lengths, the
# later ones with a policy that the reward has moved.
STEPS = 3
SAMPLING = {"prompts_per_step": 3, "samples_per_prompt": 4, "cap_tokens": 40}


def of_target(name: str) -> dict[str, object]:
    """The settings of its own file of tests, and a reward that needs what it gives."""
    file = Path(__file__).parents[2] / "targets" / f"test_{name}.py"
    target = {"name": name, **run_path(str(file))["SETTINGS"]}
    reward = "a_dlp" if "weight" in targets.declared(name).gives else "l1_max"
    changes: dict[str, object] = {"reward": {"name": reward}, "target": target}
    if "effort" in targets.declared(name).needs:
        changes["effort"] = {"high": {}, "low": {"phrase": "="}}
    return changes


# Everything of a recipe but its reward: sections that replace the plain ones.
SETTINGS: dict[str, dict[str, object]] = {
    **{f"advantage {name}": {"advantage": {"name": name}} for name in advantages.available()},
    "advantage decoupled, scaled": {
        "reward": {"name": "kimi"},
        "advantage": {"name": "decoupled", "length_weight": 0.5, "scaled": True},
    },
    **{f"loss {name}": {"loss": {"name": name}} for name in losses.available()},
    "loss with a dual clip": {"loss": {"dual_clip": 3.0}},
    **{f"aggregation {name}": {"loss": {"aggregation": name}} for name in aggregations.available()},
    **{
        f"kl {name}": {"loss": {"kl": name, "kl_coef": 0.0 if name == "k1" else 0.01}}
        for name in ("k1", "k2", "k3")
    },
    **{
        f"credit {name}": {"credit": {"name": name}, "reward": {"name": "correctness"}}
        for name in credit.available()
    },
    "entropy bonus": {"loss": {"entropy_coef": 0.01}},
    "importance cap": {
        "loss": {"importance_cap": 2.0},
        "learner": {"steps": STEPS, "learning_rate": 3e-4, "staleness": 2},
    },
    **{
        f"bfloat16, {name}": {
            "learner": {"steps": STEPS, "learning_rate": 3e-4, "dtype": "bfloat16"},
            "model": {"path": "lab-v1", "cpu_threads": 1, **more},
        }
        for name, more in {
            "lean": {},
            "adapters": {"lora_rank": 4},
            "checkpointing": {"gradient_checkpointing": True},
        }.items()
    },
    "filter shortest": {"filter": {"name": "gfpo", "keep": 3}},
    "filter reward per token": {"filter": {"name": "gfpo", "keep": 3, "by": "reward_per_token"}},
    "dropped groups": {"sampling": {**SAMPLING, "without_signal": "drop"}},
    "refilled groups": {"sampling": {**SAMPLING, "without_signal": "refill", "refill_rounds": 2}},
    **{f"cells {name}": {"treatment": {"cells": name}} for name in STRATEGIES},
    "unfinished graded": {"treatment": {"unfinished": "graded", "mask_scope": "loss-only"}},
    **{f"target {name}": of_target(name) for name in targets.available()},
}


def recipe_of(changes: Mapping[str, object], *, problems: Path) -> Recipe:
    plain = {
        "model": {"path": "lab-v1", "cpu_threads": 1},
        "problems": {"train": str(problems), "test": str(problems), "test_limit": 2},
        "sampling": SAMPLING,
        "reward": {"name": "truncation"},
        "target": {"name": "fixed", "tokens": 20},
        "learner": {"steps": STEPS, "learning_rate": 3e-4},
        "evaluation": {"every_steps": 100, "samples": 1, "budgets": [40]},
        "checkpoint": {"every_steps": 100},
    }
    return check_recipe({**plain, **changes})


def of_reward(name: str) -> dict[str, object]:
    needed = rewards.needs(name)
    priced: dict[str, object] = (
        {"name": "accuracy_control", "start_tokens": 20}
        if "target_tokens" in needed
        else {"name": "dual_weight", "accuracy": 0.5}
    )
    return {
        "reward": {"name": name},
        "target": priced if "weight" in needed else {"name": "fixed", "tokens": 20},
        "advantage": {"name": "batch_normalised" if name == "kimi" else "group_normalised"},
    }


def train_one(name: str, recipe: Recipe, folder: Path) -> dict[str, object]:
    outcome = train(recipe, folder, resume=False, observer=QUIET)
    steps = jsonl.read(folder / "steps.jsonl", StepRecord)
    return {
        "name": name,
        "finished": outcome.finished,
        "steps": len(steps),
        "finite rewards": all(math.isfinite(s.reward_mean) for s in steps),
        # a step without any signal has no loss
        "finite losses": all(math.isfinite(s.loss) or s.zero_signal_share == 1 for s in steps),
        "steps with a signal": sum(s.zero_signal_share < 1 and s.update_tokens > 0 for s in steps),
        "kl": [s.kl_mean for s in steps if math.isfinite(s.kl_mean)],
        "dropped groups": sum(s.dropped_groups for s in steps),
        "refill rounds": sum(s.refill_rounds for s in steps),
        "prompts": [s.prompts for s in steps],
        "target tokens": sorted({s.target_tokens for s in steps}),
    }


def main() -> None:
    torch.set_num_threads(1)
    # As in the other tests, nothing waits for the disk.
    os.fsync = lambda _: None
    folder = Path(sys.argv[1])
    # Easy problems with a reference's length and accuracy on each.
    drawn = draw_problems(per_family=10, seed=0, split=Split.TRAIN, levels=(1, 2))
    known = [replace(p, reference_tokens=25.0, reference_accuracy=0.6) for p in drawn]
    jsonl.write(folder / "problems.jsonl", known)
    known_file = folder / "problems.jsonl"
    runs = {name: of_reward(name) for name in rewards.available()} | SETTINGS
    for name, changes in runs.items():
        recipe = recipe_of(changes, problems=known_file)
        print(json.dumps(train_one(name, recipe, folder / "runs" / name)), flush=True)


if __name__ == "__main__":
    main()
