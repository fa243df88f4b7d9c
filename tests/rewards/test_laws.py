"""Laws that every reward obeys; a new file is found and tested without a word here."""

import numpy as np
import pytest

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.rewards import available, check, load

SEEDS = range(8)
every_reward = pytest.mark.parametrize("name", available())
every_seed = pytest.mark.parametrize("seed", SEEDS)


def random_group(seed: int) -> GroupView:
    rng = np.random.default_rng(seed)
    samples = [1, 2, 5, 8, 24, 3, 4, 16][seed]
    finished_G = rng.random(samples) < 0.8
    formatted_G = finished_G & (rng.random(samples) < 0.9)
    return GroupView(
        correct_G=formatted_G & (rng.random(samples) < [0.0, 0.5, 1.0][seed % 3]),
        tokens_G=rng.integers(1, 200, samples),
        finished_G=finished_G,
        formatted_G=formatted_G,
        target_tokens=100.0,
    )


def take(g: GroupView, order: np.ndarray) -> GroupView:
    return g._replace(
        correct_G=g.correct_G[order],
        tokens_G=g.tokens_G[order],
        finished_G=g.finished_G[order],
        formatted_G=g.formatted_G[order],
    )


@every_reward
@every_seed
def test_one_finite_float_for_each_rollout(name: str, seed: int) -> None:
    g = random_group(seed)
    reward_G = load(name)(g)
    assert reward_G.shape == g.correct_G.shape
    assert reward_G.dtype == np.float64
    assert np.isfinite(reward_G).all()


@every_reward
@every_seed
def test_reordering_the_group_reorders_the_reward(name: str, seed: int) -> None:
    g = random_group(seed)
    order = np.random.default_rng(seed + 100).permutation(len(g.tokens_G))
    np.testing.assert_allclose(load(name)(take(g, order)), load(name)(g)[order], rtol=1e-12)


@every_reward
def test_depends_only_on_the_group(name: str) -> None:
    reward = load(name)
    before_G = reward(random_group(3))
    for seed in SEEDS:
        reward(random_group(seed))
    np.testing.assert_array_equal(reward(random_group(3)), before_G)


@every_reward
@every_seed
def test_leaves_its_input_alone(name: str, seed: int) -> None:
    g, untouched = random_group(seed), random_group(seed)
    for array in g[:4]:
        array.flags.writeable = False
    reward_G = load(name)(g)
    for array, copy in zip(g, untouched, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert not any(np.shares_memory(reward_G, array) for array in g[:4])


@every_reward
@pytest.mark.parametrize("tokens", [1, 99, 100, 101, 5000])
def test_wrong_never_pays_more_than_correct_of_the_same_length(name: str, tokens: int) -> None:
    everyone = np.ones(3, dtype=np.bool_)
    g = GroupView(
        correct_G=np.array([True, False, True]),
        tokens_G=np.array([tokens, tokens, 60]),
        finished_G=everyone,
        formatted_G=everyone,
        target_tokens=100.0,
    )
    correct, wrong, _ = load(name)(g)
    assert wrong <= correct


@every_reward
def test_a_recipe_needs_no_more_than_the_name(name: str) -> None:
    check(name, {})


def test_an_unknown_reward_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'nope' is none of the rewards: correctness, truncation"):
        load("nope")


def test_a_setting_that_the_reward_does_not_have_is_refused_before_the_run() -> None:
    check("truncation", {})
    with pytest.raises(ConfigError, match="has no parameter alpha = 1; it has: none"):
        check("truncation", {"alpha": 1})
