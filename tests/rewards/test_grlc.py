"""Group relative length control, worked out by hand, and against a loop over parts."""

import numpy as np
import pytest

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.rewards import check, load

# Thinking 0 50 90 0 160 150: s = 1, 11/16, 7/16, 1, 0, 1/16, mean 17/32 = 0.53125.
# Answer 40 30 30 60 0 50: s = 1/3, 1/2, 1/2, 0, 1, 1/6, mean 5/12. A tenth of both sums:
# a 0.046875 - 0.008333, b 0.015625 + 0.008333, c -0.009375 + 0.008333,
# d 0.046875 - 0.041667, e -0.053125 + 0.058333, f -0.046875 - 0.025.
GOLDEN: tuple[dict[str, float], list[float]] = (
    {},
    [1.038542, 1.023958, 0.998958, 0.005208, 0.005208, -0.071875],
)
# Thinking 30 and 50, answers 10 and 30: half of a tenth more or less, twice.
DEGENERATE: tuple[float, list[float]] = (1, [0.1, -0.1])


def group(thinking: list[int], answer: list[int], right: list[bool]) -> GroupView:
    everyone_G = np.ones(len(right), dtype=np.bool_)
    return GroupView(
        correct_G=np.array(right),
        tokens_G=np.array(thinking) + np.array(answer),
        finished_G=everyone_G,
        formatted_G=everyone_G,
        thinking_G=np.array(thinking),
    )


def naive(lengths: list[int]) -> list[float]:
    """Shorter weighs more; the weights of a group sum to zero."""
    low, high = min(lengths), max(lengths)
    if low == high:
        return [0.0] * len(lengths)
    weights = [(high - each) / (high - low) for each in lengths]
    return [each - sum(weights) / len(weights) for each in weights]


def test_it_is_the_naive_loop_over_both_parts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        samples = int(rng.integers(1, 9))
        thinking = [int(n) for n in rng.integers(0, 40, samples)]
        answer = [int(n) for n in rng.integers(1, 9, samples)]
        right = [bool(each) for each in rng.random(samples) < 0.5]
        paid = [
            verdict + 0.35 * thought + 0.08 * said
            for verdict, thought, said in zip(right, naive(thinking), naive(answer), strict=True)
        ]
        g = group(thinking, answer, right)
        reward_G = load("grlc")(g, thinking_coef=0.35, answer_coef=0.08)
        np.testing.assert_allclose(reward_G, paid, atol=1e-12)


def test_both_terms_sum_to_zero_over_the_group_so_its_mean_is_the_share_solved() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        thinking, answer = rng.integers(0, 900, 8), rng.integers(1, 90, 8)
        right = rng.random(8) < 0.5
        g = group([*thinking], [*answer], [*right])
        for coefs in ((0.5, 0.5), (1.0, 0.0), (0.0, 0.3)):
            reward_G = load("grlc")(g, thinking_coef=coefs[0], answer_coef=coefs[1])
            np.testing.assert_allclose(reward_G.mean(), right.mean(), atol=1e-12)


def test_each_part_is_priced_by_its_own_coefficient_alone() -> None:
    # Same totals, opposite halves.
    g = group([10, 30], [30, 10], [True, True])
    assert load("grlc")(g, thinking_coef=0.2, answer_coef=0.0).tolist() == [1.1, 0.9]
    assert load("grlc")(g, thinking_coef=0.0, answer_coef=0.2).tolist() == [0.9, 1.1]
    assert load("grlc")(g, thinking_coef=0.2, answer_coef=0.2).tolist() == [1.0, 1.0]


def test_a_part_that_all_have_alike_has_no_price() -> None:
    g = group([7, 7, 7], [5, 9, 13], [True, True, False])
    np.testing.assert_allclose(load("grlc")(g, thinking_coef=0.9), [1.05, 1.0, -0.05])


def test_coefficients_that_could_pay_a_wrong_one_more_are_refused() -> None:
    check("grlc", {"thinking_coef": 0.5, "answer_coef": 0.5})
    with pytest.raises(ConfigError, match=r"answer_coef = 0.6 is above 0.5; set"):
        check("grlc", {"thinking_coef": 0.5, "answer_coef": 0.6})
