"""Trains run folders with TRL and keeps what its loss was given: ``trl_probe.py OUT RUN ...``.

Run by test_trl_training.py in one process or, by torchrun, in two.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.trl.trainer import SEAM
from tersely.flows.trl.worker import make_trainer, work

RANK = int(os.environ.get("RANK", "0"))
KEPT = ("completion_ids", "completion_mask", "tool_mask", "advantages", "num_items_in_batch")


def keep_batches(trainer: Any, out: Path) -> None:
    """From now on what every step's loss is given is written to a file of this process."""
    inner, step = getattr(trainer, SEAM), 0

    def generate_and_score(inputs: Any) -> Any:
        nonlocal step
        output = inner(inputs)
        arrays = {name: output[name].numpy() for name in KEPT}
        np.savez(
            out / f"step{step}-rank{RANK}.npz",
            problem=[row["problem"] for row in inputs],
            **arrays,
            prompt_ids=output["prompt_ids"].numpy(),
            prompt_mask=output["prompt_mask"].numpy(),
        )
        step += 1
        return output

    setattr(trainer, SEAM, generate_and_score)


def train(folder: Path, out: Path) -> None:
    """Trains one run folder and keeps its batches."""
    recipe = read_recipe(folder / "recipe.toml")
    trainer = make_trainer(recipe, folder, processes=int(os.environ.get("WORLD_SIZE", "1")))
    (out / folder.name).mkdir(parents=True, exist_ok=True)
    keep_batches(trainer, out / folder.name)
    trainer.train()


def group_threads() -> list[str]:
    """Threads of the processes' group that are still at work in this process."""
    names = [task.joinpath("comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return [name for name in names if "gloo" in name]


def main() -> None:
    """Trains each run folder in turn; then goes on with the last, which is done, and leaves."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    for folder in map(Path, sys.argv[2:]):
        train(folder, out)
    assert bool(group_threads()) == ("RANK" in os.environ)
    work(folder)
    assert not group_threads()


if __name__ == "__main__":
    main()
