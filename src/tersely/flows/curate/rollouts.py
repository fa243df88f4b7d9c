"""The rollouts of a training run as samples to choose from, like those of an evaluation."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tersely import targets
from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.manifest import EvaluationManifest, Facts, write_manifest
from tersely.core.types import EvalRecord, Problem, RolloutRecord
from tersely.flows.recipe.problems import training_problems
from tersely.flows.recipe.recipe import RECIPE_FILE, Recipe, read_recipe
from tersely.readers.evaluations import PROBLEMS_FILE, RECORDS_FILE
from tersely.tasks.problems import digest

ROLLOUTS = "rollouts"


def gather_rollouts(run: Path, folder: Path) -> Path:
    """Writes all rollouts of a run into ``folder`` as an evaluation's records, and returns it.

    A problem's samples are numbered through the steps in which it was sampled. They are of the
    policies that the run went through, and not of one model.

    Raises:
        ConfigError: the run asked for levels of effort or stated budgets, or its problems are not
            there any more.
    """
    recipe = read_recipe(run / RECIPE_FILE)
    _refuse_told(recipe, run)
    known = {problem.id: problem for problem in training_problems(recipe)}
    files = sorted((run / ROLLOUTS).glob("step-*.jsonl*"))
    rollouts = [rollout for file in files for rollout in jsonl.read(file, RolloutRecord)]
    if lost := {rollout.problem for rollout in rollouts} - known.keys():
        raise ConfigError(
            f"{run} was trained on {min(lost)!r}, which problems.train = "
            f"{recipe.problems.train!r} does not hold any more; restore the file of problems"
        )
    records = _as_records(rollouts, known, recipe, name=run.resolve().name)
    if not records:
        raise ConfigError(f"{run} holds no rollouts yet; give a run that has taken a step")
    made = Counter(record.problem for record in records)
    problems = [problem for name, problem in known.items() if name in made]
    folder.mkdir(parents=True, exist_ok=True)
    samples = max(made.values())
    write_manifest(folder, _manifest(recipe, problems, run=run, samples=samples))
    jsonl.write(folder / PROBLEMS_FILE, problems)
    jsonl.write(folder / RECORDS_FILE, records)
    return folder


def _refuse_told(recipe: Recipe, run: Path) -> None:
    """Refuses a run whose prompts said more than its problems do."""
    instead = "evaluate its checkpoint (tersely eval) and give that folder"
    if recipe.effort:
        raise ConfigError(
            f"{run} asked for levels of effort, so that one problem was several; {instead}"
        )
    if recipe.target is not None and targets.declared(recipe.target.name).announced is not None:
        raise ConfigError(
            f"{run} stated a budget in each prompt (target {recipe.target.name}), which the "
            f"problems do not; {instead}"
        )


def _as_records(
    rollouts: Iterable[RolloutRecord], known: Mapping[str, Problem], recipe: Recipe, *, name: str
) -> list[EvalRecord]:
    made: Counter[str] = Counter()
    records = []
    for each in rollouts:
        record = EvalRecord(
            run=name,
            benchmark=known[each.problem].source,
            problem=each.problem,
            sample=made[each.problem],
            grade=each.grade,
            tokens=each.tokens,
            finish=each.finish,
            cap_tokens=recipe.sampling.cap_tokens,
            seed=recipe.seed,
            text=each.text,
            extracted=each.extracted,
            thinking_open=each.thinking_open,
        )
        records.append(record)
        made[each.problem] += 1
    return records


def _manifest(
    recipe: Recipe, problems: Sequence[Problem], *, run: Path, samples: int
) -> EvaluationManifest:
    settings, sampling = recipe.model.chat_template_kwargs, recipe.sampling
    return EvaluationManifest(
        model=f"the policies of {run}",
        benchmark=recipe.problems.train,
        benchmark_digest=digest(problems),
        graders=tuple(sorted({problem.grader for problem in problems})),
        samples=samples,
        cap_tokens=sampling.cap_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=recipe.seed,
        protocol="finished",
        chat_template_kwargs=json.dumps(dict(settings), sort_keys=True) if settings else None,
        system_prompt=recipe.model.system_prompt,
        facts=Facts(name=run.resolve().name),
    )
