"""The training loop, with evaluations before, during and after; a killed run can be resumed."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from tersely import targets
from tersely.core import jsonl
from tersely.core.digests import STEP_LOG, check_digests
from tersely.core.lock import lock_folder
from tersely.core.types import Problem, StepRecord
from tersely.engines.fallback import make_sampler
from tersely.engines.learning import checkpoints
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.lora import add_lora, base_twin, has_lora
from tersely.engines.local.agreement import check_sampler, forward_score
from tersely.engines.local.jobs import Sampler
from tersely.engines.models import (
    Model,
    Policy,
    Tokenizer,
    folder_of,
    load_policy,
    sampling_dtype,
)
from tersely.engines.pieces import split_text
from tersely.engines.vllm import VLLMSampler
from tersely.flows.evaluate.records import evaluate
from tersely.flows.observer import Observer
from tersely.flows.recipe.objective import objective_of
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.sampling import evaluation_spec
from tersely.flows.train.session import Session, begin, go_on, make_monitor, open_folder
from tersely.flows.train.step import Run, stopping, take_step


class RunEnd(NamedTuple):
    """How a run ended: after how many of its steps, and whether all of them were done."""

    steps_done: int
    steps: int
    finished: bool


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    resume_from: int | None = None,
    changes: Sequence[str] = (),
    observer: Observer,
) -> RunEnd:
    """Runs a recipe in its folder, or continues it exactly where its last checkpoint left it.

    Args:
        resume_from: the step of an older checkpoint to go back to; later ones are dropped.
        changes: keys of the recipe that were set by hand and may differ from the run's.
    Raises:
        ConfigError: the folder, model or problems cannot be used as given, or another process
            writes to the folder.
        DataError: a file of the run was damaged or edited.
        EngineError: a loss was not finite, or an alarm stops the run; the last checkpoint stands.
        GradingError: too many answers of a step could not be graded.
    """
    with lock_folder(folder):
        session = begin(recipe, folder, resume=resume, resume_from=resume_from, changes=changes)
        run = load_run(session, observer=observer)
        open_folder(session)
        step, state = _restore(run, session, resume_from)
        return _go(run, session, step, state)


def _go(run: Run, session: Session, step: int, state: targets.TargetState) -> RunEnd:
    """Takes the steps that are left."""
    recipe, folder, observer = run.recipe, run.folder, run.observer
    monitor = make_monitor(
        session,
        observer=observer,
        latest=lambda: checkpoints.latest(folder / "checkpoints"),
    )
    spent_tokens = _sampled_tokens(folder)
    while not _is_over(recipe, step, spent_tokens):
        if step % recipe.evaluation.every_steps == 0 and not observer.wants_stop():
            _judge(run, step)
        if observer.wants_stop():
            _save(run, step, state, final=False)
            return RunEnd(step, recipe.learner.steps, finished=False)
        state, record = take_step(run, step, state)
        monitor.after(record)
        step, spent_tokens = step + 1, spent_tokens + record.sampled_tokens
        if step % recipe.checkpoint.every_steps == 0 or _is_over(recipe, step, spent_tokens):
            _save(run, step, state, final=_is_over(recipe, step, spent_tokens))
    _judge(run, step)
    return RunEnd(step, recipe.learner.steps, finished=True)


def _is_over(recipe: Recipe, step: int, spent_tokens: int) -> bool:
    """Whether the run is over: enough steps done, or enough tokens sampled."""
    most = recipe.learner.rollout_tokens
    return step >= recipe.learner.steps or (most is not None and spent_tokens >= most)


def _sampled_tokens(folder: Path) -> int:
    """What the recorded steps of a run have sampled."""
    file = folder / "steps.jsonl"
    return sum(r.sampled_tokens for r in jsonl.read(file, StepRecord)) if file.is_file() else 0


def load_run(session: Session, *, observer: Observer) -> Run:
    """Model, sampler and learner of a run, the sampler held against a forward pass of the model."""
    recipe = session.recipe
    policy = load_policy(recipe.model.path)
    section = recipe.model
    if section.lora_rank is not None:
        add_lora(
            policy.model,
            rank=section.lora_rank,
            seed=recipe.seed,
            alpha=section.lora_alpha,
            targets=section.lora_targets,
        )
    sampler = _make_sampler(session, policy)
    learner = _make_learner(recipe, policy)
    check_sampler(
        sampler,
        (learner.score, forward_score(policy.model, temperature=recipe.sampling.temperature)),
        prompt_ids=session.prompts[0],
        room_tokens=sampler.codec.max_positions,
        dtype=_coarsest_dtype(recipe, policy),
        model_type=policy.model.config.model_type,
        temperature=recipe.sampling.temperature,
    )
    return Run(
        recipe, session.folder, policy, sampler, learner, session.train, session.test, observer
    )


def _make_sampler(session: Session, policy: Policy) -> Sampler:
    """What the recipe samples with; vLLM is given room for the longest prompt and answer."""
    recipe, rows = session.recipe, session.recipe.sampling.rows
    template = recipe.model.chat_template_kwargs
    if recipe.sampling.engine == "local":
        return make_sampler(
            policy.model,
            policy.tokenizer,
            rows=rows,
            dtype=_sampled_dtype(recipe),
            template=template,
        )
    answer_tokens = max(recipe.sampling.cap_tokens, *recipe.evaluation.budgets)
    return VLLMSampler(
        folder_of(recipe.model.path),
        policy.tokenizer,
        rows=rows,
        room_tokens=max(map(len, session.prompts)) + answer_tokens,
        policy=policy.model,
        template=template,
        memory_share=recipe.sampling.vllm_memory_share,
    )


def _coarsest_dtype(recipe: Recipe, policy: Policy) -> torch.dtype:
    """Of what is sampled from and what learns, the one that rounds more."""
    default = sampling_dtype(policy.model.device)
    given = (recipe.sampling.dtype, recipe.learner.dtype)
    dtypes = [getattr(torch, name) if name else default for name in given]
    return torch.bfloat16 if torch.bfloat16 in dtypes else torch.float32


def _sampled_dtype(recipe: Recipe) -> torch.dtype | None:
    return getattr(torch, recipe.sampling.dtype) if recipe.sampling.dtype else None


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
        half=None if section.dtype is None else section.dtype == "bfloat16",
    )


def _restore(
    run: Run, session: Session, resume_from: int | None
) -> tuple[int, targets.TargetState]:
    inside = run.folder / "checkpoints"
    saved = (
        checkpoints.latest(inside) if resume_from is None else checkpoints.find(inside, resume_from)
    )
    step: int = 0
    state: targets.TargetState = {}
    if saved is not None:
        check_digests(saved, [STEP_LOG])
        restored = checkpoints.load(saved, model=run.policy.model, learner=run.learner)
        run.sampler.refresh()
        step, state = restored.step, restored.extra["target"]
    # Records are dropped only once the weights that go on from there are loaded.
    if resume_from is not None:
        checkpoints.drop_after(inside, step)
    go_on(session, found=step, older=resume_from is not None)
    return step, state


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


def _judge(run: Run, step: int) -> None:
    doing = f"the evaluation after step {step}"
    with stopping(run, doing, weights_step=step, sampling=True):
        evaluate_policy(
            run.recipe,
            run.folder,
            step,
            sampler=run.sampler,
            tokenizer=run.policy.tokenizer,
            problems=run.test_problems,
            observer=run.observer,
        )


def evaluate_policy(
    recipe: Recipe,
    folder: Path,
    step: int,
    *,
    sampler: Sampler,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    observer: Observer,
) -> None:
    """The recipe's evaluation of what the sampler holds after ``step`` steps, into ``eval/``."""
    (folder / "eval").mkdir(exist_ok=True)
    observer.on_sampling(f"evaluation {step}", len(problems) * recipe.evaluation.samples, 0)
    records = evaluate(
        sampler,
        problems,
        evaluation_spec(recipe, step),
        run=folder.name,
        file=folder / "eval" / f"step-{step:06d}.jsonl",
        split_text=lambda ids: split_text(tokenizer, ids),
        on_record=observer.on_sample,
    )
    observer.on_evaluation(step, records)
