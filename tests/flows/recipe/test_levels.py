"""Levels of effort in a recipe: every problem at each of them, and what is refused."""

import warnings
from pathlib import Path

import pytest

from tersely.core.errors import ConfigError, TerselyWarning
from tersely.core.parsing import parse_toml
from tersely.core.types import Message, Problem
from tersely.flows.price.cost import describe_cost
from tersely.flows.recipe.problems import at_levels, budgets_of, lengths_by_level, load_problems
from tersely.flows.recipe.recipe import Recipe, as_toml, check_recipe, read_recipe
from tersely.flows.recipe.sections import EffortLevel

TINY = Path(__file__).parents[1] / "tiny.toml"
LEVELS = ('effort.low={phrase="="}', "effort.high={}")


def tiny(*overrides: str) -> Recipe:
    return read_recipe(TINY, overrides=overrides)


def by_effort(tokens: str) -> tuple[str, ...]:
    return (f'target={{name="by_effort", tokens={tokens}}}', 'reward={name="effort"}')


def test_every_problem_is_asked_at_each_level_and_is_a_problem_of_its_own_there() -> None:
    plain, _ = load_problems(tiny())
    train, test = load_problems(tiny(*LEVELS))
    assert len(train) == 2 * len(plain)
    assert len({problem.id for problem in train}) == len(train)
    for one, low, high in zip(plain, train[::2], train[1::2], strict=True):
        assert (low.id, low.prompt, low.effort) == (f"{one.id} low", f"{one.prompt}=", "low")
        assert (high.id, high.prompt, high.effort) == (f"{one.id} high", one.prompt, "high")
        assert low.answer == high.answer == one.answer
    assert {problem.effort for problem in test} == {"low", "high"}


def test_a_blank_phrase_is_refused_and_targets_that_fall_are_said() -> None:
    with pytest.raises(ConfigError, match="the phrase '  ' of a level of effort is blank"):
        tiny('effort.low={phrase="  "}', "effort.high={}")
    with pytest.warns(TerselyWarning, match="falls from 40 of low to 9 of high"):
        tiny(*LEVELS, *by_effort("{low=40, high=9}"))


def test_a_coefficient_that_would_overflow_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"reward.weight = 1e\+300 is above 1e\+12"):
        tiny(
            *LEVELS,
            'target={name="by_effort", tokens={low=9}}',
            'reward={name="effort", weight=1e300}',
        )


@pytest.mark.parametrize("power", [300, 400])
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("reward.alpha", 'reward={{name="l1_max", alpha={0}}}'),
        ("reward.margin_tokens", 'reward={{name="dot", margin_tokens={0}}}'),
        ("reward.wrong", 'reward={{name="grpo_lead", wrong=-{0}}}'),
        ("target.tokens", 'target={{name="fixed", tokens={0}}}'),
        ("target.tokens", 'target={{name="staged", tokens=[9, {0}], every_steps=1}}'),
        ("target.tokens", 'target={{name="by_effort", tokens={{low={0}}}}}'),
    ],
)
def test_a_whole_number_without_measure_is_refused_in_a_line(setting, value, power) -> None:
    said = rf"{setting} = -?1e\+{power} is above 1e\+12"
    with pytest.raises(ConfigError, match=said) as refusal:
        tiny(*LEVELS, value.format(10**power))
    assert len(str(refusal.value)) < 80


def test_a_rule_that_no_group_can_make_act_is_said_when_the_recipe_is_read() -> None:
    with pytest.warns(TerselyWarning, match="dot pays no heed to length in this run: none of 8"):
        tiny('reward={name="dot"}', "sampling.samples_per_prompt=8")


@pytest.mark.parametrize("name", ["history_minimum", "history_quantile"])
def test_a_history_that_no_problem_will_have_is_said_before_the_run(name) -> None:
    rule = f'target={{name="{name}"}}', 'reward={name="expthink"}', "sampling.prompts_per_step=4"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, _ = load_problems(tiny(*rule, "learner.steps=1000"))
    steps = len(train) // 4
    said = rf"{name} remembers each problem, and none has a second turn in learner.steps = {steps}"
    with pytest.warns(TerselyWarning, match=said):
        load_problems(tiny(*rule, f"learner.steps={steps}"))


def test_a_level_may_be_asked_for_by_a_system_message() -> None:
    problem = Problem(id="p", prompt="2+2?", answer="4", source="s")
    levels = {"low": EffortLevel(system_prompt="Be brief."), "high": EffortLevel()}
    low, high = at_levels([problem], levels)
    assert low.earlier == (Message(role="system", content="Be brief."),)
    assert high.earlier == ()


def test_a_budget_in_the_prompt_is_the_one_of_its_level() -> None:
    target = 'target={name="prompt_budget", low_tokens=5, high_tokens=40, phrase="?{tokens}"}'
    recipe = tiny(*LEVELS, target, 'reward={name="l1_max"}')
    train, _ = load_problems(recipe)
    budgets = budgets_of(recipe, train)
    for problem in train:
        assert problem.prompt.endswith(f"?{budgets[problem.id]:g}")
    assert budgets_of(tiny(), train) == {}


def test_a_recipe_with_levels_survives_being_written_and_an_older_one_has_none() -> None:
    recipe = tiny(*LEVELS, *by_effort("{low=10}"))
    assert check_recipe(parse_toml(as_toml(recipe).encode())) == recipe
    assert lengths_by_level(recipe) == {"low": 10.0}
    assert tiny().effort == {}


def test_the_price_counts_an_evaluation_at_every_level() -> None:
    plain, levels = (describe_cost(tiny(*each), evaluations=1) for each in ((), LEVELS))
    assert "at most 16 samples" in plain
    assert "at most 32 samples" in levels


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("effort.low={}", "effort.high={}"), "two of the levels low, high ask alike"),
        (by_effort("{low=10}"), "target by_effort needs levels, and the recipe has none"),
        ((*LEVELS, *by_effort("{medium=10}")), "there is no level 'medium'; .*low, high"),
        ((*LEVELS, *by_effort("{low=4000}")), "target.tokens = .*exceeds sampling.cap_tokens"),
        ((*LEVELS, *by_effort("{low=0}")), r"target.tokens\[low\] = 0 is below 1"),
        (
            (*LEVELS, *by_effort("{low=10}"), 'reward={name="truncation"}'),
            "reward truncation needs target_tokens, and target.tokens has none for the level high",
        ),
        (
            ('effort.low={system_prompt="Be brief."}', 'model.system_prompt="Think."'),
            "two system messages",
        ),
        (("effort.low={phrasing=1}",), "no recipe key 'effort.low.phrasing'"),
    ],
)
def test_levels_that_cannot_be_are_refused_in_one_line(
    overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        tiny(*overrides)
    assert "\n" not in str(error.value)


def test_what_an_engine_s_section_gave_the_template_is_the_model_s_now() -> None:
    for old in ("trl.chat_template_kwargs", "verl.data.apply_chat_template_kwargs"):
        with pytest.warns(TerselyWarning, match=f"{old} is model.chat_template_kwargs now"):
            recipe = tiny(f"{old}={{enable_thinking=false}}")
        assert recipe.model.chat_template_kwargs == {"enable_thinking": False}
        assert tiny("model.chat_template_kwargs={enable_thinking=false}").model == recipe.model
        with pytest.raises(ConfigError, match=r"contradicts model.chat_template_kwargs"):
            tiny(f"{old}={{brief=true}}", "model.chat_template_kwargs={brief=false}")


def test_settings_of_the_template_that_are_the_sampler_s_own_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.chat_template_kwargs: tokenize is set by"):
        tiny("model.chat_template_kwargs={tokenize=true}")


def test_a_system_prompt_stands_before_every_problem_and_a_second_one_is_refused(
    tmp_path: Path,
) -> None:
    train, test = load_problems(tiny('model.system_prompt="3+4="'))
    for problem in (*train, *test):
        assert problem.chat[0] == {"role": "system", "content": "3+4="}
