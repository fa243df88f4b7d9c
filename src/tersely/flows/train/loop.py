"""Training: evaluated before, on the way and after; killed at any moment, it goes on as if not."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tersely import targets
from tersely.algo import aggregations, losses
from tersely.algo.kl import kl_k1, kl_k2, kl_k3
from tersely.core import jsonl
from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import AlarmRecord, Problem, SamplingSpec, StepRecord, StepTiming
from tersely.engines.fallback import make_sampler
from tersely.engines.learning import checkpoints
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.lora import add_lora, base_twin, has_lora
from tersely.engines.learning.objective import Objective
from tersely.engines.local.agreement import check_sampler, forward_score
from tersely.engines.local.jobs import Sampler, make_codec
from tersely.engines.models import (
    Model,
    Policy,
    Tokenizer,
    folder_of,
    load_policy,
    sampling_dtype,
)
from tersely.engines.pieces import split_text
from tersely.flows.evaluate.records import evaluate
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.train import folder as runs
from tersely.flows.train.monitor import ALARMS_FILE, AlarmMonitor, OnAlarm
from tersely.flows.train.step import EVAL_STREAM, Run, TrainingObserver, stream_seed, take_step


class RunEnd(NamedTuple):
    """How a run ended: after how many of its steps, and whether all of them were done."""

    steps_done: int
    finished: bool


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool,
    watch: TrainingObserver,
    on_alarm: OnAlarm = lambda alarm: None,
) -> RunEnd:
    """Runs a recipe in its folder, or continues it exactly where its last checkpoint left it.

    Args:
        on_alarm: told of each alarm once, when it is first raised.
    Raises:
        ConfigError: the folder, model or problems cannot be used as given.
        EngineError: a loss was not finite, or an alarm stops the run; the last checkpoint stands.
        GradingError: too many answers of a step could not be graded.
    """
    run = _prepare(recipe, folder, resume=resume, watch=watch)
    start, state = _restore(run)
    forget_after(folder, start)
    monitor = AlarmMonitor(
        folder,
        staleness=recipe.learner.staleness,
        stop=recipe.on_alarm == "stop",
        on_alarm=on_alarm,
        latest=lambda: checkpoints.latest(folder / "checkpoints"),
    )
    step, spent_tokens = start, _sampled_tokens(folder)
    while not _is_over(recipe, step, spent_tokens):
        if step % recipe.evaluation.every_steps == 0 and not watch.wants_stop():
            _judge(run, step)
        if watch.wants_stop():
            _save(run, step, state, final=False)
            return RunEnd(step, finished=False)
        state, record = take_step(run, step, state)
        monitor.after(record)
        step, spent_tokens = step + 1, spent_tokens + record.sampled_tokens
        if step % recipe.checkpoint.every_steps == 0 or _is_over(recipe, step, spent_tokens):
            _save(run, step, state, final=_is_over(recipe, step, spent_tokens))
    _judge(run, step)
    return RunEnd(step, finished=True)


def _is_over(recipe: Recipe, step: int, spent_tokens: int) -> bool:
    """Whether so many steps, or the tokens that they sampled, are all that was asked for."""
    most = recipe.learner.rollout_tokens
    return step >= recipe.learner.steps or (most is not None and spent_tokens >= most)


def _sampled_tokens(folder: Path) -> int:
    """What the recorded steps of a run have sampled."""
    file = folder / "steps.jsonl"
    return sum(r.sampled_tokens for r in jsonl.read(file, StepRecord)) if file.is_file() else 0


def _prepare(recipe: Recipe, folder: Path, *, resume: bool, watch: TrainingObserver) -> Run:
    runs.check_folder(recipe, folder, resume=resume)
    train_problems, test_problems = load_problems(recipe)
    policy = load_policy(recipe.model.path)
    prompts = _check_room(recipe, policy, train=train_problems, test=test_problems)
    section = recipe.model
    if section.lora_rank is not None:
        add_lora(
            policy.model,
            rank=section.lora_rank,
            seed=recipe.seed,
            alpha=section.lora_alpha,
            targets=section.lora_targets,
        )
    manifest = runs.make_manifest(
        recipe,
        model_folder=folder_of(recipe.model.path),
        train=train_problems,
        test=test_problems,
        prompts=prompts,
    )
    sampler = make_sampler(policy.model, policy.tokenizer, rows=recipe.sampling.rows)
    learner = _make_learner(recipe, policy)
    check_sampler(
        sampler,
        (learner.score, forward_score(policy.model, temperature=recipe.sampling.temperature)),
        prompt_ids=prompts[0],
        room_tokens=sampler.codec.max_positions,
        dtype=sampling_dtype(policy.model.device),
        model_type=policy.model.config.model_type,
        temperature=recipe.sampling.temperature,
    )
    runs.open_run(folder, recipe, manifest, test=test_problems)
    return Run(recipe, folder, policy, sampler, learner, train_problems, test_problems, watch)


def _check_room(
    recipe: Recipe, policy: Policy, *, train: Sequence[Problem], test: Sequence[Problem]
) -> list[tuple[int, ...]]:
    """Refuses a prompt that leaves no room for the cap, before anything is sampled; else all
    prompts as token ids."""
    codec = make_codec(policy.model, policy.tokenizer)
    caps = {
        "sampling.cap_tokens": (train, recipe.sampling.cap_tokens),
        "evaluation.budgets": (test, max(recipe.evaluation.budgets)),
    }
    prompts: list[tuple[int, ...]] = []
    for key, (problems, cap_tokens) in caps.items():
        try:
            jobs = codec.jobs(problems, SamplingSpec(samples=1, cap_tokens=cap_tokens, seed=0))
        except EngineError as error:
            raise ConfigError(f"{key}: {error}") from error
        prompts += [job.prompt_ids for job in jobs]
    return prompts


def _reference(recipe: Recipe, policy: Policy) -> Model | None:
    """The starting weights, where a KL estimate is asked for: beside adapters the base as it is,
    else a second copy."""
    if recipe.loss.kl == "none":
        return None
    if has_lora(policy.model):
        return base_twin(policy.model)
    return load_policy(recipe.model.path).model


def _make_learner(recipe: Recipe, policy: Policy) -> LocalLearner:
    section = recipe.learner
    return LocalLearner(
        policy.model,
        objective=objective_of(recipe),
        learning_rate=section.learning_rate,
        warmup_steps=section.warmup_steps,
        max_grad_norm=section.max_grad_norm,
        tokens_per_micro_batch=section.micro_batch_tokens,
        temperature=recipe.sampling.temperature,
        gradient_checkpointing=recipe.model.gradient_checkpointing,
        reference=_reference(recipe, policy),
    )


def objective_of(recipe: Recipe) -> Objective:
    """What the recipe's updates minimise."""
    section = recipe.loss
    bounds = {"clip_low": section.clip_low, "clip_high": section.clip_high}
    if section.dual_clip is not None:
        bounds["dual_clip"] = section.dual_clip
    return Objective(
        policy=partial(losses.load(section.name), **bounds),
        aggregate=aggregations.load(section.aggregation, cap_tokens=recipe.sampling.cap_tokens),
        kl={"none": kl_k3, "k1": kl_k1, "k2": kl_k2, "k3": kl_k3}[section.kl],
        kl_coef=section.kl_coef,
        entropy_coef=section.entropy_coef,
        importance_cap=section.importance_cap,
    )


def _restore(run: Run) -> tuple[int, targets.TargetState]:
    folder = run.folder / "checkpoints"
    saved = checkpoints.latest(folder)
    check_not_missing(
        run.folder,
        every_steps=run.recipe.checkpoint.every_steps,
        found=checkpoints.step_of(saved) if saved else 0,
    )
    if saved is None:
        return 0, {}
    restored = checkpoints.load(saved, model=run.policy.model, learner=run.learner)
    run.sampler.refresh()
    return restored.step, restored.extra["target"]


def check_not_missing(folder: Path, *, every_steps: int, found: int) -> None:
    """Refuses to redo steps whose checkpoint was made and is gone.

    Args:
        found: the step of the newest checkpoint that is there; 0 if there is none.
    """
    steps = folder / "steps.jsonl"
    recorded = steps.read_bytes().count(b"\n") if steps.is_file() else 0
    # The checkpoint of step m was whole before the record after it was begun.
    expected = max(recorded - 1, 0) // every_steps * every_steps
    if found < expected:
        raise ConfigError(
            f"{folder} has records of {recorded} steps, but the checkpoint of step {expected} is "
            f"missing (latest: {found or 'none'}); restore it or start a new --run"
        )


def _save(run: Run, step: int, state: targets.TargetState, *, final: bool) -> None:
    folder = run.folder / "checkpoints"
    checkpoints.save(
        folder,
        step,
        model=run.policy.model,
        tokenizer=run.policy.tokenizer,
        learner=run.learner,
        extra={"target": state},
    )
    # The last two are kept besides the final one.
    checkpoints.prune(folder, keep=3 if final else 2)


def forget_after(folder: Path, done: int) -> None:
    """Drops the records of steps that the restored weights have not seen; they are made again."""
    kinds = {"steps.jsonl": StepRecord, "timings.jsonl": StepTiming, ALARMS_FILE: AlarmRecord}
    for name, kind in kinds.items():
        file = folder / name
        if file.is_file():
            jsonl.repair_torn_tail(file)
            jsonl.write(file, [record for record in jsonl.read(file, kind) if record.step < done])


def _judge(run: Run, step: int) -> None:
    evaluate_policy(
        run.recipe,
        run.folder,
        step,
        sampler=run.sampler,
        tokenizer=run.policy.tokenizer,
        problems=run.test_problems,
        watch=run.watch,
    )


def evaluate_policy(
    recipe: Recipe,
    folder: Path,
    step: int,
    *,
    sampler: Sampler,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    watch: TrainingObserver,
) -> None:
    """The recipe's evaluation of what the sampler holds after ``step`` steps, into ``eval/``."""
    section, sampling = recipe.evaluation, recipe.sampling
    (folder / "eval").mkdir(exist_ok=True)
    watch.on_sampling(f"evaluation {step}", len(problems) * section.samples)
    records = evaluate(
        sampler,
        problems,
        SamplingSpec(
            samples=section.samples,
            cap_tokens=max(section.budgets),
            seed=stream_seed(recipe.seed, EVAL_STREAM),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            policy_step=step,
        ),
        run=folder.name,
        file=folder / "eval" / f"step-{step:06d}.jsonl",
        split_text=lambda ids: split_text(tokenizer, ids),
        on_record=lambda _: watch.on_rollout(),
    )
    watch.on_evaluation(step, records)
