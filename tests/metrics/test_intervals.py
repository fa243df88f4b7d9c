import numpy as np
import pytest

from tersely.metrics.intervals import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_ratio_difference,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_mean_skips_undefined_problems_and_counts_the_rest():
    # (1 + 0 + 0.5) / 3 = 0.5 over three problems.
    interval = bootstrap_mean(np.array([1.0, np.nan, 0.0, 0.5]), n_samples=12, rng=rng())
    assert interval.estimate == pytest.approx(0.5)
    assert (interval.n_problems, interval.n_samples) == (3, 12)
    assert 0.0 <= interval.low < 0.5 < interval.high <= 1.0


def test_percentiles_agree_with_a_loop_that_draws_problems():
    values_P = rng(1).exponential(size=25)
    draws = rng(2)
    means = [draws.choice(values_P, size=25, replace=True).mean() for _ in range(20_000)]
    expected = np.quantile(means, [0.025, 0.975])
    interval = bootstrap_mean(values_P, n_samples=25, rng=rng(3), resamples=20_000)
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=0.01)


def test_the_same_seed_gives_the_same_interval_and_another_does_not():
    values_P = rng(1).random(20)
    first, again, other = (bootstrap_mean(values_P, n_samples=20, rng=rng(s)) for s in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.parametrize("values", [[], [0.3], [np.nan, 0.3], [np.nan, np.nan]])
def test_fewer_than_two_problems_give_no_interval(values):
    interval = bootstrap_mean(np.array(values, dtype=float), n_samples=1, rng=rng())
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)
    np.testing.assert_equal(interval.estimate, 0.3 if 0.3 in values else np.nan)


def test_equal_problems_give_zero_width():
    interval = bootstrap_mean(np.full(9, 0.25), n_samples=9, rng=rng())
    assert interval[:3] == pytest.approx((0.25, 0.25, 0.25))


def test_a_paired_difference_removes_what_problems_share():
    # after = before + 0.1 for every problem: no spread at all in the difference.
    before_P = rng(1).random(30)
    interval = bootstrap_difference(before_P, before_P + 0.1, n_samples=60, rng=rng())
    assert interval[:3] == pytest.approx((0.1, 0.1, 0.1))


def test_a_difference_uses_only_problems_defined_in_both_runs():
    # pairs: (0, 1), (1, 1): mean difference 1/2; the NaN pairs fall out.
    interval = bootstrap_difference(
        np.array([0.0, 1.0, np.nan, 9.0]),
        np.array([1.0, 1.0, 5.0, np.nan]),
        n_samples=4,
        rng=rng(),
    )
    assert interval.estimate == 0.5
    assert interval.n_problems == 2


def test_ratio_is_of_totals_not_a_mean_of_ratios():
    # (10 + 90) / (1 + 3) = 25; the mean of ratios would be (10 + 30) / 2 = 20.
    interval = bootstrap_ratio(
        np.array([10.0, 90.0, 0.0]), np.array([1.0, 3.0, 0.0]), n_samples=4, rng=rng()
    )
    assert interval.estimate == 25.0
    assert interval.n_problems == 2
    assert (interval.low, interval.high) == (10.0, 30.0)


def test_ratio_with_an_empty_denominator_is_undefined():
    zeros_P = np.zeros(4)
    interval = bootstrap_ratio(zeros_P, zeros_P, n_samples=0, rng=rng())
    assert np.isnan(interval[:3]).all()
    assert interval.n_problems == 0


def test_a_ratio_difference_resamples_the_same_problems_in_both_runs():
    # after has 5 tokens less than before in every sample: -5 whatever is drawn.
    tokens_P, count_P = rng(1).integers(50, 90, size=12).astype(float), np.full(12, 2.0)
    interval = bootstrap_ratio_difference(
        (tokens_P, count_P), (tokens_P - 10.0, count_P), n_samples=48, rng=rng()
    )
    assert interval[:3] == pytest.approx((-5.0, -5.0, -5.0))
    empty = (np.zeros(12), np.zeros(12))
    nothing = bootstrap_ratio_difference((tokens_P, count_P), empty, n_samples=24, rng=rng())
    assert np.isnan(nothing[:3]).all()


def test_clusters_cover_where_independent_samples_would_not():
    # 40 problems, 8 samples each, that all but agree within a problem: the effective n is 40.
    # 200 worlds: 95% coverage has standard error .015, so .89 is four below; ignoring the
    # clusters narrows the interval by about 1/sqrt(8), which covers about half of the time.
    worlds, problems, samples, truth = 200, 40, 8, 0.5
    draws, covered, covered_naive = rng(7), 0, 0
    for _ in range(worlds):
        chance_P = draws.choice([0.02, 0.98], size=problems)
        hits_PS = (draws.random((problems, samples)) < chance_P[:, None]).astype(float)
        options = {"n_samples": hits_PS.size, "rng": draws, "resamples": 250}
        clustered = bootstrap_mean(hits_PS.mean(axis=1), **options)
        naive = bootstrap_mean(hits_PS.ravel(), **options)
        covered += clustered.low <= truth <= clustered.high
        covered_naive += naive.low <= truth <= naive.high
    assert 0.89 <= covered / worlds <= 0.99
    assert covered_naive / worlds < 0.7
