"""Every pair of several evaluations: golden numbers, laws, false alarms and power."""

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from tersely.metrics.allpairs import compare_all_pairs, smallest_seen

RNG = np.random.default_rng


def compared(values_LP, seed=0, **rest):
    values_LP = np.asarray(values_LP, dtype=float)
    n_samples_L = [values_LP.shape[1]] * len(values_LP)
    given = {"shares": False, "resamples": 200} | rest
    return compare_all_pairs(values_LP, n_samples_L=n_samples_L, rng=RNG(seed), **given)


def test_a_pair_is_the_second_less_the_first_over_problems_of_both() -> None:
    # Problem 2 is not in the second: (110 - 100 + 330 - 300) / 2 = 20.
    pair = compared([[100, 200, 300], [110, np.nan, 330]])[0]
    assert pair.difference.estimate == pytest.approx(20)
    assert pair.difference.n_problems == 2


def test_p_of_four_problems_that_all_differ_one_way_is_that_of_16_swaps() -> None:
    # Of the 2^4 ways to swap, the two that swap all or none are as extreme: p = 1/8.
    pair = compared([[1, 2, 3, 4], [2, 4, 6, 9]])[0]
    assert pair.p == pytest.approx(1 / 8, abs=0.02)


def test_the_smallest_difference_seen_is_the_sum_of_two_quantiles_of_student() -> None:
    # 3 tests at .05: 1 - .05/6 = .99167; 20 problems, 19 degrees of freedom.
    by_hand = 2.0 * (t.ppf(0.991667, 19) + t.ppf(0.8, 19))
    assert smallest_seen(2.0, 20, tests=3) == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize(("problems", "tests"), [(1, 1), (5, 1), (8, 10)])
def test_too_few_problems_can_see_nothing(problems, tests) -> None:
    # All swaps one way have p = 2 / 2^P, times the tests: 1/16 of 5 problems, 10/128 of 8.
    assert np.isnan(smallest_seen(2.0, problems, tests=tests))


def test_six_problems_can_see_something() -> None:
    assert smallest_seen(2.0, 6, tests=1) > 0


def test_one_problem_has_no_p_and_no_interval() -> None:
    pair = compared([[1.0], [3.0]])[0]
    assert np.isnan([pair.p, pair.p_holm, pair.difference.low]).all()


def test_turning_the_order_of_levels_turns_the_sign_alone() -> None:
    values_LP = np.add(RNG(1).normal(size=(2, 30)), [[0], [0.4]])
    one, other = compared(values_LP)[0], compared(values_LP[::-1])[0]
    assert one.difference.estimate == pytest.approx(-other.difference.estimate)
    assert one.p == pytest.approx(other.p, abs=0.03)
    assert one.detectable == pytest.approx(other.detectable)


def test_p_agrees_with_students_paired_test_on_normal_differences() -> None:
    values_LP = np.add(RNG(2).normal(size=(2, 40)), [[0], [0.35]])
    pair = compared(values_LP)[0]
    assert pair.p == pytest.approx(ttest_rel(*values_LP).pvalue, abs=0.02)


def test_three_levels_make_three_pairs_and_holm_multiplies_the_smallest_p_by_three() -> None:
    values_LP = np.add(RNG(3).normal(size=(3, 12)), [[0], [0], [0.6]])
    pairs = compared(values_LP)
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    smallest = min(pairs, key=lambda pair: pair.p)
    assert smallest.p_holm == pytest.approx(3 * smallest.p)


def skewed(rng, *, levels, problems=20, samples=4, gain=0.0):
    """Means of lengths with a long tail, of problems of very different lengths."""
    problem_P = rng.lognormal(6, 0.8, size=problems)
    lengths_LPS = problem_P[:, None] * rng.lognormal(0, 0.5, size=(levels, problems, samples))
    lengths_LPS[-1] += gain
    return lengths_LPS.mean(axis=2)


def test_false_alarms_over_all_pairs_stay_at_the_level() -> None:
    # 200 tries of 3 levels that do nothing: at .05, 17 alarms or more have a chance below 3%.
    alarms = sum(
        any(pair.p_holm < 0.05 for pair in compared(skewed(RNG(seed), levels=3), seed, resamples=2))
        for seed in range(200)
    )
    assert alarms <= 16


def test_power_at_the_difference_stated_is_eight_in_ten() -> None:
    """The difference is that of the true standard error: of a single try it is an estimate."""
    errors = [
        compared(skewed(RNG(seed), levels=2), seed, resamples=2)[0].difference.standard_error
        for seed in range(200)
    ]
    gain = smallest_seen(float(np.sqrt(np.mean(np.square(errors)))), 20, tests=1)
    seen = [
        compared(skewed(RNG(1000 + seed), levels=2, gain=gain), seed, resamples=2)[0].p < 0.05
        for seed in range(200)
    ]
    # A standard error of 2.8%; tails make it a little better than stated.
    assert 0.72 <= np.mean(seen) <= 0.92
