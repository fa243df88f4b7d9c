"""One process of a TRL run: ``torchrun --nproc-per-node N -m tersely.flows.launch_worker RUN``.

``tersely launch trl`` starts it; on several machines start it on each of them by hand, with
``torchrun`` or with ``accelerate launch --config_file``.
"""

import dataclasses
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from tersely.core.errors import ConfigError, DataError, TerselyError
from tersely.flows.config import Recipe, read_recipe
from tersely.flows.launch_hooks import latest, trl_hooks
from tersely.flows.launch_trl import trl_settings
from tersely.flows.runs import RECIPE_FILE

CHECKPOINTS = "checkpoints"


def config_fields() -> frozenset[str]:
    """The settings that TRL's ``GRPOConfig`` has."""
    from trl import GRPOConfig

    return frozenset(field.name for field in dataclasses.fields(GRPOConfig))


def make_trainer(recipe: Recipe, folder: Path, *, processes: int) -> Any:
    """TRL's trainer with the recipe's settings, rewards and records, at its last checkpoint."""
    import torch
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from tersely.engines.models import folder_of, load_tokenizer

    output = folder / CHECKPOINTS
    settings = trl_settings(
        recipe,
        processes=processes,
        output=output,
        known=config_fields(),
        cuda=torch.cuda.is_available(),
    )
    config = GRPOConfig(**settings)
    hooks = trl_hooks(recipe, folder, saved=latest(output))
    trainer = GRPOTrainer(
        # A path, not a model: TRL and accelerate decide how and where to load it.
        model=str(folder_of(recipe.model.path)),
        processing_class=load_tokenizer(recipe.model.path),
        reward_funcs=hooks.reward,
        args=config,
        train_dataset=hooks.dataset,
        callbacks=[hooks.callback],
    )
    hooks.attach(trainer)
    # It prints every log to stdout, which is for data; the records hold what it says.
    trainer.remove_callback(PrinterCallback)
    return trainer


def work(folder: Path) -> None:
    """Trains the recipe of a run folder to its end, from its last whole checkpoint."""
    import torch

    recipe = read_recipe(folder / RECIPE_FILE)
    if recipe.model.cpu_threads:
        torch.set_num_threads(recipe.model.cpu_threads)
    trainer = make_trainer(recipe, folder, processes=int(os.environ.get("WORLD_SIZE", "1")))
    saved = latest(folder / CHECKPOINTS)
    trainer.train(resume_from_checkpoint=str(saved.folder) if saved else None)


def main(arguments: list[str]) -> int:
    """Exit code 0 ok, 1 the run failed, 2 bad input; one line for anything raised on purpose."""
    if len(arguments) != 1:
        print("usage: python -m tersely.flows.launch_worker RUN", file=sys.stderr)
        return 2
    # TRL and transformers announce each other's future changes, once a process.
    warnings.simplefilter("ignore", FutureWarning)
    try:
        work(Path(arguments[0]))
    except TerselyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError | DataError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
