"""One group alone: golden numbers, laws, and a second implementation in plain loops."""

import math
from functools import wraps

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tersely.algo import advantages
from tersely.algo.advantages import MaskScope
from tersely.algo.advantages.difficulty_reweighted import difficulty_weight
from tersely.algo.ragged import Ragged


def alone(name: str):
    """The advantage of one group that is the whole step."""
    function = advantages.load(name)

    @wraps(function)
    def run(rewards_G, keep_G, **settings):
        return function(rewards_G, keep_G, Ragged(np.array([len(rewards_G)])), **settings)

    return run


GROUP_FUNCTIONS = [
    group_centred := alone("group_centred"),
    group_normalised := alone("group_normalised"),
    group_normalised_sample := alone("group_normalised_sample"),
    leave_one_out := alone("leave_one_out"),
    difficulty_reweighted := alone("difficulty_reweighted"),
]
decoupled = alone("decoupled")


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


def naive(name: str, rewards: list[float], keep: list[bool], scope: MaskScope) -> list[float]:
    """Rollout by rollout, in plain Python, without a clever line."""
    if scope is MaskScope.EVERYWHERE:
        seen = [r for r, kept in zip(rewards, keep, strict=True) if kept]
    else:
        seen = [r for r in rewards if math.isfinite(r)]
    out = []
    for i, reward in enumerate(rewards):
        if not keep[i] or len(seen) < 2 or max(seen) == min(seen):
            out.append(0.0)
            continue
        mean = sum(seen) / len(seen)
        squares = sum((r - mean) ** 2 for r in seen)
        normal = (reward - mean) / math.sqrt(squares / len(seen))
        accuracy = sum(r > 0 for r in seen) / len(seen)
        share = accuracy if normal > 0 else 1 - accuracy
        out.append(
            {
                "group_centred": reward - mean,
                "group_normalised": normal,
                "group_normalised_sample": (reward - mean) / math.sqrt(squares / (len(seen) - 1)),
                "leave_one_out": reward - (sum(seen) - reward) / (len(seen) - 1),
                "difficulty_reweighted": normal * (0.4 + 1.1 / (1 + math.exp(10 * (share - 0.75)))),
            }[name]
        )
    return out


@pytest.mark.parametrize("scope", MaskScope)
@pytest.mark.parametrize("function", GROUP_FUNCTIONS, ids=lambda f: f.__name__)
def test_agrees_with_the_naive_implementation_on_random_groups(function, scope) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 5, 8, 24) * 5:
        rewards_G = rng.integers(-2, 3, size) / 2 - rng.choice([0, 1e-3], size) * rng.random(size)
        keep_G = rng.random(size) < 0.8
        rewards_G[~keep_G & (rng.random(size) < 0.3)] = np.nan
        np.testing.assert_allclose(
            function(rewards_G, keep_G, mask_scope=scope),
            naive(function.__name__, rewards_G.tolist(), keep_G.tolist(), scope),
            rtol=1e-9,
            atol=1e-12,
        )


# {1, 0, 0, 0}: gaps 3/4 and -1/4. Sample std: sqrt(12/16 / 3) = 1/2, so 3/2 and -1/2. The others'
# mean is 0 for the success, 1/3 for a failure. {1, 1, 1, 0} is the mirror image.
@pytest.mark.parametrize(
    ("function", "rare", "common"),
    [
        (group_centred, [0.75, -0.25, -0.25, -0.25], [0.25, 0.25, 0.25, -0.75]),
        (group_normalised_sample, [1.5, -0.5, -0.5, -0.5], [0.5, 0.5, 0.5, -1.5]),
        (leave_one_out, [1, -1 / 3, -1 / 3, -1 / 3], [1 / 3, 1 / 3, 1 / 3, -1]),
    ],
)
def test_one_success_and_three_by_hand(function, rare: list[float], common: list[float]) -> None:
    four_G = keep(1, 1, 1, 1)
    np.testing.assert_allclose(function(np.array([1.0, 0, 0, 0]), four_G), rare, rtol=1e-14)
    np.testing.assert_allclose(function(np.array([1.0, 1, 1, 0]), four_G), common, rtol=1e-14)


@pytest.mark.parametrize("scope", MaskScope)
@pytest.mark.parametrize("function", GROUP_FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("rewards", [[], [3.0], [0.0] * 4, [0.3, 0.1 * 3], [1.0, np.nan]])
def test_a_group_of_one_or_of_equal_rewards_is_zero(function, scope, rewards: list[float]) -> None:
    rewards_G = np.array(rewards, dtype=np.float64)
    assert not function(rewards_G, np.isfinite(rewards_G), mask_scope=scope).any()


def test_mask_scope_says_whether_the_masked_count_in_the_mean() -> None:
    # {1, 1, 0 masked, 0}. Everywhere: mean 2/3, std sqrt(2)/3, so 1/sqrt(2) and -sqrt(2).
    # Loss only: mean 1/2, std 1/2, so +1 and -1; the masked one gets 0 in both.
    rewards_G, keep_G = np.array([1.0, 1, 0, 0]), keep(1, 1, 0, 1)
    left_out_G = group_normalised(rewards_G, keep_G)
    np.testing.assert_allclose(left_out_G, [0.5**0.5, 0.5**0.5, 0, -(2**0.5)], rtol=1e-14)
    counted_G = group_normalised(rewards_G, keep_G, mask_scope=MaskScope.LOSS_ONLY)
    assert counted_G.tolist() == [1, 1, 0, -1]


def test_with_every_wrong_rollout_masked_only_loss_scope_leaves_a_signal() -> None:
    rewards_G, keep_G = np.array([1.0, 1, 0, 0]), keep(1, 1, 0, 0)
    assert not group_normalised(rewards_G, keep_G).any()
    adv_G = group_normalised(rewards_G, keep_G, mask_scope=MaskScope.LOSS_ONLY)
    assert adv_G.tolist() == [1, 1, 0, 0]


def test_an_ungraded_rollout_counts_in_neither_scope() -> None:
    rewards_G, keep_G = np.array([1.0, 0, np.nan]), keep(1, 1, 0)
    for scope in MaskScope:
        assert group_normalised(rewards_G, keep_G, mask_scope=scope).tolist() == [1, -1, 0]


def test_difficulty_weight_by_hand() -> None:
    # At 3/4 the logistic is 1/2: 0.4 + 0.55. Far to either side: 1.5 and 0.4.
    assert difficulty_weight(0.75) == pytest.approx(0.95)
    assert difficulty_weight(0.0) == pytest.approx(0.4 + 1.1 / (1 + math.exp(-7.5)))
    assert difficulty_weight(np.array([-9.0, 9.0])).tolist() == pytest.approx([1.5, 0.4])


def test_difficulty_weighs_successes_by_failures_and_failures_by_successes() -> None:
    # {1, 0, 0, 0}: sqrt(3) * w(1/4) and -1/sqrt(3) * w(3/4); positive_only leaves -1/sqrt(3).
    rewards_G, keep_G = np.array([1.0, 0, 0, 0]), keep(1, 1, 1, 1)
    rare = 3**0.5 * (0.4 + 1.1 / (1 + math.exp(-5)))
    np.testing.assert_allclose(
        difficulty_reweighted(rewards_G, keep_G), [rare] + [-(3**-0.5) * 0.95] * 3
    )
    np.testing.assert_allclose(
        difficulty_reweighted(rewards_G, keep_G, positive_only=True), [rare] + [-(3**-0.5)] * 3
    )


def test_difficulty_may_be_told_what_is_right_where_the_reward_does_not_say() -> None:
    # All four right, one of them in time: accuracy is 1, not 1/4.
    adv_G = difficulty_reweighted(
        np.array([1.0, 0, 0, 0]), keep(1, 1, 1, 1), right_N=keep(1, 1, 1, 1)
    )
    assert adv_G[0] == pytest.approx(3**0.5 * (0.4 + 1.1 / (1 + math.exp(2.5))))


def test_decoupled_terms_have_equal_say_whatever_their_scale() -> None:
    # Right {1, 1, 0, 0} -> +1, +1, -1, -1. Length {0, -1e-3, 0, -1e-3} -> +1, -1, +1, -1.
    right_G, four_G = keep(1, 1, 0, 0), keep(1, 1, 1, 1)
    rewards_G = right_G + np.array([0, -1e-3, 0, -1e-3])
    np.testing.assert_allclose(
        decoupled(rewards_G, four_G, right_N=right_G), [2, 0, 0, -2], atol=1e-12
    )
    np.testing.assert_allclose(
        decoupled(rewards_G, four_G, right_N=right_G, length_weight=0.5),
        [1.5, 0.5, -0.5, -1.5],
        rtol=1e-12,
    )


def test_a_decoupled_term_without_differences_adds_nothing() -> None:
    wrong_G, length_G = keep(0, 0, 0), np.array([0.0, -1, -2])
    np.testing.assert_array_equal(
        decoupled(length_G, keep(1, 1, 1), right_N=wrong_G),
        group_normalised(length_G, keep(1, 1, 1)),
    )


@pytest.mark.parametrize("function", GROUP_FUNCTIONS, ids=lambda f: f.__name__)
@given(rewards_G=rewards, seed=st.integers(0, 99))
def test_the_order_of_the_rollouts_changes_nothing(function, rewards_G, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order, keep_G = rng.permutation(len(rewards_G)), rng.random(len(rewards_G)) < 0.7
    np.testing.assert_allclose(
        function(rewards_G[order], keep_G[order]), function(rewards_G, keep_G)[order], atol=1e-12
    )


@pytest.mark.parametrize("function", [group_centred, leave_one_out], ids=lambda f: f.__name__)
@given(rewards_G=rewards, shift=st.integers(-5, 5))
def test_without_a_std_the_advantage_scales_with_the_reward(function, rewards_G, shift) -> None:
    keep_G = np.ones(len(rewards_G), dtype=np.bool_)
    np.testing.assert_allclose(
        function(rewards_G * 4 + shift, keep_G), 4 * function(rewards_G, keep_G), atol=1e-10
    )


@given(rewards)
def test_leave_one_out_and_both_stds_are_the_centred_reward_rescaled(rewards_G) -> None:
    keep_G, n = np.ones(len(rewards_G), dtype=np.bool_), len(rewards_G)
    np.testing.assert_allclose(
        leave_one_out(rewards_G, keep_G), group_centred(rewards_G, keep_G) * n / (n - 1), atol=1e-12
    )
    np.testing.assert_allclose(
        group_normalised_sample(rewards_G, keep_G),
        group_normalised(rewards_G, keep_G) * math.sqrt((n - 1) / n),
        atol=1e-12,
    )


@pytest.mark.parametrize("function", GROUP_FUNCTIONS, ids=lambda f: f.__name__)
def test_inputs_are_left_as_they_are(function) -> None:
    rewards_G, keep_G = np.array([1.0, 0, 0.5]), keep(1, 1, 0)
    function(rewards_G, keep_G)
    assert (rewards_G.tolist(), keep_G.tolist()) == ([1, 0, 0.5], [True, True, False])
