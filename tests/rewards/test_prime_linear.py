"""prime-rl's linear penalty, worked out by hand, and against its advantage."""

import numpy as np

from tersely.core.types import GroupView
from tersely.rewards import load

# 3 of 6 right, longest 200: 0.25 * 0.5 * L / 200 = 0.025, 0.05, 0.075, 0.0375, 0.1, 0.125.
GOLDEN: tuple[dict[str, float], list[float]] = ({}, [0.975, 0.95, 0.925, -0.0375, -0.1, -0.125])
# Alone it is the longest of a group that is solved; all wrong: no price.
DEGENERATE: tuple[float, list[float]] = (0.75, [0, 0])


def test_with_the_groups_mean_subtracted_input_and_turns_make_no_difference() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        right_G, tokens_G = rng.random(8) < 0.6, rng.integers(1, 900, 8)
        everyone_G = np.ones(8, dtype=np.bool_)
        g = GroupView(
            correct_G=right_G, tokens_G=tokens_G, finished_G=everyone_G, formatted_G=everyone_G
        )
        # The three terms, of one turn and a prompt of 50 tokens.
        rewards = [1.0 if right else 0.0 for right in right_G]
        pass_rate = sum(rewards) / 8
        shaped = [
            reward
            - pass_rate * (0.25 * tokens / max(tokens_G) + 0.1 * 50 / max([50] * 8) + 0.1 * 1 / 1)
            for reward, tokens in zip(rewards, tokens_G, strict=True)
        ]
        centred = [each - sum(shaped) / 8 for each in shaped]
        reward_G = load("prime_linear")(g)
        np.testing.assert_allclose(reward_G - reward_G.mean(), centred, atol=1e-12)


def test_a_harder_prompt_is_charged_less() -> None:
    g = GroupView(
        correct_G=np.array([True, False, False, False]),
        tokens_G=np.array([100, 100, 50, 50]),
        finished_G=np.ones(4, dtype=np.bool_),
        formatted_G=np.ones(4, dtype=np.bool_),
    )
    easy = g._replace(correct_G=np.ones(4, dtype=np.bool_))
    np.testing.assert_allclose(load("prime_linear")(g)[0], 1 - 0.25 / 4)
    np.testing.assert_allclose(load("prime_linear")(easy)[0], 0.75)
