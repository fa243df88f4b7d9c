"""The same recipe on verl: its configuration and files written and checked, started, followed.

All that can be refused is refused before Ray is started or a GPU is taken.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import Signals
from typing import Any

import polars as pl

from tersely.core.errors import ConfigError, EngineError, no_checkpoint
from tersely.core.lock import lock_folder
from tersely.core.storage import write_atomically, writing
from tersely.core.types import Problem
from tersely.flows.curate.files import verl_frame
from tersely.flows.observer import Observer
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.train.folder import count_steps
from tersely.flows.train.monitor import AlarmMonitor
from tersely.flows.train.seams import check_engine
from tersely.flows.train.session import Session, begin, go_on, make_monitor, open_folder
from tersely.flows.train.step import all_steps_problems
from tersely.flows.verl import cluster, process
from tersely.flows.verl.estimator import VERL
from tersely.flows.verl.given import given
from tersely.flows.verl.records import Transcript, metrics_file, read_metrics
from tersely.flows.verl.schema import ENVIRONMENT, check_composed, known_keys
from tersely.flows.verl.settings import (
    ATTEMPT,
    CHECKPOINTS,
    ENGINE,
    HOOKS,
    LAUNCHER,
    RUN,
    TEST_FILE,
    TRAIN_FILE,
    is_open,
    verl_settings,
)
from tersely.flows.verl.template import template_settings

MODULES = "VERL_USE_EXTERNAL_MODULES"
NEWEST_FILE, _STEPS = "latest_checkpointed_iteration.txt", "global_step_[0-9]*"
# verl's own default, where the prompts are not at hand to be measured.
PROMPT_TOKENS = 512
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
        ConfigError: verl is missing or another than we know, or cannot do what the recipe says.
    """
    check_engine(VERL)
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


def as_overrides(settings: Mapping[str, Any], *, folder: Path, known: frozenset[str]) -> list[str]:
    """Hydra's overrides; ``+`` adds keys that verl leaves open, and Ray's environment."""
    own = {key: value for key, value in settings.items() if not key.startswith(ENVIRONMENT)}
    environment = {
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"),
        **{key.rpartition(".")[2]: str(settings[key]) for key in settings.keys() - own.keys()},
        RUN: str(folder.absolute()),
    }
    environment[MODULES] = external_modules(environment.get(MODULES))
    lines = [
        f"{'+' if is_open(key, known) else ''}{key}={_hydra(value)}"
        for key, value in sorted(own.items())
    ]
    # Not left in the folder where it was started.
    logs = f"hydra.run.dir={_hydra(str(folder.absolute() / 'verl' / 'hydra'))}"
    return [*lines, *for_ray(environment), logs]


def external_modules(listed: str | None = None) -> str:
    """What verl's processes load: what the user has them load, a platform perhaps, and ours.

    Args:
        listed: in ``[verl]``; None: the environment's.
    """
    theirs = os.environ.get(MODULES, "") if listed is None else listed
    return ",".join(dict.fromkeys([*filter(None, map(str.strip, theirs.split(","))), HOOKS]))


def for_ray(environment: Mapping[str, str]) -> list[str]:
    """Overrides by which Ray's processes, on whatever machine, get these variables."""
    return [f"+{ENVIRONMENT}.{name}={_hydra(value)}" for name, value in environment.items()]


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
    stall_s: float,
    observer: Observer,
) -> None:
    """Trains a recipe with verl, or goes on from its last checkpoint, and keeps its records.

    Args:
        resume_from: the step of an older checkpoint to go back to; later ones are dropped.
        changes: keys of the recipe that were set by hand and may differ from the run's.
        stall_s: seconds without a rollout, a record or a checkpoint, after which verl is ended.
    Raises:
        ConfigError: the folder, recipe, model, problems or machine cannot be used as given, or
            another process writes to the folder.
        EngineError: verl failed, or an alarm stops the run; the last checkpoint stands.
    """
    plan_verl(recipe, folder, nodes=nodes, gpus_per_node=gpus_per_node)
    cluster.check_gpus(nodes=nodes, gpus_per_node=gpus_per_node)
    cluster.check_cluster(recipe, nodes=nodes, gpus_per_node=gpus_per_node)
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
        catch_up(session, done)
        _go(session, overrides, done, stall_s=stall_s, observer=observer)


def catch_up(session: Session, done: int) -> None:
    """Records the steps that verl saved and logged while nobody followed it: its launch was killed.

    Args:
        done: the step of the newest checkpoint.
    """
    recorded = count_steps(session.folder)
    for file in sorted((session.folder / "verl").glob("metrics-*.jsonl"), reverse=True):
        logged = read_metrics(file)
        if recorded < done and recorded + 1 in logged:
            transcript = Transcript(
                session.recipe,
                session.folder,
                *_by_id(session),
                attempt=file.stem.removeprefix("metrics-"),
                done=recorded,
                start=min(logged) - 1,
                until=done,
            )
            transcript.take_evaluations()
            transcript.take()
            return


def _by_id(session: Session) -> list[dict[str, Problem]]:
    return [{problem.id: problem for problem in side} for side in (session.train, session.test)]


def _go(
    session: Session, overrides: Sequence[str], done: int, *, stall_s: float, observer: Observer
) -> None:
    """Starts verl and keeps its records to its end.

    Raises:
        EngineError: verl failed or hangs; says why and how to go on.
    """
    recipe, folder = session.recipe, session.folder
    attempt = f"{len(list((folder / 'verl').glob('metrics-*.jsonl'))):03d}"
    monitor = make_monitor(
        session,
        observer=observer,
        latest=lambda: folder / CHECKPOINTS if last_checkpoint(folder) else None,
    )
    transcript = Transcript(recipe, folder, *_by_id(session), attempt=attempt, done=done)
    following = _Following(recipe, transcript, observer, monitor)
    try:
        code = _run(overrides, folder, following.look, attempt=attempt, stall_s=stall_s)
    except process.HangError as error:
        raise EngineError(f"{error}; {_say_resume(folder)}") from error
    if code:
        log = output_file(folder, attempt)
        by = f"exit code {code}" if code > 0 else Signals(-code).name
        why = cluster.gone() or process.reason(log) or "see above"
        raise EngineError(
            f"verl stopped with {by}: {why}; its output is in {log}; {_say_resume(folder)}"
        )


def _say_resume(folder: Path) -> str:
    return f"step {last_checkpoint(folder)} is the last checkpoint: go on with --resume"


def output_file(folder: Path, attempt: str) -> Path:
    """What verl printed in one start of a run."""
    return folder / "verl" / f"output-{attempt}.txt"


def write_inputs(session: Session, *, nodes: int, gpus_per_node: int) -> list[str]:
    """Opens the run folder and writes what verl will read; verl's overrides."""
    recipe, folder = session.recipe, session.folder
    open_folder(session, engine=f"verl, {nodes} x {gpus_per_node} GPUs", packages=(*VERL.tested,))
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


def _run(
    overrides: Sequence[str],
    folder: Path,
    look: Callable[[], None],
    *,
    attempt: str,
    stall_s: float,
) -> int:
    """Has verl run to its end, and returns its exit code."""
    log = metrics_file(folder, attempt).absolute()
    # Made here: a start that dies before verl logs anything has its number all the same.
    log.touch()
    attempt_variables = {ATTEMPT: attempt, "VERL_FILE_LOGGER_PATH": str(log)}
    return process.follow(
        process.command([*overrides, *for_ray(attempt_variables)]),
        folder,
        look,
        environment={
            **attempt_variables,
            MODULES: external_modules(),
            RUN: str(folder.absolute()),
            LAUNCHER: str(os.getpid()),
        },
        log=output_file(folder, attempt),
        stall_s=stall_s,
    )
