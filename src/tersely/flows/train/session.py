"""What every launch does first, whoever trains: the folder, the problems, room for every prompt,
and which records still hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tersely import trackers
from tersely.core import jsonl
from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import AlarmRecord, Problem, StepRecord, StepTiming
from tersely.engines.local.jobs import make_codec
from tersely.engines.local.template import warn_unread
from tersely.engines.models import folder_of, load_settings, load_tokenizer
from tersely.flows.observer import Observer
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.sampling import evaluation_spec, training_spec
from tersely.flows.train.folder import (
    check_folder,
    count_steps,
    make_manifest,
    open_run,
    resumed_recipe,
)
from tersely.flows.train.monitor import ALARMS_FILE, AlarmMonitor


class Session(NamedTuple):
    """A run that may begin or go on.

    ``prompts``: those of all problems as token ids, the training problems' first.
    """

    recipe: Recipe
    folder: Path
    train: list[Problem]
    test: list[Problem]
    prompts: list[tuple[int, ...]]


def begin(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    resume_from: int | None = None,
    changes: Sequence[str] = (),
    test_cap_tokens: int | None = None,
    template: Mapping[str, Any] | None = None,
) -> Session:
    """A session that may write to ``folder``; nothing is written yet, and no weights are loaded.

    Raises:
        ConfigError: a tracker is not installed, or as ``check_folder`` and ``prepare``.
    """
    resume = resume or resume_from is not None
    trackers.refuse_uninstalled(recipe.trackers)
    check_folder(recipe, folder, resume=resume)
    if resume:
        recipe = resumed_recipe(recipe, folder, changes=changes)
    return prepare(recipe, folder, test_cap_tokens=test_cap_tokens, template=template)


def prepare(
    recipe: Recipe,
    folder: Path,
    *,
    test_cap_tokens: int | None = None,
    template: Mapping[str, Any] | None = None,
) -> Session:
    """The recipe's problems, with room behind every prompt for what is sampled after it.

    Args:
        test_cap_tokens: of evaluations that the engine makes itself; None: ours, to the recipe's
            largest budget.
        template: what the engine gives the chat template beside the messages; None: the
            recipe's.
    Raises:
        ConfigError: model or problems cannot be used, the chat template leaves a message out, or a
            prompt leaves no room for the cap in the model's positions.
    """
    train, test = load_problems(recipe)
    path = recipe.model.path
    tokenizer, settings = load_tokenizer(path), recipe.model.chat_template_kwargs
    warn_unread(tokenizer, settings, where="model.chat_template_kwargs")
    given = settings if template is None else template
    codec = make_codec(load_settings(path), tokenizer, template=given)
    prompts: list[tuple[int, ...]] = []
    evaluation = evaluation_spec(recipe, 0)
    if test_cap_tokens is not None:
        evaluation = replace(evaluation, cap_tokens=test_cap_tokens)
    for key, problems, spec in (
        ("sampling.cap_tokens", train, training_spec(recipe, 0)),
        ("evaluation.budgets", test, evaluation),
    ):
        try:
            jobs = codec.jobs(problems, replace(spec, samples=1))
        except EngineError as error:
            raise ConfigError(f"{key}: {error}") from error
        prompts += [job.prompt_ids for job in jobs]
    return Session(recipe, folder, train, test, prompts)


def open_folder(
    session: Session, *, engine: str | None = None, packages: Sequence[str] = ()
) -> None:
    """Makes the run folder, or checks that it was made from the same model and problems.

    Args:
        engine: whoever trains, if it is not our own loop, and on how many processes or GPUs.
        packages: of the engine's, whose versions are written down.
    Raises:
        ConfigError: it was made from something else.
    """
    manifest = make_manifest(
        session.recipe,
        model_folder=folder_of(session.recipe.model.path),
        train=session.train,
        test=session.test,
        prompts=session.prompts,
        engine=engine,
        packages=packages,
    )
    open_run(session.folder, session.recipe, manifest, test=session.test)


def go_on(session: Session, *, found: int, older: bool = False) -> None:
    """Drops the records that the checkpoint has not seen; they are made again.

    Args:
        found: the step of that checkpoint; 0 if there is none.
        older: it was asked for, and later ones are dropped.
    Raises:
        ConfigError: a later checkpoint was made and is gone, so that steps would be lost.
    """
    every = session.recipe.checkpoint.every_steps
    if not older:
        check_not_missing(session.folder, every_steps=every, found=found)
    forget_after(session.folder, found)


def make_monitor(
    session: Session, *, observer: Observer, latest: Callable[[], Path | None]
) -> AlarmMonitor:
    """What looks for alarms in the records, those that are there and those that come.

    Args:
        latest: the newest checkpoint, named when an alarm ends the run.
    """
    return AlarmMonitor(
        session.folder,
        staleness=session.recipe.learner.staleness,
        stop=session.recipe.on_alarm == "stop",
        observer=observer,
        latest=latest,
    )


def check_not_missing(folder: Path, *, every_steps: int, found: int) -> None:
    """Refuses to redo steps whose checkpoint existed and is missing now.

    Args:
        found: the step of the newest checkpoint that is there; 0 if there is none.
    """
    recorded = count_steps(folder)
    # The checkpoint of step m was whole before the record after it was begun.
    expected = max(recorded - 1, 0) // every_steps * every_steps
    if found < expected:
        raise ConfigError(
            f"{folder} has records of {recorded} steps, but the checkpoint of step {expected} is "
            f"missing (latest: {found or 'none'}); restore it"
            + (f", go back with --resume-from {found}" if found else "")
            + " or start a new run in another --out"
        )


def forget_after(folder: Path, done: int) -> None:
    """Drops the records of steps that the restored weights have not seen, and the rollouts and
    evaluations; they are made again."""
    kinds: dict[str, Any] = {
        "steps.jsonl": StepRecord,
        "timings.jsonl": StepTiming,
        ALARMS_FILE: AlarmRecord,
    }
    for name, kind in kinds.items():
        file = folder / name
        if file.is_file():
            jsonl.repair_torn_tail(file)
            jsonl.write(file, [record for record in jsonl.read(file, kind) if record.step < done])
    for file in (*folder.glob("rollouts/step-*.jsonl*"), *folder.glob("eval/step-*.jsonl*")):
        step = int(file.name.split(".")[0].removeprefix("step-"))
        # A step's rollouts are numbered from 0, an evaluation by the steps before it.
        if step > done or (step == done and file.parent.name == "rollouts"):
            file.unlink()
