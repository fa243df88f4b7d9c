"""Trains every reward for twenty steps at the smallest size; one JSON line each on stdout.

A process of its own, without the type checks of the test suite, which cost more than the training.
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch

from tersely import rewards
from tersely.core import jsonl
from tersely.core.types import StepRecord
from tersely.flows.config import check_recipe
from tersely.flows.train import train
from tersely.lab.problems import Split, draw_problems

STEPS = 20
TARGETS = {
    "a_dlp": {"name": "dual_weight", "accuracy": 0.5},
    "hapo": {"name": "history_minimum"},
    "laser_d": {
        "name": "difficulty_bins",
        "start_tokens": 40,
        "step_tokens": 5,
        "every_steps": 4,
    },
    "thinkprune": {"name": "staged", "tokens": [30, 20], "every_steps": 10},
    "laser": {"name": "batch_quantile", "start_tokens": 40},
    "laser_de": {"name": "group_quantile", "start_tokens": 40},
}


class Quiet:
    """Watches without a word."""

    def on_sampling(self, what, total):
        pass

    def on_rollout(self):
        pass

    def on_step(self, record, timing, *, steps):
        pass

    def on_evaluation(self, step, records):
        pass

    def wants_stop(self):
        return False


def train_one(name: str, problems: Path, folder: Path) -> dict[str, object]:
    recipe = check_recipe(
        {
            "model": {"path": "lab", "cpu_threads": 1},
            "problems": {"train": str(problems), "test": str(problems), "test_limit": 2},
            "sampling": {"prompts_per_step": 3, "samples_per_prompt": 4, "cap_tokens": 40},
            "reward": {"name": name},
            "target": TARGETS.get(name, {"name": "fixed", "tokens": 20}),
            "advantage": {"name": "batch_normalised" if name == "kimi" else "group_normalised"},
            "learner": {"steps": STEPS, "learning_rate": 3e-4},
            "evaluation": {"every_steps": 100, "samples": 1, "budgets": [40]},
            "checkpoint": {"every_steps": 100},
        }
    )
    outcome = train(recipe, folder, resume=False, watch=Quiet())
    steps = jsonl.read(folder / "steps.jsonl", StepRecord)
    return {
        "name": name,
        "finished": outcome.finished,
        "steps": len(steps),
        "finite rewards": all(math.isfinite(s.reward_mean) for s in steps),
        # a step without any signal has no loss
        "finite losses": all(math.isfinite(s.loss) or s.zero_signal_share == 1 for s in steps),
        "steps with a signal": sum(s.zero_signal_share < 1 and s.update_tokens > 0 for s in steps),
    }


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    # Easy problems with a reference's length and accuracy on each.
    drawn = draw_problems(per_family=10, seed=0, split=Split.TRAIN, levels=(1, 2))
    known = [replace(p, reference_tokens=25.0, reference_accuracy=0.6) for p in drawn]
    jsonl.write(folder / "problems.jsonl", known)
    for name in rewards.available():
        print(json.dumps(train_one(name, folder / "problems.jsonl", folder / name)), flush=True)


if __name__ == "__main__":
    main()
