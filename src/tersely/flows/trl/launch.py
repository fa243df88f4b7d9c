"""The same recipe on an engine of many processes: checked here, started, and judged at its ends.

All that can be refused is refused before a process is started or a GPU is taken.
"""

import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tersely.core import jsonl
from tersely.core.errors import ConfigError, EngineError, TerselyWarning
from tersely.core.lock import lock_folder
from tersely.core.types import Problem, StepRecord, StepTiming
from tersely.engines.fallback import make_sampler
from tersely.engines.models import Policy, load_policy
from tersely.flows.observer import Observer
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.train.loop import evaluate_policy
from tersely.flows.train.monitor import AlarmMonitor
from tersely.flows.train.seams import check_engine
from tersely.flows.train.session import Session, begin, go_on, make_monitor, open_folder
from tersely.flows.trl.hooks import check_saved, engine_of, go_back, latest
from tersely.flows.trl.settings import CHECKPOINTS, template_settings, trl_settings
from tersely.flows.trl.trainer import TRL
from tersely.flows.trl.worker import LAUNCHED, MODULE, config_fields

POLL_S = 0.5


def plan_trl(recipe: Recipe, folder: Path, *, processes: int, dry: bool = False) -> dict[str, Any]:
    """The settings of ``GRPOConfig`` that a run would have; nothing is loaded or written.

    Args:
        dry: the run may be another machine's: what its sampler lacks here is a warning.
    Raises:
        ConfigError: TRL is missing or another than we know, or cannot do what the recipe says.
    """
    import torch

    check_engine(TRL)
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise ConfigError(
            f"--processes {processes} exceeds the {gpus} GPUs of this machine; give one for each"
        )
    settings = trl_settings(
        recipe,
        processes=processes,
        output=folder / CHECKPOINTS,
        known=config_fields(),
        cuda=torch.cuda.is_available(),
    )
    _check_sampler(settings, gpus=gpus, dry=dry)
    return settings


def _check_sampler(settings: Mapping[str, Any], *, gpus: int, dry: bool) -> None:
    lacking = sampler_lacks(settings, gpus=gpus, installed=find_spec("vllm") is not None)
    if lacking is not None and not dry:
        raise ConfigError(lacking)
    if lacking is not None:
        warnings.warn(f"on this machine, {lacking}", TerselyWarning, stacklevel=3)
    elif settings.get("use_vllm") and gpus == 0:
        warnings.warn(
            "trl.use_vllm = true without a GPU: vLLM for CPUs packs its weights and cannot take "
            "those of TRL's next step, unless a plugin of vLLM's keeps them plain; leave it out "
            "(docs/scale.md)",
            TerselyWarning,
            stacklevel=3,
        )


def sampler_lacks(settings: Mapping[str, Any], *, gpus: int, installed: bool) -> str | None:
    """What a machine lacks that TRL's sampling through vLLM needs; None if nothing.

    Args:
        settings: of ``GRPOConfig``.
        installed: whether vLLM is; TRL's client of a server needs it too.
    """
    if not settings.get("use_vllm"):
        return None
    if settings.get("vllm_mode") == "server" and gpus == 0:
        return (
            'trl.vllm_mode = "server" needs a CUDA GPU and there is none: TRL sends its weights to '
            'the server over NCCL; set trl.vllm_mode = "colocate"'
        )
    if not installed:
        return (
            "trl.use_vllm = true needs vllm, which is not installed: run pip install vllm in TRL's "
            "environment, or leave it out"
        )
    return None


def worker_command(folder: Path, *, processes: int) -> list[str]:
    """What starts a run's processes on this machine."""
    return [sys.executable, "-m", MODULE, str(folder), "--processes", str(processes)]


def launch_trl(
    recipe: Recipe,
    folder: Path,
    *,
    processes: int,
    resume: bool = False,
    resume_from: int | None = None,
    changes: Sequence[str] = (),
    observer: Observer,
) -> None:
    """Trains a recipe with TRL, or goes on from its last checkpoint; evaluates before and after.

    Args:
        resume_from: the step of an older checkpoint to go back to; later ones are dropped.
        changes: keys of the recipe that were set by hand and may differ from the run's.
    Raises:
        ConfigError: the folder, recipe, model or problems cannot be used as given, or another
            process writes to the folder.
        DataError: a file of the run was damaged or edited.
        EngineError: a process failed, or an alarm stops the run; the last checkpoint stands.
    """
    plan_trl(recipe, folder, processes=processes)
    with lock_folder(folder):
        session = begin(
            recipe,
            folder,
            resume=resume,
            resume_from=resume_from,
            changes=changes,
            template=template_settings(recipe),
        )
        policy = load_policy(recipe.model.path)
        open_folder(session, engine=engine_of(processes), packages=(*TRL.tested,))
        if resume_from is not None:
            go_back(folder / CHECKPOINTS, resume_from)
        saved = latest(folder / CHECKPOINTS)
        if saved is not None:
            check_saved(saved.folder)
        done = saved.step if saved else 0
        go_on(session, found=done, older=resume_from is not None)
        _go(session, policy, done, processes=processes, observer=observer)


def _go(session: Session, policy: Policy, done: int, *, processes: int, observer: Observer) -> None:
    recipe, folder = session.recipe, session.folder
    _evaluate(recipe, folder, 0, policy, session.test, observer=observer)
    del policy
    _release_memory()
    if done < recipe.learner.steps:
        monitor = make_monitor(
            session, observer=observer, latest=lambda: _folder_of_latest(folder / CHECKPOINTS)
        )
        _run(recipe, folder, processes=processes, observer=observer, monitor=monitor)
    _evaluate_last(recipe, folder, session.test, observer=observer)


def _folder_of_latest(output: Path) -> Path | None:
    saved = latest(output)
    return saved.folder if saved else None


def _evaluate(
    recipe: Recipe,
    folder: Path,
    step: int,
    policy: Policy,
    test: Sequence[Problem],
    *,
    observer: Observer,
) -> None:
    evaluate_policy(
        recipe,
        folder,
        step,
        sampler=make_sampler(
            policy.model,
            policy.tokenizer,
            rows=recipe.sampling.rows,
            template=template_settings(recipe),
        ),
        tokenizer=policy.tokenizer,
        problems=test,
        observer=observer,
    )


def _release_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _run(
    recipe: Recipe, folder: Path, *, processes: int, observer: Observer, monitor: AlarmMonitor
) -> None:
    """Starts the processes and shows what they record, to their end."""
    cores = max(1, (os.cpu_count() or 1) // processes)
    environment = {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(recipe.model.cpu_threads or cores),
        **os.environ,
        LAUNCHED: "1",
    }
    with subprocess.Popen(worker_command(folder, processes=processes), env=environment) as process:
        try:
            code = follow(
                process, folder, observer=observer, steps=recipe.learner.steps, monitor=monitor
            )
        except BaseException:
            # torchrun passes this on to its processes and waits for them.
            process.terminate()
            raise
    if code:
        saved = latest(folder / CHECKPOINTS)
        where = f"step {saved.step}'s checkpoint stands" if saved else "no checkpoint was written"
        raise EngineError(
            f"TRL stopped with exit code {code}, see above; {where}: go on with --resume"
        )


def follow(
    process: "subprocess.Popen[bytes]",
    folder: Path,
    *,
    observer: Observer,
    steps: int,
    monitor: AlarmMonitor,
) -> int:
    """The exit code, once the process ends; until then each new record is shown and checked.

    Raises:
        EngineError: an alarm stops the run.
    """
    shown = len(_whole_lines(folder / "steps.jsonl"))
    code = None
    while code is None:
        try:
            code = process.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            code = None
        records = _whole_lines(folder / "steps.jsonl")[shown:]
        timings = _whole_lines(folder / "timings.jsonl")[shown:]
        for record, timing in zip(
            jsonl.parse(records, StepRecord, name="steps.jsonl"),
            jsonl.parse(timings[: len(records)], StepTiming, name="timings.jsonl"),
            strict=True,
        ):
            observer.on_step(record, timing, steps=steps)
            monitor.after(record)
        shown += len(records)
    return code


def _whole_lines(file: Path) -> list[bytes]:
    """The lines that are there, without one that is still being written."""
    return file.read_bytes().split(b"\n")[:-1] if file.is_file() else []


def _evaluate_last(
    recipe: Recipe, folder: Path, test: Sequence[Problem], *, observer: Observer
) -> None:
    saved = latest(folder / CHECKPOINTS)
    if saved is None or saved.step < recipe.learner.steps:
        raise EngineError(f"TRL ended without the checkpoint of step {recipe.learner.steps}")
    try:
        policy = load_policy(str(saved.folder))
    except ConfigError as error:
        raise EngineError(
            f"trained to the end, but {saved.folder} holds no whole weights to evaluate ({error}); "
            "merge its shards (accelerate merge-weights) and run tersely eval on them"
        ) from error
    _evaluate(recipe, folder, saved.step, policy, test, observer=observer)
