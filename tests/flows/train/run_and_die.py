"""Runs the tiny recipe in a folder and kills its own process, without a chance to clean up, at
the named moment. Started by test_resume.py as a process of its own."""

import os
import signal
import sys
from pathlib import Path

import torch

from tersely.cli import offline  # noqa: F401, as every command begins
from tersely.core import jsonl
from tersely.engines.learning import checkpoints
from tersely.flows.observer import QUIET, Quiet
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.train import step as step_flow
from tersely.flows.train.loop import train

HERE = Path(__file__).parent


class Dies(Quiet):
    """Kills the process when so many rollouts are done: in the middle of a step's sampling."""

    def __init__(self, *, at_rollout: int) -> None:
        super().__init__()
        self.rollouts = 0
        self.at_rollout = at_rollout

    def on_sample(self, record) -> None:
        self.rollouts += 1
        if self.rollouts == self.at_rollout:
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_inside_a_line() -> None:
    """Half of step 3's record reaches the disk."""
    whole = jsonl.append

    def torn(path: Path, record: object, **settings: bool) -> None:
        whole(path, record, **settings)
        if path.name == "steps.jsonl" and record.step == 3:
            content = path.read_bytes()
            path.write_bytes(content[:-40])
            die()

    step_flow.jsonl.append = torn


def die_inside_a_checkpoint() -> None:
    """The checkpoint of step 4 is written and not yet renamed."""
    rename = os.replace

    def dies(source: Path, target: Path) -> None:
        if Path(target).name == "step-000004":
            die()
        rename(source, target)

    checkpoints.os.replace = dies


def main(folder: Path, moment: str, overrides: list[str]) -> None:
    torch.set_num_threads(1)
    observer = QUIET
    match moment:
        case "never":
            pass
        case "sampling":
            # 16 of the first evaluation, 16 of step 0, 5 into step 1: before any checkpoint.
            observer = Dies(at_rollout=37)
        case "line":
            die_inside_a_line()
        case "checkpoint":
            die_inside_a_checkpoint()
        case _:
            raise SystemExit(f"unknown moment {moment}")
    resume = (folder / "manifest.json").exists()
    recipe = read_recipe(HERE.parent / "tiny.toml", overrides=overrides)
    train(recipe, folder, resume=resume, observer=observer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
