"""GFPO's filter: golden numbers and laws."""

import numpy as np
import pytest

from tersely.algo.advantages.group_normalised import group_normalised
from tersely.algo.filters import GfpoRank, gfpo_keep
from tersely.algo.ragged import Ragged
from tersely.core.errors import ConfigError
from tersely.core.types import GroupView

SHORTEST, EFFICIENT = GfpoRank.SHORTEST, GfpoRank.REWARD_PER_TOKEN


def group(*tokens: int) -> GroupView:
    everyone = np.ones(len(tokens), dtype=np.bool_)
    return GroupView(
        correct_G=everyone, tokens_G=np.array(tokens), finished_G=everyone, formatted_G=everyone
    )


# Lengths 40, 10, 30, 20, 50; right: 1, 0, 1, 0, 1.
# Shortest two: 10 and 20, both wrong. Reward per token: 1/40, 0, 1/30, 0, 1/50, so 30 and 40.
GROUP = group(40, 10, 30, 20, 50)
REWARDS_G = np.array([1.0, 0, 1, 0, 1])


def test_shortest_keeps_short_answers_right_or_wrong() -> None:
    kept_G = gfpo_keep(GROUP, REWARDS_G, keep=2, by=SHORTEST)
    assert kept_G.tolist() == [False, True, False, True, False]


def test_reward_per_token_keeps_short_right_answers() -> None:
    kept_G = gfpo_keep(GROUP, REWARDS_G, keep=2, by=EFFICIENT)
    assert kept_G.tolist() == [True, False, True, False, False]


def test_only_what_is_kept_has_an_advantage() -> None:
    # Kept 10, 20 and 30 tokens with 0, 0, 1: mean 1/3, std sqrt(2)/3: sqrt(2) and -1/sqrt(2).
    kept_G = gfpo_keep(GROUP, REWARDS_G, keep=3, by=SHORTEST)
    adv_G = group_normalised(REWARDS_G, kept_G, Ragged(np.array([5])))
    np.testing.assert_allclose(adv_G, [0, -(0.5**0.5), 2**0.5, -(0.5**0.5), 0])


@pytest.mark.parametrize("by", GfpoRank)
@pytest.mark.parametrize("keep", [1, 3, 5, 9])
def test_keeps_as_many_as_asked_or_all(by: GfpoRank, keep: int) -> None:
    rng = np.random.default_rng(keep)
    g, rewards_G = group(*rng.integers(1, 6, 5)), rng.integers(0, 2, 5).astype(np.float64)
    assert gfpo_keep(g, rewards_G, keep=keep, by=by).sum() == min(keep, 5)


@pytest.mark.parametrize("by", GfpoRank)
def test_reordering_the_group_reorders_the_mask(by: GfpoRank) -> None:
    rng = np.random.default_rng(0)
    tokens_G, rewards_G = rng.permutation(np.arange(1, 25)), rng.random(24)
    order = rng.permutation(24)
    kept_G = gfpo_keep(group(*tokens_G), rewards_G, keep=8, by=by)
    again_G = gfpo_keep(group(*tokens_G[order]), rewards_G[order], keep=8, by=by)
    np.testing.assert_array_equal(again_G, kept_G[order])


def test_equals_are_kept_in_sample_order_and_nothing_is_changed() -> None:
    g, rewards_G = group(7, 7, 7), np.zeros(3)
    for array in (g.tokens_G, rewards_G):
        array.flags.writeable = False
    assert gfpo_keep(g, rewards_G, keep=2, by=SHORTEST).tolist() == [True, True, False]
    assert gfpo_keep(g, rewards_G, keep=2, by=EFFICIENT).tolist() == [True, True, False]


def test_keeping_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^filter.keep = 0 is below 1; set filter.keep >= 1$"):
        gfpo_keep(GROUP, REWARDS_G, keep=0, by=SHORTEST)


def test_a_reward_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        gfpo_keep(GROUP, REWARDS_G * np.nan, keep=1, by=EFFICIENT)
