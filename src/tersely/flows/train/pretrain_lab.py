"""`tersely lab pretrain`: the lab's two models again from their seed, with progress.

First supervised learning on worked solutions, then `tersely train` on correctness alone, by the
shipped recipe ``lab-reasoner``.
"""

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeRemainingColumn

from tersely.engines.learning import checkpoints
from tersely.engines.models import lab_folder, load_policy
from tersely.flows.recipe.recipe import read_recipe, shipped
from tersely.flows.train.loop import train
from tersely.flows.train.progress import Progress as TrainingProgress
from tersely.lab import pretrain
from tersely.lab.vocabulary import make_tokenizer

# Part of the recipe: another number of threads rounds sums differently.
THREADS = 1
RECIPE = "lab-reasoner"
# Folders that are written, and the shipped models that they should equal.
STAGES = {"supervised": "lab-v2-supervised", "reasoner": "lab-v2"}
APART = (
    "Another kind of CPU, or another torch than 2.13.0, rounds sums differently, and thousands of "
    "steps make other weights of that. Compare what the models can do with docs/lab.md: tersely "
    "eval --model lab-v2 --benchmark lab --cap-tokens 448, and the same with yours."
)


def pretrain_lab(out: Path, *, seed: int, console: Console, check: bool) -> bool:
    """Makes and saves both models; with ``check``, says whether they are the shipped ones.

    Returns:
        True if unchecked, or if every weight equals the shipped checkpoints', bit for bit.
    """
    torch.set_num_threads(THREADS)
    supervised, reasoner = (out / stage for stage in STAGES)
    _supervise(supervised, seed=seed, console=console)
    _reinforce(supervised, out / "run", reasoner, seed=seed, console=console)
    console.print(f"saved to {supervised} and {reasoner}", highlight=False)
    if not check:
        return True
    found = [_equals_shipped(out / stage, name, console) for stage, name in STAGES.items()]
    if not all(found):
        console.print(APART, highlight=False)
    return all(found)


def _supervise(folder: Path, *, seed: int, console: Console) -> None:
    columns = (
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.3f} nats per token"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("supervised", total=pretrain.STEPS, loss=float("nan"))
        model, tokenizer = pretrain.pretrain(
            seed=seed, on_step=lambda step, loss: bar.update(task, completed=step + 1, loss=loss)
        )
    pretrain.save(model, tokenizer, folder)


def _reinforce(base: Path, run: Path, folder: Path, *, seed: int, console: Console) -> None:
    """Trains the base on correctness in ``run`` and saves what came of it as a model folder."""
    recipe = read_recipe(shipped(RECIPE), overrides=[f'model.path="{base}"'])
    # Seed 0 is the shipped one.
    recipe = recipe.model_copy(update={"seed": recipe.seed + seed})
    progress = TrainingProgress(console)
    with progress.display.bars:
        train(recipe, run, observer=progress)
    last = checkpoints.find(run / "checkpoints", recipe.learner.steps)
    pretrain.save(load_policy(str(last)).model, make_tokenizer(), folder)


def _equals_shipped(folder: Path, name: str, console: Console) -> bool:
    ours, theirs = (
        load_policy(str(place)).model.state_dict() for place in (folder, lab_folder(name))
    )
    apart = {key: float((weight - theirs[key]).abs().max()) for key, weight in ours.items()}
    worst = max(apart, key=lambda key: apart[key])
    same = apart[worst] == 0
    verdict = "equal, bit for bit" if same else f"differ by up to {apart[worst]:.3g} in {worst}"
    console.print(f"against the shipped {name}, weights {verdict}", highlight=False)
    return same
