from itertools import product

import numpy as np
import pytest
from scipy.stats import t

from tersely.metrics.intervals import Sums, averages, evaluate
from tersely.metrics.significance import minimum_detectable, p_values, resampling_error, swap


def swap_p_values(before, after, **options):
    swaps = swap(before, after, **options)
    return p_values(evaluate(after) - evaluate(before), swaps.after_RM - swaps.before_RM)


def p_value(before, after, **options):
    sums = (averages(np.array(v, dtype=float)[:, None]) for v in (before, after))
    return float(swap_p_values(*sums, rng=np.random.default_rng(0), **options)[0])


def test_p_values_agree_with_all_sign_flips():
    differences = np.array([0.3, 0.1, 0.25, -0.05, 0.2, 0.15, 0.4, -0.1])
    flips = np.array(list(product([-1, 1], repeat=8)))
    exact = np.mean(np.abs(flips @ differences) >= np.abs(differences.sum()) - 1e-12)
    got = p_value(np.zeros(8), differences, permutations=40_000)
    assert got == pytest.approx(exact, abs=0.005)


def test_the_smallest_p_value_is_one_over_the_permutations_plus_one():
    assert p_value(np.zeros(60), np.ones(60), permutations=199) == pytest.approx(1 / 200)


def test_equal_runs_have_a_p_value_of_one():
    values = np.random.default_rng(0).random(20)
    assert p_value(values, values) == 1.0


def test_p_values_of_runs_that_do_not_differ_are_spread_evenly():
    # Under the hypothesis about 10% fall below .1; 400 worlds: standard error 1.5 points.
    rng = np.random.default_rng(1)
    values = [p_value(*rng.random((2, 25)), permutations=199) for _ in range(400)]
    assert 0.04 <= np.mean(np.array(values) <= 0.1) <= 0.16


def test_ratios_of_totals_are_swapped_whole_problem_by_problem():
    # two problems: 10/1, 20/1 before; 2/1, 4/1 after. Swapping both or none gives |T| = 12,
    # one: |(2+20)/2 - (10+4)/2| = 4: half of the swaps reach 12.
    before = Sums(np.array([[10.0], [20.0]]), np.ones((2, 1)))
    after = Sums(np.array([[2.0], [4.0]]), np.ones((2, 1)))
    p = swap_p_values(before, after, rng=np.random.default_rng(0), permutations=20_000)
    assert p == pytest.approx([0.5], abs=0.02)


def test_an_undefined_difference_has_no_p_value():
    assert np.isnan(p_value([np.nan, np.nan], [1.0, 1.0]))


def test_golden_minimum_detectable_difference():
    expected = (t.ppf(0.975, 29) + t.ppf(0.8, 29)) * 0.02
    assert minimum_detectable(0.02, n_problems=30) == pytest.approx(expected)
    assert expected == pytest.approx(0.058, abs=1e-3)
    assert np.isnan(minimum_detectable(0.02, n_problems=1))
    assert np.isnan(minimum_detectable(np.nan, n_problems=9))


def test_a_difference_of_the_detectable_size_is_found_eight_times_in_ten():
    # 400 worlds of 30 paired differences, spread .1: standard error .1/sqrt(30)
    rng, found = np.random.default_rng(0), 0
    size = minimum_detectable(0.1 / np.sqrt(30), n_problems=30)
    for _ in range(400):
        d = rng.normal(size, 0.1, size=30)
        reach = t.ppf(0.975, 29) * d.std(ddof=1) / np.sqrt(30)
        found += abs(d.mean()) > reach
    assert 0.74 <= found / 400 <= 0.87


def test_resampling_error_is_the_spread_between_two_runs_of_one_model():
    rng = np.random.default_rng(0)
    chance_P = rng.random(50)
    runs = (rng.random((4000, 2, 50, 8)) < chance_P[:, None]).mean(axis=(2, 3))
    spread = (runs[:, 0] - runs[:, 1]).std()
    hits_PS = (rng.random((50, 8)) < chance_P[:, None]).astype(float)
    assert resampling_error(hits_PS) == pytest.approx(spread, rel=0.15)
    assert np.isnan(resampling_error(np.ones((5, 1))))
