"""Golden numbers and laws of the group-normalised advantage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tersely.algo.advantages import group_normalised


def keep(*kept: int) -> np.ndarray:
    return np.array(kept, dtype=np.bool_)


def test_a_rare_success_is_paid_more_than_a_common_one() -> None:
    # {1,0,0,0}: mean 1/4, var (9 + 3) / 64 = 3/16, std sqrt(3)/4; (3/4) / std = sqrt(3),
    # (-1/4) / std = -1/sqrt(3).  {1,1,1,0}: the mirror image.
    rare_G = group_normalised(np.array([1.0, 0, 0, 0]), keep(1, 1, 1, 1))
    common_G = group_normalised(np.array([1.0, 1, 1, 0]), keep(1, 1, 1, 1))
    np.testing.assert_allclose(rare_G, [3**0.5] + [-(3**-0.5)] * 3, rtol=1e-14)
    np.testing.assert_allclose(common_G, [3**-0.5] * 3 + [-(3**0.5)], rtol=1e-14)


def test_masked_rollouts_get_zero_and_do_not_move_the_others() -> None:
    # Kept {1, 0}: mean 1/2, std 1/2, so +1 and -1. A masked reward may even be NaN.
    adv_G = group_normalised(np.array([1.0, 7.0, 0.0, np.nan]), keep(1, 0, 1, 0))
    assert adv_G.tolist() == [1, 0, -1, 0]


@pytest.mark.parametrize(
    ("rewards", "kept"),
    [
        ([1.0], [1]),
        ([0.0, 0.0], [1, 1]),
        ([1.0, 1.0, 1.0], [1, 1, 1]),
        ([1.0, 0.0], [1, 0]),
        ([1.0, 0.0], [0, 0]),
        ([0.1 * 3, 0.3, 0.1 + 0.2], [1, 1, 1]),
        ([], []),
    ],
)
def test_no_difference_is_exactly_zero_advantage(rewards: list[float], kept: list[int]) -> None:
    assert not group_normalised(np.array(rewards, dtype=np.float64), keep(*kept)).any()


def test_a_difference_of_one_token_in_a_long_penalty_is_a_difference() -> None:
    # The std of two values is half their gap, whatever the gap: +1 and -1.
    adv_G = group_normalised(np.array([1.0, 1.0 - 1e-6]), keep(1, 1))
    np.testing.assert_allclose(adv_G, [1, -1], rtol=1e-9)


def test_a_kept_reward_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        group_normalised(np.array([1.0, np.nan]), keep(1, 1))


rewards = arrays(np.float64, st.integers(2, 12), elements=st.integers(-8, 8).map(lambda n: n / 4))


@given(rewards, st.integers(-5, 5), st.sampled_from([0.5, 1.0, 4.0]))
def test_shift_and_scale_of_the_reward_change_nothing(
    rewards_G: np.ndarray, shift: int, scale: float
) -> None:
    kept_G = np.ones(len(rewards_G), dtype=np.bool_)
    adv_G = group_normalised(rewards_G, kept_G)
    np.testing.assert_allclose(
        group_normalised(rewards_G * scale + shift, kept_G), adv_G, atol=1e-10
    )


@given(rewards)
def test_mean_is_zero_and_population_variance_is_zero_or_one(rewards_G: np.ndarray) -> None:
    adv_G = group_normalised(rewards_G, np.ones(len(rewards_G), dtype=np.bool_))
    assert abs(adv_G.mean()) < 1e-12
    assert abs(adv_G.var() - (rewards_G.min() < rewards_G.max())) < 1e-12
