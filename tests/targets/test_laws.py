"""Laws that every target obeys, found by its file, and one golden run of each."""

import json

import numpy as np
import pytest

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.targets import available, check, load
from tersely.targets.prompt_budget import announced, budget_of

# Settings that a recipe would give each rule.
SETTINGS = {
    "fixed": {"tokens": 40},
    "staged": {"tokens": [60, 40, 20], "every_steps": 2},
    "batch_quantile": {"start_tokens": 100},
    "group_quantile": {"start_tokens": 100},
    "history_minimum": {},
    "difficulty_bins": {"start_tokens": 100, "step_tokens": 10, "every_steps": 2},
    "dual_weight": {"accuracy": 0.5},
    "prompt_budget": {"low_tokens": 10, "high_tokens": 90, "phrase": "Think for {tokens} tokens."},
}
every_target = pytest.mark.parametrize("name", available())


def group(lengths, right, *, problem="p", finished=None):
    tokens_G = np.array(lengths)
    return GroupView(
        correct_G=np.array(right, dtype=bool),
        tokens_G=tokens_G,
        finished_G=np.ones(len(lengths), bool) if finished is None else np.array(finished, bool),
        formatted_G=np.ones(len(lengths), bool),
        problem=problem,
    )


def random_step(rng):
    return [
        group(rng.integers(1, 100, 6), rng.random(6) < 0.5, problem=f"p{rng.integers(4)}")
        for _ in range(5)
    ]


def run(name, steps, *, state=None, **settings):
    """The targets of each step, and the last state; the state goes through JSON each time."""
    state, targets = state or {}, []
    for groups in steps:
        target = load(name)(state, groups, **{**SETTINGS[name], **settings})
        targets.append(target)
        state = json.loads(json.dumps(target.state))
    return targets, state


def test_every_target_is_in_this_table():
    assert set(available()) == set(SETTINGS)


@every_target
def test_one_target_a_group_and_a_state_that_survives_a_checkpoint(name):
    rng = np.random.default_rng(0)
    steps = [random_step(rng) for _ in range(7)]
    targets, _ = run(name, steps)
    for target in targets:
        assert target.tokens_P.shape == (5,)
        assert target.tokens_P.dtype == np.float64
        if name != "dual_weight":
            assert (target.tokens_P >= 1).all()


@every_target
def test_resumed_from_any_step_it_goes_on_as_if_it_had_not_stopped(name):
    rng = np.random.default_rng(1)
    steps = [random_step(rng) for _ in range(6)]
    whole, _ = run(name, steps)
    for stop in range(1, 6):
        _, state = run(name, steps[:stop])
        rest, _ = run(name, steps[stop:], state=state)
        for one, other in zip(rest, whole[stop:], strict=True):
            np.testing.assert_array_equal(one.tokens_P, other.tokens_P)
            np.testing.assert_equal(one.weight, other.weight)


@every_target
def test_it_leaves_its_state_and_groups_alone(name):
    rng = np.random.default_rng(2)
    groups = random_step(rng)
    _, state = run(name, [groups, groups])
    before = json.dumps(state)
    copies = [g.tokens_G.copy() for g in groups]
    load(name)(state, groups, **SETTINGS[name])
    assert json.dumps(state) == before
    for g, copy in zip(groups, copies, strict=True):
        np.testing.assert_array_equal(g.tokens_G, copy)


@every_target
def test_what_a_cut_rollout_wrote_moves_nothing_unless_it_is_paid(name):
    def step(right):
        return [group([10, 20, 30], [1, 1, right], finished=[1, 1, 0])] * 2

    cut, _ = run(name, [step(1)] * 3)
    plain, _ = run(name, [step(0)] * 3)
    for one, other in zip(cut, plain, strict=True):
        np.testing.assert_array_equal(one.tokens_P, other.tokens_P)
        np.testing.assert_equal(one.weight, other.weight)


@every_target
def test_the_settings_of_a_recipe_are_checked_before_the_run(name):
    check(name, SETTINGS[name])
    for key, value in SETTINGS[name].items():
        broken = [0] if isinstance(value, list) else -1.0 if isinstance(value, float) else 0
        with pytest.raises(ConfigError, match=key):
            check(name, {**SETTINGS[name], key: broken})


def test_a_problems_budget_is_the_one_its_prompt_states():
    settings = {"low_tokens": 10, "high_tokens": 90}
    ids = [f"p{i}" for i in range(4000)]
    groups = [group([5], [1], problem=i) for i in ids]
    (target,), _ = run("prompt_budget", [groups], **settings)
    stated = [announced("2+2?", i, **settings, phrase=" In {tokens}.") for i in ids]
    assert stated == [f"2+2? In {int(tokens)}." for tokens in target.tokens_P]
    # uniform: every budget comes, mean 50, standard error 23.4 / sqrt(4000) = 0.37
    assert set(target.tokens_P) == set(range(10, 91))
    assert abs(target.tokens_P.mean() - 50) < 1.5
    # a golden draw holds it to be the same in every process
    assert announced("?", "p0", **settings).startswith("? Think for ")
    assert budget_of("p0", low_tokens=1, high_tokens=10**9) == 394313717


def test_a_budget_that_cannot_be_stated_is_refused():
    for settings, message in [
        ({"low_tokens": 0}, "target.low_tokens = 0 is below 1"),
        ({"low_tokens": 50, "high_tokens": 49}, "target.high_tokens = 49 is below"),
        ({"phrase": "Think briefly."}, "does not state the budget"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check("prompt_budget", settings)


def test_golden_staged():
    # two steps each at 60, 40, 20, and 20 from then on
    targets, _ = run("staged", [[group([5], [1])]] * 8)
    assert [t.tokens_P[0] for t in targets] == [60, 60, 40, 40, 20, 20, 20, 20]


def test_golden_batch_quantile():
    # right lengths 10, 20, 30, 40, 50: the .9 quantile lies at place 3.6: 46. Then none is
    # right: 46 stays. Then 10 alone, but not below the floor.
    steps = [
        [group([10, 20, 99], [1, 1, 0]), group([30, 40, 50], [1, 1, 1])],
        [group([5, 6, 7], [0, 0, 0])],
        [group([10, 90], [1, 0])],
    ]
    targets, _ = run("batch_quantile", steps, floor_tokens=12)
    assert [t.tokens_P.tolist() for t in targets] == [[46.0, 46.0], [46.0], [12.0]]


def test_golden_group_quantile():
    # 10, 20: .9 of the way: 19; one right: itself; none: the start
    groups = [group([10, 20, 99], [1, 1, 0]), group([30, 90], [1, 0]), group([5], [0])]
    (target,), _ = run("group_quantile", [groups])
    assert target.tokens_P.tolist() == [19.0, 30.0, 100.0]


def test_golden_history_minimum():
    # unknown: no target. After a right 30 and a right 20: 20; a longer one later changes nothing;
    # the other problem stays unknown, since only a wrong one was short
    steps = [
        [group([30, 20, 5], [1, 1, 0], problem="a"), group([3], [0], problem="b")],
        [group([50], [1], problem="a"), group([60], [1], problem="b")],
        [group([9], [0], problem="a"), group([9], [0], problem="b")],
    ]
    targets, state = run("history_minimum", steps)
    assert [t.tokens_P.tolist() for t in targets] == [[np.inf, np.inf], [20, np.inf], [20, 60]]
    assert state == {"tokens": {"a": 20, "b": 60}}


def test_golden_difficulty_bins():
    # easy (3 of 3 right: 12, 18, 31), middling (1 of 3: 44), hard (0 of 3). After two steps of
    # these: easy covers 90% of 12 12 18 18 31 31 with 31 -> 40, middling 44 -> 50, hard stays 100.
    groups = [
        group([12, 18, 31], [1, 1, 1]),
        group([44, 5, 5], [1, 0, 0]),
        group([7, 8, 9], [0, 0, 0]),
    ]
    targets, _ = run("difficulty_bins", [groups] * 4)
    assert [t.tokens_P.tolist() for t in targets] == [
        [100, 100, 100],
        [100, 100, 100],
        [40, 50, 100],
        [40, 50, 100],
    ]
    # half of 12 12 18 18 31 31: the third, 18 -> 20
    targets, _ = run("difficulty_bins", [groups] * 3, share=0.5)
    assert targets[2].tokens_P.tolist() == [20, 50, 100]


def test_golden_dual_weight():
    # .001 at first; accuracy 3/4 above 1/2: + .001 * .25; then 0: - .001 * .5, twice: not below 0
    steps = [[group([1] * 4, [1, 1, 1, 0])], *[[group([1] * 4, [0] * 4)]] * 3]
    targets, _ = run("dual_weight", steps)
    assert [t.weight for t in targets] == pytest.approx([0.001, 0.00125, 0.00075, 0.00025])
    _, state = run("dual_weight", [*steps, steps[-1]])
    assert state == {"weight": 0.0}
