"""What a recipe gives to TRL: a judge of whole groups that keeps the records of a run folder."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from tersely import targets
from tersely.core import jsonl
from tersely.core.errors import EngineError
from tersely.core.manifest import FILE, write_atomically
from tersely.core.types import Group, Problem, StepRecord, StepTiming
from tersely.engines.learning.learner import LearnStats
from tersely.engines.local.jobs import make_codec, prompt_opens_thinking, rendered
from tersely.engines.models import folder_of, load_settings, load_tokenizer
from tersely.engines.tokens import decode_whole
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.shaping import Shaped, check_graded
from tersely.flows.train import folder as runs
from tersely.flows.train.loop import objective_of
from tersely.flows.train.record import step_record
from tersely.flows.train.step import all_steps_problems, shape_all, write_rollouts
from tersely.flows.trl.trainer import (
    TESTED,
    GroupReward,
    Judged,
    attach,
    check_versions,
    make_callback,
)
from tersely.readers.steplogs import TRL_NAMES, in_our_words
from tersely.tasks import grading

# Written into a TRL checkpoint once it is whole.
STATE_FILE = "tersely.json"


class StepRecorder:
    """Judges each step by the recipe, and writes what the step did into a run folder.

    Every process judges the same groups and so has the same target state; one of them writes.

    Args:
        folder: the run folder; None on processes that do not write.
        start: steps done before, and the target's state after them.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path | None,
        *,
        start: int = 0,
        state: targets.TargetState | None = None,
    ) -> None:
        self._recipe, self._folder = recipe, folder
        self._state: targets.TargetState = state or {}
        self._step, self._done = start - 1, start
        self._shaped: list[Shaped] = []
        self._target_tokens = math.nan
        self._updates: list[dict[str, float]] = []
        self._judged_at = perf_counter()

    def judge(self, groups: Sequence[Group], *, policy_step: int) -> Judged:
        """Rewards, advantages and masks of the step's groups."""
        target, shaped = shape_all(self._recipe, groups, self._state)
        self._state, self._step, self._shaped = target.state, policy_step, shaped
        self._target_tokens = float(target.tokens_P.mean())
        if self._folder is not None:
            write_rollouts(self._folder, policy_step, shaped)
        check_graded(shaped)
        self._judged_at = perf_counter()
        return Judged(
            rewards=[s.reward.total_G for s in shaped],
            advantages=[s.advantage_G for s in shaped],
            keep=[s.reward.keep_G for s in shaped],
            figures=_figures(self._record([])),
        )

    def on_update(self, logs: Mapping[str, Any], *, generate_s: float, grade_s: float) -> None:
        """An update is done; after the last one of a step its record is written."""
        learned = in_our_words(logs, TRL_NAMES)
        loss, norm = learned["loss"], learned.get("grad_norm", 0.0)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise EngineError(
                f"step {self._step + 1} stopped: loss is {loss} and gradient norm {norm}; lower "
                f"learner.learning_rate = {self._recipe.learner.learning_rate:g} and start a new "
                "--run, from the last checkpoint with --set model.path=..."
            )
        self._updates.append(learned)
        if len(self._updates) < self._recipe.learner.staleness:
            return
        record, self._updates = self._record(self._updates), []
        self._done = self._step + 1
        timing = StepTiming(
            step=self._step,
            sample_s=generate_s,
            grade_s=grade_s,
            learn_s=perf_counter() - self._judged_at,
            other_s=0.0,
        )
        if self._folder is not None:
            if math.isfinite(generate_s):
                jsonl.append(self._folder / "timings.jsonl", timing)
            jsonl.append(self._folder / "steps.jsonl", record)

    def on_save(self, folder: Path, *, is_main: bool) -> None:
        """Marks a checkpoint as whole, with what TRL does not save."""
        if is_main:
            content = {"step": self._done, "target": dict(self._state)}
            write_atomically(folder / STATE_FILE, json.dumps(content))

    def _record(self, updates: Sequence[Mapping[str, float]]) -> StepRecord:
        """The step's record; what is learned is NaN before the updates."""
        entropy = _mean(updates, "entropy_mean")
        record = step_record(
            self._step,
            self._shaped,
            _stats(self._recipe, self._shaped, updates),
            target_tokens=self._target_tokens,
            cap_tokens=self._recipe.sampling.cap_tokens,
        )
        return replace(record, entropy_mean=entropy)


def _stats(
    recipe: Recipe, shaped: Sequence[Shaped], updates: Sequence[Mapping[str, float]]
) -> LearnStats:
    """What the updates learned. As in our loop, rows without a gradient are not counted."""
    tokens = [
        rollout.tokens
        for s in shaped
        for rollout, adv, keep in zip(s.group.rollouts, s.advantage_G, s.reward.keep_G, strict=True)
        if keep and (adv != 0 or recipe.loss.kl_coef > 0)
    ]
    return LearnStats(
        loss=_mean(updates, "loss"),
        grad_norm=_mean(updates, "grad_norm"),
        clip_share=_mean(updates, "clip_share"),
        kl_mean=_mean(updates, "kl_mean"),
        sampler_mismatch=_mean(updates, "sampler_mismatch"),
        update_tokens=sum(tokens),
        learning_rate=_mean(updates, "learning_rate"),
        dropped_nonfinite=0,
        updates=len(updates),
    )


def _mean(updates: Sequence[Mapping[str, float]], name: str) -> float:
    found = [update[name] for update in updates if name in update]
    return float(np.mean(found)) if found else math.nan


def _figures(record: StepRecord) -> dict[str, float]:
    """What TRL's own log lacks: correctness, and length split by it."""
    names = ("accuracy", "correct_tokens_mean", "wrong_tokens_mean", "truncated_share")
    return {f"tersely/{name}": float(getattr(record, name)) for name in names}


class Saved(NamedTuple):
    """A whole checkpoint of TRL: where it lies, after how many steps, and the target's state."""

    folder: Path
    step: int
    state: targets.TargetState


def latest(output: Path) -> Saved | None:
    """The newest checkpoint that is whole; None if there is none."""
    found = []
    for file in output.glob(f"checkpoint-*/{STATE_FILE}"):
        content = json.loads(file.read_text(encoding="utf-8"))
        found.append(Saved(file.parent, int(content["step"]), content["target"]))
    return max(found, key=lambda saved: saved.step, default=None)


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
        ConfigError: TRL is missing or of another version, or model or problems cannot be used.
    """
    check_versions()
    from accelerate import PartialState

    training, test = load_problems(recipe)
    tokenizer = load_tokenizer(recipe.model.path)
    codec = make_codec(load_settings(recipe.model.path), tokenizer)
    writes = folder is not None and PartialState().is_main_process
    if writes and not (folder / FILE).is_file():
        open_folder(recipe, folder, training, test, processes=PartialState().num_processes)
    start = saved.step if saved else 0
    book = StepRecorder(
        recipe, folder if writes else None, start=start, state=saved.state if saved else None
    )
    reward = GroupReward(
        book,
        {problem.id: problem for problem in training},
        grade_all=grading.grade_all,
        decode=partial(decode_whole, tokenizer),
        opens=lambda prompt, settings: prompt_opens_thinking(tokenizer, prompt, settings=settings),
        stop_ids=codec.stop_ids,
        samples=recipe.sampling.samples_per_prompt,
        aggregate=objective_of(recipe).aggregate,
        first_step=start,
    )
    return Hooks(reward, make_callback(book, reward), make_dataset(recipe, training))


def open_folder(
    recipe: Recipe,
    folder: Path,
    training: Sequence[Problem],
    test: Sequence[Problem],
    *,
    processes: int,
) -> None:
    """Makes the run folder, or checks that it was made from the same model and problems."""
    tokenizer = load_tokenizer(recipe.model.path)
    manifest = runs.make_manifest(
        recipe,
        model_folder=folder_of(recipe.model.path),
        train=training,
        test=test,
        prompts=[rendered(tokenizer, problem) for problem in (*training, *test)],
    )
    engine = {package: version(package) for package in TESTED}
    facts = {**manifest.facts, **engine, "engine": f"trl, {processes} processes"}
    runs.open_run(folder, recipe, replace(manifest, facts=facts), test=test)


def make_dataset(recipe: Recipe, problems: Sequence[Problem]) -> Any:
    """The prompts of every step, in the order of our own loop; TRL must not shuffle them."""
    from datasets import Dataset

    rows = [
        {"prompt": [{"role": "user", "content": problem.prompt}], "problem": problem.id}
        for problem in all_steps_problems(recipe, problems)
    ]
    return Dataset.from_list(rows)
