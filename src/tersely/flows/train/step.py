"""One training step: sample, grade, reward, learn, record."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from tersely import targets
from tersely.core import jsonl
from tersely.core.errors import EngineError
from tersely.core.types import (
    Group,
    Problem,
    Rollout,
    StepRecord,
    StepTiming,
)
from tersely.engines.learning import checkpoints
from tersely.engines.learning.learner import LearnStats, LocalLearner
from tersely.engines.learning.rows import TrainRow
from tersely.engines.local.jobs import Sampler
from tersely.engines.models import Policy
from tersely.engines.pieces import split_text
from tersely.flows.observer import Observer
from tersely.flows.recipe.crediting import credited
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.sampling import REFILL_STREAM, training_spec
from tersely.flows.recipe.shaping import (
    GradedView,
    RolloutColumns,
    ShapedStep,
    Shaping,
    check_graded,
    columns_of,
    graded_view,
    has_signal,
    joined,
    shape_step,
    shaping_of,
)
from tersely.flows.train.record import mean_entropy, step_record, write_rollouts
from tersely.tasks import grading
from tersely.tasks.grading.answer import opened


class Run(NamedTuple):
    """Everything that a step of a run needs."""

    recipe: Recipe
    folder: Path
    policy: Policy
    sampler: Sampler
    learner: LocalLearner
    train_problems: list[Problem]
    test_problems: list[Problem]
    observer: Observer


def step_problems(
    problems: Sequence[Problem], step: int, *, count: int, seed: int
) -> list[Problem]:
    """The prompts of a step, all different: every problem once an epoch, each epoch in an order
    of its own. But the same problem twice would be the same rollouts twice: where a new epoch
    repeats one of this step, the next takes its place, and comes again in the step after."""
    assert len(problems) >= count
    chosen: dict[str, Problem] = {}
    orders: dict[int, list[int]] = {}
    place = step * count
    while len(chosen) < count:
        epoch, within = divmod(place, len(problems))
        if epoch not in orders:
            orders[epoch] = np.random.default_rng([seed, epoch]).permutation(len(problems)).tolist()
        problem = problems[orders[epoch][within]]
        chosen.setdefault(problem.id, problem)
        place += 1
    return list(chosen.values())


def all_steps_problems(recipe: Recipe, problems: Sequence[Problem]) -> list[Problem]:
    """The prompts of every step of a run, one after the other, for engines that lay them out."""
    return [
        problem
        for step in range(recipe.learner.steps)
        for problem in step_problems(
            problems, step, count=recipe.sampling.prompts_per_step, seed=recipe.seed
        )
    ]


class Taken(NamedTuple):
    """The target's state after a step, and the step's record."""

    state: targets.TargetState
    record: StepRecord


def take_step(run: Run, step: int, state: targets.TargetState) -> Taken:
    """Takes one step and records it."""
    began, shaping = perf_counter(), shaping_of(run.recipe)
    groups, parts, graded_views, rounds, sample_s = _sample_step(run, step, shaping)
    shaped = credited(shaping, graded_views, shape_step(shaping, graded_views, state))
    check_graded(graded_views)
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    graded = perf_counter()
    stats = _learn(run, step, rollouts, shaped)
    run.sampler.refresh()
    learned = perf_counter()
    columns = joined(parts)
    write_rollouts(run.folder, step, columns, shaped)
    record = step_record(
        step,
        columns,
        shaped,
        stats,
        cap_tokens=run.recipe.sampling.cap_tokens,
        entropy_mean=mean_entropy(rollouts),
        refill_rounds=rounds,
    )
    jsonl.append(run.folder / "steps.jsonl", record)
    timing = StepTiming(
        step=step,
        sample_s=sample_s,
        grade_s=graded - began - sample_s,
        learn_s=learned - graded,
        other_s=perf_counter() - learned,
    )
    jsonl.append(run.folder / "timings.jsonl", timing)
    run.observer.on_step(record, timing, steps=run.recipe.learner.steps)
    return Taken(shaped.target.state, record)


class _Sampled(NamedTuple):
    groups: list[Group]
    parts: list[RolloutColumns]
    graded_views: list[GradedView]
    refill_rounds: int
    sample_s: float


def _sample_step(run: Run, step: int, shaping: Shaping) -> _Sampled:
    """The step's groups, and others in place of those without a signal where the recipe refills."""
    chosen = step_problems(
        run.train_problems,
        step,
        count=run.recipe.sampling.prompts_per_step,
        seed=run.recipe.seed,
    )
    groups, sample_s = _sample(run, step, chosen)
    parts = _columns(run, groups)
    graded_views, rounds = _views(groups, parts, shaping), 0
    while rounds < _refill_rounds(run.recipe) and (missing := _missing(run.recipe, graded_views)):
        more = refill_problems(
            run.train_problems, [g.problem for g in groups], step, missing, seed=run.recipe.seed
        )
        if not more:
            break
        refilled, more_s = _sample(run, step, more)
        groups, sample_s, rounds = [*groups, *refilled], sample_s + more_s, rounds + 1
        more_parts = _columns(run, refilled)
        parts += more_parts
        graded_views += _views(refilled, more_parts, shaping)
    return _Sampled(groups, parts, graded_views, rounds, sample_s)


def refill_problems(
    problems: Sequence[Problem], taken: Sequence[Problem], step: int, count: int, *, seed: int
) -> list[Problem]:
    """Up to ``count`` problems that this step has not taken, in an order of the step's own."""
    ids = {problem.id for problem in taken}
    order = np.random.default_rng([seed, REFILL_STREAM, step]).permutation(len(problems)).tolist()
    return [problems[place] for place in order if problems[place].id not in ids][:count]


def _refill_rounds(recipe: Recipe) -> int:
    section = recipe.sampling
    return section.refill_rounds if section.without_signal == "refill" else 0


def _missing(recipe: Recipe, graded_views: Sequence[GradedView]) -> int:
    """Groups with a signal that the step still lacks."""
    return recipe.sampling.prompts_per_step - sum(has_signal(each.view) for each in graded_views)


def _columns(run: Run, groups: Sequence[Group]) -> list[RolloutColumns]:
    split = partial(split_text, run.policy.tokenizer)
    return [columns_of(group, split) for group in groups]


def _views(
    groups: Sequence[Group], parts: Sequence[RolloutColumns], shaping: Shaping
) -> list[GradedView]:
    return [
        graded_view(group.problem, columns, pay_unfinished=shaping.pay_unfinished)
        for group, columns in zip(groups, parts, strict=True)
    ]


def _sample(run: Run, step: int, chosen: Sequence[Problem]) -> tuple[list[Group], float]:
    """The problems' graded groups, and the seconds that sampling took."""
    began = perf_counter()
    section = run.recipe.sampling
    run.observer.on_sampling(f"step {step + 1}", len(chosen) * section.samples_per_prompt, 0)
    spec = training_spec(run.recipe, step)
    with stopping(run, f"step {step + 1}", weights_step=step, sampling=True):
        rollouts = run.sampler.sample(
            chosen, spec, on_rollout=lambda _: run.observer.on_sample(None)
        )
    sample_s = perf_counter() - began
    pairs = [
        (problem, opened(rollout.text, thinking_open=rollout.thinking_open))
        for problem, sampled in zip(chosen, rollouts, strict=True)
        for rollout in sampled
    ]
    verdicts = iter(grading.grade_all(pairs))
    groups = [
        Group(
            problem=problem, rollouts=tuple(sampled), verdicts=tuple(islice(verdicts, len(sampled)))
        )
        for problem, sampled in zip(chosen, rollouts, strict=True)
    ]
    return groups, sample_s


def _learn(run: Run, step: int, rollouts: Sequence[Rollout], shaped: ShapedStep) -> LearnStats:
    tokens = shaped.token_advantages or [None] * len(rollouts)
    each = zip(rollouts, shaped.advantage_N, tokens, shaped.keep_N, shaped.group_N, strict=True)
    rows = [
        TrainRow(
            prompt_ids=rollout.prompt_ids,
            completion_ids=rollout.completion_ids,
            logprobs=rollout.logprobs,
            advantage=float(advantage),
            token_advantages=advantage_T,
            group=int(group),
        )
        for rollout, advantage, advantage_T, keep, group in each
        if keep
    ]
    with stopping(run, f"step {step + 1}", weights_step=step, sampling=False):
        return run.learner.step(rows, updates=run.recipe.learner.staleness)


@contextmanager
def stopping(run: Run, doing: str, *, weights_step: int, sampling: bool) -> Iterator[None]:
    """Says of an engine that failed what it was doing, and how to go on.

    Args:
        weights_step: the steps that the weights have seen.
        sampling: it was sampling from them, so that they are bad unless memory ran out.
    """
    try:
        yield
    except EngineError as error:
        short_of_memory = isinstance(error.__cause__, RuntimeError | MemoryError)
        good_step = weights_step - int(sampling and not short_of_memory)
        last = checkpoints.latest(run.folder / "checkpoints", most_step=good_step)
        where = f"the last good checkpoint is {last}" if last else "no good checkpoint was written"
        rate = run.recipe.learner.learning_rate
        lower = "With that" if short_of_memory else f"Lower learner.learning_rate = {rate:g} and"
        raise EngineError(
            f"{doing} stopped: {error}; {where}. {lower} start a new run from it in another "
            f"--out with --set model.path={last or run.recipe.model.path}"
        ) from error
