"""The same recipe on verl: its configuration and files written and checked, started, followed.

All that can be refused is refused before Ray is started or a GPU is taken.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tersely.core.errors import ConfigError, EngineError, no_checkpoint
from tersely.core.lock import lock_folder
from tersely.core.storage import write_atomically, writing
from tersely.core.types import Problem
from tersely.flows.curate.files import verl_frame
from tersely.flows.observer import Observer
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.train.monitor import AlarmMonitor
from tersely.flows.train.session import Session, begin, go_on, make_monitor, open_folder
from tersely.flows.train.step import all_steps_problems
from tersely.flows.verl.estimator import TESTED, check_versions
from tersely.flows.verl.records import Transcript, metrics_file
from tersely.flows.verl.settings import (
    ATTEMPT,
    CHECKPOINTS,
    ENGINE,
    HOOKS,
    RUN,
    TEST_FILE,
    TRAIN_FILE,
    given,
    is_open,
    verl_settings,
)
from tersely.flows.verl.template import template_settings

MAIN = "verl.trainer.main_ppo"
NEWEST_FILE, _STEPS = "latest_checkpointed_iteration.txt", "global_step_[0-9]*"
POLL_S, GRACE_S = 2.0, 30.0
# verl's own default, where the prompts are not at hand to be measured.
PROMPT_TOKENS = 512
SCHEMA, SCHEMA_FOLDER = "ppo_trainer", "verl.trainer.config"
# What hydra takes for text without quotes.
_WORD = re.compile(r"(?!(true|false|null|nan|inf)$)[A-Za-z_/][\w./:-]*", re.IGNORECASE)


def plan_verl(
    recipe: Recipe,
    folder: Path,
    *,
    nodes: int,
    gpus_per_node: int,
    prompt_tokens: int = PROMPT_TOKENS,
) -> list[str]:
    """The overrides of verl's ``ppo_trainer`` that a run would have, after verl has composed them.

    Raises:
        ConfigError: verl is missing, of another version, or cannot do what the recipe says.
    """
    check_versions()
    known = known_keys(given(recipe).get(ENGINE))
    settings = verl_settings(
        recipe,
        folder=folder,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        prompt_tokens=prompt_tokens,
        known=known,
    )
    overrides = as_overrides(settings, folder=folder, known=known)
    check_composed(overrides)
    return overrides


def known_keys(engine: str | None = None) -> frozenset[str]:
    """The dotted keys of verl's own schema, with this ``model_engine``."""
    overrides = ["actor_rollout_ref.rollout.name=vllm"]
    composed = compose_config(overrides + ([f"{ENGINE}={engine}"] if engine else []))
    return frozenset(_keys(composed))


def _keys(node: Any, prefix: str = "") -> list[str]:
    """Of leaves; a part without any is a key that takes others."""
    from omegaconf import DictConfig

    found: list[str] = []
    for key in node:
        inner = node._get_node(key)
        is_part = isinstance(inner, DictConfig) and not inner._is_none() and len(inner)
        found += _keys(inner, f"{prefix}{key}.") if is_part else [f"{prefix}{key}"]
    return found


def compose_config(overrides: Sequence[str]) -> Any:
    """verl's configuration with these overrides.

    Raises:
        ConfigError: one is of no key of verl's.
    """
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException

    try:
        with initialize_config_module(SCHEMA_FOLDER, version_base=None):
            return compose(SCHEMA, overrides=list(overrides))
    except HydraException as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"verl cannot compose its configuration: {first}; see [verl]") from error


def as_overrides(settings: Mapping[str, Any], *, folder: Path, known: frozenset[str]) -> list[str]:
    """Hydra's overrides; ``+`` adds keys that verl leaves open, and Ray's environment."""
    environment = {
        "VERL_USE_EXTERNAL_MODULES": HOOKS,
        RUN: str(folder.absolute()),
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"),
    }
    lines = [
        f"{'+' if is_open(key, known) else ''}{key}={_hydra(value)}"
        for key, value in sorted(settings.items())
    ]
    # Not left in the folder where it was started.
    logs = f"hydra.run.dir={_hydra(str(folder.absolute() / 'verl' / 'hydra'))}"
    return [*lines, *for_ray(environment), logs]


def for_ray(environment: Mapping[str, str]) -> list[str]:
    """Overrides by which Ray's processes, on whatever machine, get these variables."""
    return [
        f"+ray_kwargs.ray_init.runtime_env.env_vars.{name}={_hydra(value)}"
        for name, value in environment.items()
    ]


def _hydra(value: Any) -> str:
    """A value in the grammar of hydra's overrides."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case list() | tuple():
            return "[" + ",".join(_hydra(each) for each in value) + "]"
        case _:
            text = str(value)
            escaped = text.replace("\\", "\\\\").replace("'", "\\'")
            return text if _WORD.fullmatch(text) else f"'{escaped}'"


def check_composed(overrides: Sequence[str]) -> None:
    """Has verl compose and validate its configuration, as its trainer will.

    Raises:
        ConfigError: verl refuses it, in verl's words.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    config = compose_config(overrides)
    try:
        OmegaConf.resolve(config)
        validate_config(
            config,
            use_reference_policy=need_reference_policy(config),
            use_critic=need_critic(config),
        )
    except (AssertionError, ValueError, TypeError, HydraException, OmegaConfBaseException) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"verl refuses its configuration: {said}; see [verl]") from error


def write_files(
    recipe: Recipe, folder: Path, training: Sequence[Problem], test: Sequence[Problem]
) -> None:
    """The Parquet files that verl reads: every step's prompts in our order, and the held-out."""
    inside = folder / "verl"
    inside.mkdir(exist_ok=True)
    laid_out = all_steps_problems(recipe, training)
    sides = ((TRAIN_FILE, "train", laid_out), (TEST_FILE, "test", test))
    for name, split, problems in sides:
        frame = verl_frame(problems).with_columns(
            pl.col("extra_info").struct.with_fields(pl.lit(split).alias("split"))
        )
        with writing(inside / name):
            frame.write_parquet(inside / name)


def launch_verl(
    recipe: Recipe,
    folder: Path,
    *,
    nodes: int,
    gpus_per_node: int,
    resume: bool = False,
    resume_from: int | None = None,
    changes: Sequence[str] = (),
    observer: Observer,
) -> None:
    """Trains a recipe with verl, or goes on from its last checkpoint, and keeps its records.

    Args:
        resume_from: the step of an older checkpoint to go back to; later ones are dropped.
        changes: keys of the recipe that were set by hand and may differ from the run's.
    Raises:
        ConfigError: the folder, recipe, model, problems or machine cannot be used as given, or
            another process writes to the folder.
        EngineError: verl failed, or an alarm stops the run; the last checkpoint stands.
    """
    plan_verl(recipe, folder, nodes=nodes, gpus_per_node=gpus_per_node)
    check_gpus(nodes=nodes, gpus_per_node=gpus_per_node)
    with lock_folder(folder):
        session = begin(
            recipe,
            folder,
            resume=resume,
            resume_from=resume_from,
            changes=changes,
            test_cap_tokens=recipe.sampling.cap_tokens,
            template=template_settings(recipe),
        )
        overrides = write_inputs(session, nodes=nodes, gpus_per_node=gpus_per_node)
        if resume_from is not None:
            go_back(folder, resume_from)
        done = last_checkpoint(folder)
        go_on(session, found=done, older=resume_from is not None)
        _go(session, overrides, done, observer=observer)


def _go(session: Session, overrides: Sequence[str], done: int, *, observer: Observer) -> None:
    """Starts verl and keeps its records to its end."""
    recipe, folder = session.recipe, session.folder
    attempt = f"{len(list((folder / 'verl').glob('metrics-*.jsonl'))):03d}"
    by_id = [{problem.id: problem for problem in side} for side in (session.train, session.test)]
    monitor = make_monitor(
        session,
        observer=observer,
        latest=lambda: folder / CHECKPOINTS if last_checkpoint(folder) else None,
    )
    transcript = Transcript(recipe, folder, *by_id, attempt=attempt, done=done)
    following = _Following(recipe, transcript, observer, monitor)
    code = _run(overrides, folder, following.look, attempt=attempt)
    if code:
        raise EngineError(
            f"verl stopped with exit code {code}, see above; step {last_checkpoint(folder)} is the "
            "last checkpoint: go on with --resume"
        )


def write_inputs(session: Session, *, nodes: int, gpus_per_node: int) -> list[str]:
    """Opens the run folder and writes what verl will read; verl's overrides."""
    recipe, folder = session.recipe, session.folder
    open_folder(session, engine=f"verl, {nodes} x {gpus_per_node} GPUs", packages=(*TESTED,))
    write_files(recipe, folder, session.train, session.test)
    overrides = plan_verl(
        recipe,
        folder,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        prompt_tokens=max(map(len, session.prompts)),
    )
    write_atomically(folder / "verl" / "overrides.json", json.dumps(overrides, indent=1))
    return overrides


def check_gpus(*, nodes: int, gpus_per_node: int) -> None:
    """ConfigError where nothing can sample or learn as verl does."""
    import torch

    found = torch.cuda.device_count()
    if not os.environ.get("RAY_ADDRESS") and found < gpus_per_node:
        raise ConfigError(
            f"--gpus-per-node {gpus_per_node} exceeds the {found} GPUs of this machine; start Ray "
            "where they are and set RAY_ADDRESS, or train with tersely train or launch trl"
        )
    if nodes > 1 and not os.environ.get("RAY_ADDRESS"):
        raise ConfigError(
            f"--nodes {nodes} needs a Ray cluster: run `ray start --head` on one machine, `ray "
            "start --address=...` on the others, and set RAY_ADDRESS=auto"
        )


def last_checkpoint(folder: Path) -> int:
    """The step of verl's newest whole checkpoint, 0 if there is none.

    Raises:
        ConfigError: verl's note of it was cut off, or what it names is not there.
    """
    file = folder / CHECKPOINTS / NEWEST_FILE
    if not file.is_file():
        return 0
    text = file.read_text(encoding="utf-8").strip()
    if not text.isdigit():
        raise ConfigError(
            f"{file} says {text!r}, which is no step; write the number of the newest whole "
            "global_step_N beside it"
        )
    if not (saved := file.parent / f"global_step_{text}").is_dir():
        raise ConfigError(
            f"{file} names step {text}, and there is no {saved}; restore it, or write the number "
            "of the newest whole global_step_N beside it"
        )
    return int(text)


def go_back(folder: Path, step: int) -> None:
    """Has verl go on from an older checkpoint, and deletes later ones.

    Raises:
        ConfigError: there is none of the step; names those that are kept.
    """
    inside = folder / CHECKPOINTS
    kept = {int(path.name.removeprefix("global_step_")): path for path in inside.glob(_STEPS)}
    if step not in kept:
        raise ConfigError(no_checkpoint(step, inside, kept))
    write_atomically(inside / NEWEST_FILE, str(step))
    for later, path in kept.items():
        if later > step:
            shutil.rmtree(path)


def command(overrides: Sequence[str]) -> list[str]:
    """What starts verl."""
    return [sys.executable, "-m", MAIN, *overrides]


class _Following:
    """What verl writes, shown and checked for alarms as it comes."""

    def __init__(
        self, recipe: Recipe, transcript: Transcript, observer: Observer, monitor: AlarmMonitor
    ) -> None:
        self._steps = recipe.learner.steps
        self._transcript, self._observer, self._monitor = transcript, observer, monitor

    def look(self) -> None:
        """Takes the records that are complete.

        Raises:
            EngineError: an alarm stops the run.
        """
        for step, records in self._transcript.take_evaluations():
            self._observer.on_evaluation(step, records)
        for record, timing in self._transcript.take():
            self._observer.on_step(record, timing, steps=self._steps)
            self._monitor.after(record)


def _run(overrides: Sequence[str], folder: Path, look: Callable[[], None], *, attempt: str) -> int:
    """Starts verl, calls ``look`` again and again until it ends, and returns its exit code."""
    log = metrics_file(folder, attempt).absolute()
    # Made here: a start that dies before verl logs anything has its number all the same.
    log.touch()
    attempt_variables = {ATTEMPT: attempt, "VERL_FILE_LOGGER_PATH": str(log)}
    own = {**attempt_variables, "VERL_USE_EXTERNAL_MODULES": HOOKS, RUN: str(folder.absolute())}
    # A session of its own: Ctrl-C reaches verl once, from here.
    with subprocess.Popen(
        command([*overrides, *for_ray(attempt_variables)]),
        env={**os.environ, **own},
        start_new_session=True,
    ) as process:
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=POLL_S)
                look()
        finally:
            _end(process)
    look()
    return process.returncode


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Has verl, if it still runs, shut Ray down and leave; kills it if it does not."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE_S)
