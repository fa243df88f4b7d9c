"""The problems that a recipe trains and tests on."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tersely import rewards, targets
from tersely.core.errors import ConfigError, TerselyWarning
from tersely.core.types import GroupView, Problem
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.sections import EffortLevel, NamedSection
from tersely.lab.problems import SETS, Split, draw_set
from tersely.tasks import grading, sources
from tersely.tasks.problems import in_band, of_sources, with_system
from tersely.tasks.repeats import check_apart, check_set, leave_out_shared, say_shared


def training_problems(recipe: Recipe) -> list[Problem]:
    """The problems that a recipe trains on, of the wanted sources and band, at most
    ``problems.train_limit``; their prompts as in the file."""
    section = recipe.problems
    training = _load_side(section.train, Split.TRAIN, section.train_limit, seed=recipe.seed)
    if section.sources:
        training = of_sources(training, section.sources)
    if section.band:
        training = in_band(training, low=section.band[0], high=section.band[1])
    return training[: section.train_limit]


def load_problems(recipe: Recipe) -> tuple[list[Problem], list[Problem]]:
    """The training problems, and held-out problems of every kind.

    Raises:
        ConfigError: they are too few, or lack what the reward needs.
        DataError: they cannot be graded, stand twice, or are trained and tested on.
    """
    section = recipe.problems
    training = training_problems(recipe)
    test = _load_side(section.test, Split.TEST, section.test_limit, seed=recipe.seed)
    for problem in (*training, *test):
        grading.load(problem.grader)
    _check_references(recipe.reward.name, training)
    needed = recipe.sampling.prompts_per_step
    if len(training) < needed:
        raise ConfigError(
            f"sampling.prompts_per_step = {needed} exceeds the {len(training)} training problems; "
            "give more problems, widen problems.band or lower it"
        )
    test = _check_repeats(recipe, training, test)
    grading.refuse_bad_gold([*training, *test])
    sides = (_with_system(each, recipe.model.system_prompt) for each in (training, test))
    levels, target = recipe.effort, recipe.target
    training, test = (_announce(at_levels(each, levels), target) for each in sides)
    _say_turns(recipe, len(training))
    return training, test


def _say_turns(recipe: Recipe, problems: int) -> None:
    """Warns where a target that remembers each problem meets none of them a second time."""
    if recipe.target is None or recipe.sampling.without_signal == "refill":
        return
    declared = targets.declared(recipe.target.name)
    asked = recipe.learner.steps * recipe.sampling.prompts_per_step
    if declared.keeps and "problem" in declared.needs and asked <= problems:
        warnings.warn(
            f"target {recipe.target.name} remembers each problem, and none has a second turn in "
            f"learner.steps = {recipe.learner.steps:,} of {recipe.sampling.prompts_per_step:,} "
            f"prompts: there are {problems:,} problems; take more steps, or set "
            f"problems.train_limit below {asked:,}",
            TerselyWarning,
            stacklevel=3,
        )


def at_levels(problems: Sequence[Problem], levels: Mapping[str, EffortLevel]) -> list[Problem]:
    """Every problem once for each level, as a problem of its own; as they are without levels."""
    if not levels:
        return list(problems)
    return [
        _at_level(problem, name, level) for problem in problems for name, level in levels.items()
    ]


def _at_level(problem: Problem, name: str, level: EffortLevel) -> Problem:
    asked = replace(
        problem, id=f"{problem.id} {name}", prompt=problem.prompt + level.phrase, effort=name
    )
    if level.system_prompt is None:
        return asked
    where = f"effort.{name}.system_prompt"
    return with_system([asked], level.system_prompt, where=where)[0]


def budgets_of(recipe: Recipe, problems: Sequence[Problem]) -> dict[str, float]:
    """The budget that each problem's prompt states, by its id; none where prompts state none."""
    if recipe.target is None or targets.declared(recipe.target.name).announced is None:
        return {}
    none_G = np.zeros(0, dtype=np.int64)
    views = [
        GroupView(
            correct_G=none_G > 0,
            tokens_G=none_G,
            finished_G=none_G > 0,
            formatted_G=none_G > 0,
            effort=problem.effort or "",
            problem=problem.id,
        )
        for problem in problems
    ]
    target = targets.load(recipe.target.name)({}, views, **recipe.target.parameters)
    return {p.id: float(t) for p, t in zip(problems, target.tokens_P, strict=True)}


def lengths_by_level(recipe: Recipe) -> dict[str, float]:
    """The target length of each level that the recipe's target gives one, in tokens."""
    if recipe.target is None or "effort" not in targets.declared(recipe.target.name).needs:
        return {}
    return {level: float(n) for level, n in recipe.target.parameters["tokens"].items()}


def _with_system(problems: list[Problem], text: str | None) -> list[Problem]:
    return problems if text is None else with_system(problems, text, where="model.system_prompt")


def _check_repeats(recipe: Recipe, training: list[Problem], test: list[Problem]) -> list[Problem]:
    """The test problems that remain, at most ``problems.test_limit``. Says which problems stand
    twice, and refuses them above a stated share; drawn test problems that are trained on are left
    out instead, and others that were drawn take their place."""
    section = recipe.problems
    said = [check_set(training, name="problems.train")]
    # One name for both asks for the same problems.
    if section.test == section.train and section.train not in SETS:
        kept = test[: section.test_limit]
        shared = say_shared(kept, training)
        said.append(
            f"problems.test is problems.train: {shared}; accuracy on them says nothing of others."
            if shared
            else None
        )
    elif section.test.startswith(sources.GYM):
        rest, left_out = leave_out_shared(test, training)
        kept = rest[: section.test_limit]
        said.append(left_out)
    else:
        kept = test[: section.test_limit]
        said.append(check_apart(kept, training))
    said.append(check_set(kept, name="problems.test"))
    for line in filter(None, said):
        warnings.warn(line, TerselyWarning, stacklevel=3)
    return kept


def _announce(problems: Sequence[Problem], target: NamedSection | None) -> list[Problem]:
    """The problems, with their targets stated in their prompts where the target's file does so."""
    announced = targets.declared(target.name).announced if target else None
    if target is None or announced is None:
        return list(problems)
    return [replace(p, prompt=announced(p.prompt, p.id, **target.parameters)) for p in problems]


def _check_references(reward: str, problems: Sequence[Problem]) -> None:
    for field in sorted(rewards.needs(reward) & rewards.REFERENCES):
        lacking = sum(getattr(problem, field) is None for problem in problems)
        if lacking:
            raise ConfigError(
                f"reward {reward} needs {field} of every training problem, and {lacking:,} of "
                f"{len(problems):,} have none; add it to the problem file or choose another reward"
            )


def _load_side(where: str, split: Split, limit: int, *, seed: int) -> list[Problem]:
    if where in SETS:
        return draw_set(where, count=limit, seed=seed, split=split)
    return sources.load(where)
