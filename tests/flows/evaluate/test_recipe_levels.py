"""Levels of a sweep as a recipe asks for them in training."""

from pathlib import Path

import pytest

from tersely.core.errors import ConfigError
from tersely.core.types import Problem, SamplingSpec
from tersely.flows.evaluate.levels import recipe_levels
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.sweep import Sweep
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe, read_recipe
from tersely.metrics.budgets import Protocol
from tersely.readers.sweeps import SweepKind, SweepLevel
from tersely.targets.prompt_budget import budget_of

TINY = Path(__file__).parents[1] / "tiny.toml"
STATED = 'target={name="prompt_budget", low_tokens=5, high_tokens=40, phrase=" in {tokens}"}'


def tiny(*overrides: str) -> Recipe:
    return read_recipe(TINY, overrides=overrides)


def asked(level: SweepLevel, problem: Problem) -> Problem:
    plan = Plan(
        model="lab",
        benchmark="lab",
        out=Path("out"),
        spec=SamplingSpec(samples=1, cap_tokens=64, seed=0),
        budgets=(64,),
        protocol=Protocol.FINISHED,
    )
    sweep = Sweep(plan=plan, kind=SweepKind.EFFORTS, levels=(level,))
    return sweep.plan_of(level).asked([problem])[0]


def test_levels_ask_as_in_training() -> None:
    levels = ('effort.low={phrase="="}', "effort.mid={system_prompt='Be brief'}", "effort.high={}")
    held = 'target={name="by_effort", tokens={low=8, mid=20}}'
    plain, _ = load_problems(tiny())
    recipe = tiny(*levels, held, 'reward={name="correctness"}')
    trained, _ = load_problems(recipe)
    found = recipe_levels(recipe, cap_tokens=64)
    assert [level.name for level in found] == ["low", "mid", "high"]
    assert [level.budget_tokens for level in found] == [8, 20, None]
    for place, level in enumerate(found):
        assert asked(level, plain[0]).chat == trained[place].chat
    (only,) = recipe_levels(recipe, efforts="mid", cap_tokens=64)
    assert only == found[1]


def test_budgets_are_stated_in_the_targets_own_sentence() -> None:
    plain, _ = load_problems(tiny())
    recipe = tiny(STATED)
    trained, _ = load_problems(recipe)
    budget = budget_of(plain[0].id, low_tokens=5, high_tokens=40)
    (level,) = recipe_levels(recipe, budgets=str(budget), cap_tokens=64)
    assert level.budget_tokens == budget
    assert level.of_all_tokens
    assert asked(level, plain[0]).prompt == trained[0].prompt


def test_a_recipe_that_asks_for_nothing_of_the_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no levels of effort"):
        recipe_levels(tiny(), cap_tokens=64)
    with pytest.raises(ConfigError, match="target states none"):
        recipe_levels(tiny(), budgets="8,16", cap_tokens=64)
    with pytest.raises(ConfigError, match="no level of the recipe"):
        recipe_levels(tiny("effort.low={}"), efforts="lwo", cap_tokens=64)
