"""Laws that every target obeys, found by its file."""

import json

import numpy as np
import pytest

from tersely.core.errors import ConfigError
from tersely.targets import available, check, declared, giving, load

every_target = pytest.mark.parametrize("name", available())


@pytest.fixture
def random_steps(group):
    """Steps of five groups, one of each problem."""

    def draw(seed, steps, *, problems=("a", "b", "c", "d", "e")):
        rng = np.random.default_rng(seed)
        return [
            [group(rng.integers(1, 30, 6), rng.random(6) < 0.5, problem=p) for p in problems]
            for _ in range(steps)
        ]

    return draw


def same(one, other):
    """Whether two runs set the same."""
    return all(
        np.array_equal(a.tokens_P, b.tokens_P, equal_nan=True)
        and np.array_equal(a.weight, b.weight, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )


@every_target
def test_one_target_a_group_and_a_state_that_survives_a_checkpoint(name, run, random_steps):
    targets, _ = run(name, random_steps(0, 7))
    for target in targets:
        assert target.tokens_P.shape == (5,)
        assert target.tokens_P.dtype == np.float64


@every_target
def test_it_gives_the_fields_that_it_declares_and_no_other(name, run, random_steps):
    targets, _ = run(name, random_steps(0, 7))
    gives = declared(name).gives
    assert gives
    assert gives == {field for field in ("target_tokens", "weight") if name in giving(field)}
    for target in targets:
        assert np.isfinite(target.weight) == ("weight" in gives)
        sets_tokens = "target_tokens" in gives
        assert (target.tokens_P >= 1).all() if sets_tokens else np.isnan(target.tokens_P).all()


@every_target
def test_it_keeps_a_state_where_it_says_so_and_only_there(name, run, random_steps):
    _, state = run(name, random_steps(1, 3))
    assert bool(state) == bool(declared(name).keeps)


@every_target
def test_it_moves_where_it_says_so_and_only_there(name, run, random_steps):
    first, *later = run(name, random_steps(2, 8))[0]
    moved = any(not same([first], [target]) for target in later)
    assert moved == bool(declared(name).moves)


@every_target
def test_it_looks_at_the_problem_where_it_says_so_and_only_there(name, run, random_steps):
    one, _ = run(name, random_steps(3, 4))
    other, _ = run(name, random_steps(3, 4, problems=("a", "a", "b", "f", "g")))
    assert same(one, other) != ("problem" in declared(name).needs)
    assert declared(name).needs <= {"problem", "effort"}


@every_target
def test_it_looks_at_the_level_of_effort_where_it_says_so_and_only_there(name, run, random_steps):
    steps = random_steps(3, 4)
    one, _ = run(name, steps)
    other, _ = run(name, [[g._replace(effort="low") for g in groups] for groups in steps])
    assert same(one, other) != ("effort" in declared(name).needs)


@every_target
def test_a_stated_target_is_the_one_that_is_set(name, run, group, settings):
    announced = declared(name).announced
    if announced is None:
        return
    groups = [group([5], [1], problem=f"p{i}") for i in range(20)]
    (target,), _ = run(name, [groups])
    for g, tokens in zip(groups, target.tokens_P, strict=True):
        prompt = announced("2+2", g.problem, **settings(name))
        assert prompt.startswith("2+2")
        assert f"{tokens:g}" in prompt.removeprefix("2+2")


@every_target
def test_resumed_from_any_step_it_goes_on_as_if_it_had_not_stopped(name, run, random_steps):
    steps = random_steps(1, 6)
    whole, _ = run(name, steps)
    for stop in range(1, 6):
        _, state = run(name, steps[:stop])
        rest, _ = run(name, steps[stop:], state=state)
        assert same(rest, whole[stop:])


@every_target
def test_it_leaves_its_state_and_groups_alone(name, run, random_steps, settings):
    (groups,) = random_steps(2, 1)
    _, state = run(name, [groups, groups])
    before = json.dumps(state)
    copies = [g.tokens_G.copy() for g in groups]
    load(name)(state, groups, **settings(name))
    assert json.dumps(state) == before
    for g, copy in zip(groups, copies, strict=True):
        np.testing.assert_array_equal(g.tokens_G, copy)


@every_target
def test_what_a_cut_rollout_wrote_moves_nothing_unless_it_is_paid(name, run, group):
    def step(right):
        return [group([10, 20, 30], [1, 1, right], finished=[1, 1, 0])] * 2

    assert same(run(name, [step(1)] * 3)[0], run(name, [step(0)] * 3)[0])


@every_target
def test_the_settings_of_a_recipe_are_checked_before_the_run(name, settings):
    check(name, settings(name))
    for key, value in settings(name).items():
        broken = [0] if isinstance(value, list) else -1.0 if isinstance(value, float) else 0
        with pytest.raises(ConfigError, match=rf"^target\.{key}.* = "):
            check(name, {**settings(name), key: broken})
