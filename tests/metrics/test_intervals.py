import numpy as np
import pytest
from scipy.stats import norm, t

from tersely.metrics.intervals import (
    Sums,
    averages,
    bootstrap_mean,
    clustered_errors,
    estimate,
    estimate_differences,
    resample_counts,
    sum_resamples,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def one(sums, *, share=False, n_samples=100, resamples=2000, seed=0, level=0.95):
    problems = sums.a_PM.shape[0]
    (interval,) = estimate(
        sums,
        shares_M=np.array([share]),
        n_samples_M=np.array([n_samples]),
        counts_RP=resample_counts(problems, rng=rng(seed), resamples=resamples),
        level=level,
    )
    return interval


def ratio(a, b):
    return Sums(np.array(a, dtype=float)[:, None], np.array(b, dtype=float)[:, None])


def difference(before, after, *, share=False, seed=0):
    (interval,) = estimate_differences(
        before,
        after,
        shares_M=np.array([share]),
        n_samples_M=np.array([10]),
        counts_RP=resample_counts(before.a_PM.shape[0], rng=rng(seed)),
    )
    return interval


def test_mean_skips_undefined_problems_and_counts_the_rest():
    # (1 + 0 + 0.5) / 3 = 0.5 over three problems.
    interval = bootstrap_mean(np.array([1.0, np.nan, 0.0, 0.5]), n_samples=12, rng=rng())
    assert interval.estimate == pytest.approx(0.5)
    assert (interval.n_problems, interval.n_samples) == (3, 12)
    assert 0.0 <= interval.low < 0.5 < interval.high <= 1.0


def test_expanded_percentiles_agree_with_a_loop_that_draws_problems():
    # 25 problems: the percentiles at Phi(-+ t(.975, 24) sqrt(25/24)) of the drawn means.
    values_P = rng(1).exponential(size=25)
    draws = rng(2)
    means = [draws.choice(values_P, size=25, replace=True).mean() for _ in range(20_000)]
    wide = t.ppf(0.975, 24) * np.sqrt(25 / 24)
    expected = np.quantile(means, [norm.cdf(-wide), norm.cdf(wide)])
    interval = bootstrap_mean(values_P, n_samples=25, rng=rng(3), resamples=20_000)
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=0.015)
    plain = np.quantile(means, [0.025, 0.975])
    assert interval.low < plain[0]
    assert interval.high > plain[1]


def test_the_same_seed_gives_the_same_interval_and_another_does_not():
    values_P = rng(1).random(20)
    first, again, other = (bootstrap_mean(values_P, n_samples=20, rng=rng(s)) for s in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.parametrize("values", [[], [0.3], [np.nan, 0.3], [np.nan, np.nan]])
@pytest.mark.parametrize("share", [False, True])
def test_fewer_than_two_problems_give_no_interval(values, share):
    interval = one(averages(np.array(values, dtype=float)[:, None]), share=share)
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)
    np.testing.assert_equal(interval.estimate, 0.3 if 0.3 in values else np.nan)


def test_resample_counts_draw_every_problem_alike_and_as_many_as_there_are():
    counts_RP = resample_counts(7, rng=rng(), resamples=20_000)
    np.testing.assert_array_equal(counts_RP.sum(axis=1), 7)
    # mean 1, variance 7 * 1/7 * 6/7; standard error of the mean .0065, of the variance .01
    np.testing.assert_allclose(counts_RP.mean(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(counts_RP.var(axis=0), 6 / 7, atol=0.06)


def test_golden_clustered_error():
    # r = (10+90)/(1+3) = 25; residuals 10-25, 90-75 = -15, 15; sqrt(2/1 * 450) / 4 = 7.5
    assert clustered_errors(ratio([10, 90], [1, 3])) == pytest.approx([7.5])
    # a mean: the usual standard error s / sqrt(n); 1, 2, 3: s = 1
    assert clustered_errors(averages(np.array([[1.0], [2.0], [3.0]]))) == pytest.approx([3**-0.5])


def test_the_analytic_error_agrees_with_the_spread_of_the_bootstrap():
    tokens_P, count_P = rng(1).gamma(4, 200, size=300), rng(2).integers(1, 9, size=300)
    sums = ratio(tokens_P * count_P, count_P)
    counts_RP = resample_counts(300, rng=rng(3), resamples=8000)
    draws_R = (counts_RP @ sums.a_PM / (counts_RP @ sums.b_PM))[:, 0]
    assert clustered_errors(sums)[0] == pytest.approx(draws_R.std(), rel=0.05)


def test_ratio_is_of_totals_not_a_mean_of_ratios():
    # (10 + 90) / (1 + 3) = 25; the mean of ratios would be (10 + 30) / 2 = 20.
    interval = one(ratio([10, 90, 0], [1, 3, 0]))
    assert interval.estimate == 25.0
    assert interval.n_problems == 2
    assert (interval.low, interval.high) == (10.0, 30.0)


def test_ratio_with_an_empty_denominator_is_undefined():
    interval = one(ratio([0] * 4, [0] * 4))
    assert np.isnan(interval[:3]).all()
    assert interval.n_problems == 0


def test_golden_wilson_interval_of_a_share_at_the_clusters_effective_size():
    # 4 problems 1 1 1 0: p = .75, error = .25, n = .1875 / .0625 = 3; t(.975, 3) = 3.18245,
    # z2 = 10.128; middle (.75 + 10.128/6) / (1 + 10.128/3) = .55716;
    # half sqrt(10.128 (.1875/3 + 10.128/36)) / 4.37599 = .42640
    interval = one(averages(np.array([[1.0], [1.0], [1.0], [0.0]])), share=True, n_samples=4)
    assert (interval.low, interval.high) == pytest.approx((0.13076, 0.98356), abs=2e-4)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_share_that_all_problems_agree_on_still_has_width(value):
    # n = 9 problems, t(.975, 8) = 2.306: z2 = 5.3177; the open end is z2 / (9 + z2) = .3714
    interval = one(averages(np.full((9, 1), value)), share=True)
    inner = 0.37141 if value == 0 else 1 - 0.37141
    assert sorted([interval.low, interval.high]) == pytest.approx(sorted([value, inner]), abs=1e-4)
    assert interval.estimate == value


def test_a_length_that_all_problems_agree_on_has_none():
    assert one(averages(np.full((9, 1), 7.0)))[:3] == pytest.approx((7.0, 7.0, 7.0))


def test_the_effective_size_never_exceeds_the_samples():
    # Each problem's mean is .5 within .001: the clusters' spread alone would say n = 250,000.
    values_P = 0.5 + 0.001 * np.array([-1.0, 1.0] * 10)
    interval = one(averages(values_P[:, None]), share=True, n_samples=160)
    z = t.ppf(0.975, 19)
    assert interval.high - interval.low > 1.9 * z * np.sqrt(0.25 / (160 + z**2))


def test_a_paired_difference_removes_what_problems_share():
    # after = before + 0.1 for every problem: no spread at all in the difference.
    before_P = rng(1).random(30)
    interval = bootstrap_mean(before_P + 0.1 - before_P, n_samples=60, rng=rng())
    assert interval[:3] == pytest.approx((0.1, 0.1, 0.1))
    paired = difference(averages(before_P[:, None]), averages(before_P[:, None] + 0.1))
    assert paired[:3] == pytest.approx((0.1, 0.1, 0.1))
    assert paired.standard_error == pytest.approx(0.0, abs=1e-12)


def test_a_difference_uses_only_problems_defined_in_both_runs():
    # pairs: (0, 1), (1, 1): mean difference 1/2; the NaN pairs fall out.
    before_P, after_P = np.array([0.0, 1.0, np.nan, 9.0]), np.array([1.0, 1.0, 5.0, np.nan])
    interval = bootstrap_mean(after_P - before_P, n_samples=4, rng=rng())
    assert interval.estimate == 0.5
    assert interval.n_problems == 2


def test_a_ratio_difference_resamples_the_same_problems_in_both_runs():
    # after has 5 tokens less than before in every sample: -5 whatever is drawn.
    tokens_P, count_P = rng(1).integers(50, 90, size=12).astype(float), np.full(12, 2.0)
    interval = difference(ratio(tokens_P, count_P), ratio(tokens_P - 10.0, count_P))
    assert interval[:3] == pytest.approx((-5.0, -5.0, -5.0))
    nothing = difference(ratio(tokens_P, count_P), ratio(np.zeros(12), np.zeros(12)))
    assert np.isnan(nothing[:3]).all()


def test_shares_that_no_problem_changed_leave_room_for_some_that_would():
    # 9 problems, none changed: +- z2 / (9 + z2) = .3714, as for a share of 0 in 9
    same = averages(np.array([[1.0], [0.0], [1.0]] * 3))
    interval = difference(same, same, share=True)
    assert interval[:3] == pytest.approx((0.0, -0.37141, 0.37141), abs=1e-4)
    assert difference(same, same)[:3] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("problems", [1, 30, 700, 40_000])
def test_resample_counts_are_those_of_each_resample_by_itself(problems):
    # So many problems that rows are made one by one, several at a time, and all at once.
    drawn_RP = rng().integers(problems, size=(50, problems), dtype=np.int32)
    alone_RP = [np.bincount(drawn_P, minlength=problems) for drawn_P in drawn_RP]
    np.testing.assert_array_equal(
        resample_counts(problems, rng=rng(), resamples=50), np.array(alone_RP)
    )


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.SFC64])
def test_counts_drawn_again_are_the_same_and_leave_their_generator_where_it_was(kind):
    first, again = (np.random.Generator(kind(3)) for _ in range(2))
    one, other = (
        [resample_counts(11, rng=generator, resamples=9) for _ in range(3)]
        for generator in (first, again)
    )
    np.testing.assert_array_equal(one, other)
    assert (one[0] != one[1]).any()
    drawn = np.random.Generator(kind(3)).integers(11, size=(28, 11), dtype=np.int32)[27]
    np.testing.assert_array_equal(first.integers(11, size=11, dtype=np.int32), drawn)
    assert first.bit_generator.state["bit_generator"] == kind.__name__


@pytest.mark.parametrize("problems", [1, 700, 300_000])
def test_sums_of_resamples_are_one_product_whatever_is_multiplied_at_once(problems):
    counts_RP = rng().integers(4, size=(5, problems), dtype=np.uint8)
    values_PM = rng().random((problems, 3))
    np.testing.assert_allclose(
        sum_resamples(counts_RP, values_PM), counts_RP.astype(np.float64) @ values_PM, rtol=1e-13
    )
