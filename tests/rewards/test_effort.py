"""The reward of an effort level, worked out by hand, and against a loop over rollouts."""

import numpy as np
import pytest

from tersely.core.types import GroupView
from tersely.rewards import load

# l = 1 - L / 80: 0.5, 0, -0.5, 0.25, -1, -1.5. Right: 1 + l above 0, and l off below; wrong: l off
# below 0, and nothing for being short.
GOLDEN: tuple[dict[str, float], list[float]] = ({}, [1.5, 1, 0.5, 0, -1, -1.5])
DEGENERATE: tuple[float, list[float]] = (1.5, [0, 0])


def group(*tokens: int, right: int, target: float) -> GroupView:
    everyone_G = np.ones(len(tokens), dtype=np.bool_)
    return GroupView(
        correct_G=np.arange(len(tokens)) < right,
        tokens_G=np.array(tokens),
        finished_G=everyone_G,
        formatted_G=everyone_G,
        target_tokens=target,
    )


def naive(right: bool, tokens: int, bound: float, weight: float, penalty: float) -> float:
    """NeMo-RL's words for one rollout."""
    length = min(1.0, weight * (1.0 - tokens / bound))
    reward = 1.0 if right else 0.0
    if length > 0:
        return reward + reward * length
    return reward + penalty * length


@pytest.mark.parametrize(("weight", "penalty"), [(1.0, 1.0), (4.0, 0.25), (0.5, 0.0)])
def test_it_is_the_published_equation_rollout_by_rollout(weight: float, penalty: float) -> None:
    lengths = (1, 20, 45, 59, 60, 61, 200)
    g = group(*lengths, right=4, target=60.0)
    paid = [naive(place < 4, tokens, 60.0, weight, penalty) for place, tokens in enumerate(lengths)]
    np.testing.assert_allclose(load("effort")(g, weight=weight, penalty=penalty), paid)


def test_a_level_that_asks_for_nothing_is_paid_by_the_verdict_alone() -> None:
    g = group(1, 50, 10_000, 20, right=3, target=np.nan)
    for settings in ({}, {"weight": 9.0, "penalty": 7.0}):
        assert load("effort")(g, **settings).tolist() == [1, 1, 1, 0]


def test_a_steep_slope_is_flat_below_its_bound() -> None:
    # weight 4: 4 * (1 - L / 60) >= 1 up to 45 tokens, so nothing is won by being shorter.
    g = group(1, 30, 45, 46, right=4, target=60.0)
    reward_G = load("effort")(g, weight=4.0)
    assert reward_G[:3].tolist() == [2, 2, 2]
    np.testing.assert_allclose(reward_G[3], 1 + 4 * 14 / 60)


def test_a_wrong_rollout_gains_nothing_by_being_short() -> None:
    reward_G = load("effort")(group(1, 30, 60, 90, right=0, target=60.0))
    assert reward_G.tolist() == [0, 0, 0, -0.5]
