"""What a recipe gives to TRL: a reward of whole groups, a callback, and the prompts in order."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tersely import targets
from tersely.core.digests import STEP_LOG, check_digests
from tersely.core.errors import ConfigError, DataError, no_checkpoint
from tersely.core.manifest import FILE
from tersely.core.parsing import parse_json
from tersely.core.types import Problem
from tersely.engines.local.jobs import check_chat, make_codec, prompt_opens_thinking
from tersely.engines.models import load_settings, load_tokenizer
from tersely.engines.tokens import decode_whole
from tersely.flows.recipe.objective import objective_of
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.train.seams import check_engine
from tersely.flows.train.session import open_folder, prepare
from tersely.flows.train.step import all_steps_problems
from tersely.flows.trl.records import STATE_FILE, StepRecorder
from tersely.flows.trl.settings import template_settings
from tersely.flows.trl.trainer import TRL, GroupReward, attach, make_callback
from tersely.tasks import grading


class Saved(NamedTuple):
    """A complete checkpoint of TRL: its folder, its step, and the target's state."""

    folder: Path
    step: int
    state: targets.TargetState


def latest(output: Path) -> Saved | None:
    """The newest checkpoint that is whole; None if there is none."""
    return max(_saved(output), key=lambda saved: saved.step, default=None)


def _saved(output: Path) -> list[Saved]:
    found = []
    for file in output.glob(f"checkpoint-*/{STATE_FILE}"):
        try:
            content = parse_json(file.read_bytes())
            found.append(Saved(file.parent, int(content["step"]), content["target"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file} is damaged ({error}); delete it, and an older checkpoint is gone on from"
            ) from error
    return found


def go_back(output: Path, step: int) -> None:
    """Deletes the checkpoints of steps after this one.

    Raises:
        ConfigError: there is no whole checkpoint of the step; names those that are kept.
    """
    kept = {each.step: each.folder for each in _saved(output)}
    if step not in kept:
        raise ConfigError(no_checkpoint(step, output, kept))
    check_saved(kept[step])
    for later, folder in kept.items():
        if later > step:
            # Without it the checkpoint is none, should the rest not be deleted.
            (folder / STATE_FILE).unlink()
            shutil.rmtree(folder)


def check_saved(folder: Path) -> None:
    """Holds a checkpoint and its run's step log against their digests.

    Raises:
        DataError: one is not as it was written; names an older checkpoint, if one is kept.
    """
    try:
        check_digests(folder)
        check_digests(folder, [STEP_LOG])
    except DataError as error:
        saved = _saved(folder.parent)
        (here,) = (each.step for each in saved if each.folder == folder)
        older = max((each.step for each in saved if each.step < here), default=None)
        other = "no older checkpoint is kept" if older is None else f"or --resume-from {older}"
        raise DataError(f"{error}; {other}") from error


class Hooks(NamedTuple):
    """What a script of one's own gives to ``GRPOTrainer``.

    Args:
        reward: for ``reward_funcs``.
        callback: for ``callbacks``.
        dataset: for ``train_dataset``, its rows in the order of our own loop.
    """

    reward: GroupReward
    callback: Any
    dataset: Any

    def attach(self, trainer: Any) -> None:
        """Has the trainer use the recipe's advantages, masks and aggregation as well."""
        attach(trainer, self.reward)


def trl_hooks(recipe: Recipe, folder: Path | None = None, *, saved: Saved | None = None) -> Hooks:
    """The recipe as TRL takes it.

    Without ``attach`` TRL makes advantages of its own, the group's centred or normalised rewards:
    then masks, dropped groups, filters, other advantages and aggregations of the recipe have no
    effect on what is learned, while the records show what they would have been.

    Args:
        folder: a run folder to write records into, which is made if need be; None writes none.
        saved: the checkpoint that training goes on from.
    Raises:
        ConfigError: TRL is missing or another than we know, or model or problems cannot be used.
    """
    check_engine(TRL)
    from accelerate import PartialState

    training, _ = load_problems(recipe)
    tokenizer = load_tokenizer(recipe.model.path)
    codec = make_codec(load_settings(recipe.model.path), tokenizer)
    template = template_settings(recipe)
    check_chat(tokenizer, training, settings=template)
    written = folder if PartialState().is_main_process else None
    if written is not None and not (written / FILE).is_file():
        session = prepare(recipe, written, template=template)
        open_folder(
            session, engine=engine_of(PartialState().num_processes), packages=(*TRL.tested,)
        )
    start = saved.step if saved else 0
    recorder = StepRecorder(recipe, written, start=start)
    reward = GroupReward(
        recipe,
        {problem.id: problem for problem in training},
        recorder=recorder,
        grade_all=grading.grade_all,
        decode=partial(decode_whole, tokenizer),
        opens=lambda problem, settings: prompt_opens_thinking(
            tokenizer, problem.prompt, earlier=problem.earlier, settings=settings
        ),
        stop_ids=codec.stop_ids,
        aggregate=objective_of(recipe).aggregate,
        first_step=start,
        state=saved.state if saved else None,
    )
    return Hooks(reward, make_callback(recorder, reward), make_dataset(recipe, training))


def engine_of(processes: int) -> str:
    """Whoever trains, as a manifest says it."""
    return f"trl, {processes} processes"


def make_dataset(recipe: Recipe, problems: Sequence[Problem]) -> Any:
    """The prompts of every step, in the order of our own loop; TRL must not shuffle them."""
    from datasets import Dataset

    rows = [
        {"prompt": problem.chat, "problem": problem.id}
        for problem in all_steps_problems(recipe, problems)
    ]
    return Dataset.from_list(rows)
