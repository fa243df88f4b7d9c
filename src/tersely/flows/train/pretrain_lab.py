"""`tersely lab pretrain`: the lab's base policy again from its seed, with progress."""

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeRemainingColumn

from tersely.engines.models import lab_folder
from tersely.lab import pretrain

# Part of the recipe: another number of threads rounds sums differently.
THREADS = 1


def pretrain_lab(out: Path, *, seed: int, console: Console, check: bool) -> bool:
    """Makes and saves the model; with ``check``, says whether it is the shipped one, bit for bit.

    Returns:
        True if unchecked, or if every weight equals the shipped checkpoint's.
    """
    torch.set_num_threads(THREADS)
    columns = (
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.3f} nats per token"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("pretraining", total=pretrain.STEPS, loss=float("nan"))
        model, tokenizer = pretrain.pretrain(
            seed=seed, on_step=lambda step, loss: bar.update(task, completed=step + 1, loss=loss)
        )
    pretrain.save(model, tokenizer, out)
    console.print(f"saved to {out}", highlight=False)
    if not check:
        return True
    shipped = type(model).from_pretrained(lab_folder(), dtype=torch.float32).state_dict()
    apart = {
        name: float((weight - shipped[name]).abs().max())
        for name, weight in model.state_dict().items()
    }
    worst = max(apart, key=lambda name: apart[name])
    same = apart[worst] == 0
    verdict = "equal, bit for bit" if same else f"differ by up to {apart[worst]:.3g} in {worst}"
    console.print(f"against the shipped checkpoint, weights {verdict}", highlight=False)
    return same
