"""Arms that are no RL: the base model asked in another way, or trained on its own samples.

What several arms of a seed need, samples or a trained model, is made once, by whoever comes first;
the others wait for it.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.forcing import ForcedRecord
from tersely.core.manifest import EvaluationManifest, read_manifest
from tersely.core.storage import write_atomically
from tersely.core.types import EvalRecord, Problem, SamplingSpec
from tersely.engines.fallback import make_sampler
from tersely.engines.models import load_policy
from tersely.flows.curate.answers import (
    ANSWER_FILES,
    AnswerChoice,
    Write,
    make_answers,
    write_answers,
)
from tersely.flows.curate.session import sample_pool
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.session import run_evaluation
from tersely.flows.merge import merge
from tersely.flows.observer import Observer
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.sampling import evaluation_spec
from tersely.flows.study.plan import Method
from tersely.flows.train.loop import evaluate_policy
from tersely.flows.trl.offline import OfflineTrainer, fit
from tersely.metrics.budgets import Protocol
from tersely.readers.evaluations import FORCED_FILE, RECORDS_FILE

SPENT_FILE = "spent.json"
# Where nothing was trained there is one step all the same: the evaluation before it and after.
STEPS = 1


def run_offline(
    method: Method, recipe: Recipe, folder: Path, stages: Path, *, observer: Observer
) -> int:
    """Evaluates the base model and the arm's into ``folder/eval``; the tokens that were spent.

    Args:
        folder: of the run; what is there is not made again.
        stages: folder of what arms share.
    Raises:
        TerselyError: the arm cannot be made.
        StopAsked: the observer says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pool, held_out = load_problems(recipe)
    _evaluate(recipe, folder, 0, recipe.model.path, held_out, observer=observer)
    model, spent = recipe.model.path, 0
    if method.name != "none":
        learnt = method.model_copy(update={"merge": None, "forced": None})
        make = _trained(learnt, recipe, pool, stages, observer=observer)
        trained = make_once(stages, make, learnt, recipe)
        model, spent = str(trained), json.loads((trained / SPENT_FILE).read_text())["tokens"]
    if method.merge is not None:
        out = folder / "merged"
        shutil.rmtree(out, ignore_errors=True)
        (merged,) = merge(recipe.model.path, model, (method.merge,), out)
        model = str(merged)
    if method.forced is not None:
        _force(recipe, folder, method, model, held_out, observer=observer)
    else:
        asked = _told(held_out, method.told if method.name == "none" else None)
        _evaluate(recipe, folder, STEPS, model, asked, observer=observer)
    return int(spent)


def sample_count(recipe: Recipe, pool: Sequence[Problem]) -> int:
    """Samples a problem with which all problems together spend ``learner.rollout_tokens``, by the
    base model's mean lengths; without such a key, ``sampling.samples_per_prompt``.

    Raises:
        ConfigError: fewer than two samples a problem would do.
    """
    if recipe.learner.rollout_tokens is None:
        return recipe.sampling.samples_per_prompt
    mean_tokens = sum(problem.reference_tokens or 0.0 for problem in pool)
    samples = round(recipe.learner.rollout_tokens / mean_tokens) if mean_tokens else 0
    if samples < 2:
        raise ConfigError(
            f"learner.rollout_tokens = {recipe.learner.rollout_tokens:,} is less than two samples "
            f"of each of {len(pool):,} problems take; raise it, or lower problems.train_limit"
        )
    return samples


def _trained(
    method: Method,
    recipe: Recipe,
    pool: Sequence[Problem],
    stages: Path,
    *,
    observer: Observer,
) -> Callable[[Path], None]:
    """What trains the method's model into a folder."""
    settings = {**(recipe.trl.settings if recipe.trl else {}), "seed": recipe.seed}
    settings = {"learning_rate": recipe.learner.learning_rate, **settings}

    def make(out: Path) -> None:
        out.mkdir()
        trainer = OfflineTrainer(method.name)
        if trainer is OfflineTrainer.DISTIL:
            data, spent = out.with_suffix(".jsonl"), 0
            rows = [{"prompt": p.chat, "privileged_context": method.told} for p in pool]
            write_atomically(data, "".join(json.dumps(row) + "\n" for row in rows))
            settings.update(
                num_generations=recipe.sampling.samples_per_prompt,
                max_completion_length=recipe.sampling.cap_tokens,
                temperature=recipe.sampling.temperature,
                max_prompt_length=None,
                teacher_prompt_template="{prompt}{privileged_context}",
                max_steps=recipe.learner.steps,
            )
            # TRL's own choice, the likeliest 100 tokens, is more than a small vocabulary has.
            settings.setdefault("distillation_mode", "full_logits")
        else:
            samples = _samples(recipe, pool, stages, observer=observer)
            data, spent = _answers(method, pool, samples, out)
            settings.setdefault("max_length", None)
        spent += fit(
            trainer,
            model=recipe.model.path,
            data=data,
            out=out,
            settings=settings,
            most_tokens=recipe.learner.rollout_tokens,
            wants_stop=observer.wants_stop,
        )
        write_atomically(out / SPENT_FILE, json.dumps({"tokens": spent}) + "\n")

    return make


def _samples(recipe: Recipe, pool: Sequence[Problem], stages: Path, *, observer: Observer) -> Path:
    """The folder of the base model's samples that all methods of a seed learn from."""
    sampling = recipe.sampling
    spec = SamplingSpec(
        samples=sample_count(recipe, pool),
        cap_tokens=sampling.cap_tokens,
        seed=recipe.seed,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
    )

    def make(out: Path) -> None:
        plan = Plan(
            model=recipe.model.path,
            benchmark="",
            out=out / "samples",
            spec=spec,
            budgets=(sampling.cap_tokens,),
            protocol=Protocol.FINISHED,
            rows=sampling.rows,
            chat_template_kwargs=recipe.model.chat_template_kwargs,
        )
        sample_pool(pool, plan, observer=observer)

    return make_once(stages, make, spec, recipe.model, [p.id for p in pool]) / "samples"


def _answers(method: Method, pool: Sequence[Problem], samples: Path, out: Path) -> tuple[Path, int]:
    """The file to learn from, and the tokens of all samples that it was chosen from."""
    kind = Write.SFT if method.name == "sft" else Write.PAIRS
    choice = AnswerChoice(write=(kind,), gap=method.gap, pairs=method.pairs)
    folder = out.with_suffix(".data")
    folder.mkdir(exist_ok=True)
    records, made = samples / RECORDS_FILE, read_manifest(samples, EvaluationManifest)
    write_answers(folder, make_answers(pool, records, choice, made_of=made))
    spent = sum(record.tokens for record in jsonl.read(records, EvalRecord))
    return folder / ANSWER_FILES[kind][0], spent


def make_once(stages: Path, make: Callable[[Path], None], *made_of: Any) -> Path:
    """The folder that stands for what it is made of, made if it is not there; who comes second
    waits."""
    stages.mkdir(parents=True, exist_ok=True)
    key = blake2b(repr(made_of).encode(), digest_size=6).hexdigest()
    final, scratch = stages / key, stages / f"{key}.tmp"
    with (stages / f"{key}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not final.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
            make(scratch)
            scratch.replace(final)
    return final


def _evaluate(
    recipe: Recipe,
    folder: Path,
    step: int,
    model: str,
    problems: Sequence[Problem],
    *,
    observer: Observer,
) -> None:
    template = recipe.model.chat_template_kwargs
    policy, tokenizer = load_policy(model)
    evaluate_policy(
        recipe,
        folder,
        step,
        sampler=make_sampler(policy, tokenizer, rows=recipe.sampling.rows, template=template),
        tokenizer=tokenizer,
        problems=problems,
        observer=observer,
    )


def _told(problems: Sequence[Problem], told: str | None) -> list[Problem]:
    return [replace(problem, prompt=problem.prompt + (told or "")) for problem in problems]


def _force(
    recipe: Recipe,
    folder: Path,
    method: Method,
    model: str,
    problems: Sequence[Problem],
    *,
    observer: Observer,
) -> None:
    """Samples whose thinking was closed at the budget stand with the answer that was forced."""
    assert isinstance(method.forced, int)
    plan = Plan(
        model=model,
        benchmark="",
        out=folder / "forced",
        spec=evaluation_spec(recipe, STEPS),
        budgets=(method.forced,),
        protocol=Protocol.FORCED,
        rows=recipe.sampling.rows,
        chat_template_kwargs=recipe.model.chat_template_kwargs,
    )
    run_evaluation(plan, observer=observer, problems=problems)
    forced = jsonl.read(plan.out / FORCED_FILE, ForcedRecord)
    by_sample = {(each.problem, each.sample): each for each in forced}
    records = []
    for record in jsonl.read(plan.out / RECORDS_FILE, EvalRecord):
        cut = by_sample.get((record.problem, record.sample))
        if cut is not None:
            tokens = cut.budget_tokens + cut.extra_tokens
            record = replace(record, grade=cut.grade, finish=cut.finish, tokens=tokens, text=None)
        records.append(replace(record, pieces=None))
    jsonl.write(folder / "eval" / f"step-{STEPS:06d}.jsonl", records)
