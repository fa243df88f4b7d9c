"""One process of a TRL run: ``torchrun --nproc-per-node N -m tersely.flows.trl.worker RUN``.

``tersely launch trl`` starts it with ``--processes``, which makes it the ``torchrun`` of N others;
on several machines start it on each of them, with ``torchrun`` or ``accelerate launch``.
"""

import argparse
import ctypes
import dataclasses
import gc
import os
import signal
import sys
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from tersely.core.errors import ConfigError, DataError, TerselyError
from tersely.core.lock import lock_folder
from tersely.flows.recipe.recipe import RECIPE_FILE, Recipe, read_recipe
from tersely.flows.trl.hooks import latest, trl_hooks
from tersely.flows.trl.settings import CHECKPOINTS, trl_settings

MODULE = "tersely.flows.trl.worker"
# Set by the launcher, with which its processes are to end.
LAUNCHED = "TERSELY_LAUNCHED"


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
    # A process that leaves early breaks the others' connections, and one that shuts Python down
    # under the group's own threads, which live as long as the wrapped model, is aborted.
    trainer.accelerator.wait_for_everyone()
    # A vLLM in this process ends the process groups itself, and says so aloud if they are gone.
    with suppress(AttributeError):
        trainer.vllm_generation.llm.llm_engine.engine_core.shutdown()
    trainer.accelerator.end_training()
    del trainer
    gc.collect()


def spread(folder: Path, *, processes: int) -> int:
    """Runs so many processes on this machine; the exit code of the first that fails, or 0."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(
            ["--standalone", f"--nproc-per-node={processes}", "-m", MODULE, str(folder)],
        )
    except ChildFailedError as error:  # its processes have said why
        return max(int(error.get_first_failure()[1].exitcode), 1)
    except SignalException as asked:
        return 128 + int(asked.sigval)
    return 0


def die_with_parent() -> None:
    """On Linux a run whose launcher was killed does not go on and write into its folder."""
    if sys.platform == "linux":
        set_pdeathsig = 1
        ctypes.CDLL(None).prctl(set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 ok, 1 the run failed, 2 bad input; one line for anything raised on purpose."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder with a recipe")
    parser.add_argument("--processes", type=int, default=1, help="on this machine")
    given = parser.parse_args(arguments)
    if os.environ.get(LAUNCHED):
        die_with_parent()
    if given.processes > 1:
        return spread(given.run, processes=given.processes)
    # TRL and transformers announce each other's future changes, once a process.
    warnings.simplefilter("ignore", FutureWarning)
    # A launcher holds the folder for its processes; else the first of them does.
    first = not os.environ.get(LAUNCHED) and os.environ.get("RANK", "0") == "0"
    try:
        with lock_folder(given.run) if first else nullcontext():
            work(given.run)
    except TerselyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError | DataError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
