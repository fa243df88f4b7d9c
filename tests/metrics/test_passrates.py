"""Pass rates by hand, and which prompts each rule keeps."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from tersely.core.errors import ConfigError
from tersely.metrics.passrates import (
    common_size,
    draw_some,
    easy_hard_full,
    in_band,
    nearest_density,
    pass_rate,
    quantile_ends,
    wilson,
)


def rate(problem, right, n=8):
    return pass_rate(
        problem,
        "s",
        right_S=np.arange(n) < right,
        tokens_S=np.full(n, 10),
        finished_S=np.ones(n, dtype=bool),
        graded_S=np.ones(n, dtype=bool),
    )


def test_golden_pass_rate_counts_graded_samples_only():
    # graded: right 10, right 30, cut 50, wrong 20; ungraded: 99
    found = pass_rate(
        "p",
        "s",
        right_S=np.array([True, True, False, False, False]),
        tokens_S=np.array([10, 30, 50, 20, 99]),
        finished_S=np.array([True, True, False, True, True]),
        graded_S=np.array([True, True, True, True, False]),
    )
    assert (found.n, found.right, found.rate, found.ungraded) == (4, 2, 0.5, 1)
    assert found.tokens_correct_median == 20
    assert found.tokens_mean == 27.5
    assert found.truncated_share == 0.25


def test_what_is_not_known_is_nan_and_not_zero():
    none = pass_rate(
        "p",
        "s",
        right_S=np.array([False]),
        tokens_S=np.array([9]),
        finished_S=np.array([True]),
        graded_S=np.array([False]),
    )
    assert none.n == 0
    assert all(math.isnan(v) for v in (none.rate, none.low, none.high, none.truncated_share))
    assert math.isnan(rate("p", 0).tokens_correct_median)
    assert rate("p", 0).rate == 0


@pytest.mark.parametrize(("right", "n"), [(0, 8), (3, 8), (8, 8), (1, 1)])
def test_the_interval_is_wilsons(right, n):
    # solve |p - right/n| = z sqrt(p (1 - p) / n) for p, the definition of the interval
    z2 = norm.ppf(0.975) ** 2
    share = right / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    assert wilson(right, n) == pytest.approx((max(0, middle - half), min(1, middle + half)))


def test_bands_hold_their_ends_and_no_unknown_rate():
    rate_P = np.array([0.0, 0.5, 0.625, 1.0, np.nan])
    assert in_band(rate_P, low=0.5, high=1.0).tolist() == [False, True, True, True, False]
    easy = in_band(rate_P, low=0.5, high=1.0, open_low=True)
    assert easy.tolist() == [False, False, True, True, False]


def test_easy_and_hard_share_the_solved_prompts():
    parts = easy_hard_full(np.array([0.0, 0.125, 0.5, 0.625, 1.0, np.nan]))
    assert parts["easy"].tolist() == [False, False, False, True, True, False]
    assert parts["hard"].tolist() == [False, True, True, False, False, False]
    assert parts["full"].tolist() == [True] * 5 + [False]


def test_quantiles_are_of_the_known_rates():
    rate_P = np.array([0.0, 0.25, 0.5, 0.75, 1.0, np.nan])
    assert quantile_ends(rate_P, low=0.25, high=0.5) == (0.25, 0.5)
    assert all(math.isnan(end) for end in quantile_ends(np.array([np.nan]), low=0.0, high=1.0))


def test_golden_positive_density_counts_right_samples_within_the_target():
    found = pass_rate(
        "p",
        "s",
        # right 10, right 11, wrong 5, and a right one of 5 that is not graded
        right_S=np.array([True, True, False, True]),
        tokens_S=np.array([10, 11, 5, 5]),
        finished_S=np.ones(4, dtype=bool),
        graded_S=np.array([True, True, True, False]),
        target_tokens=10,
    )
    assert found.density == pytest.approx(1 / 3)
    assert math.isnan(rate("p", 4).density)


def kept(density, wanted):
    return np.flatnonzero(nearest_density(np.array(density), wanted=wanted)).tolist()


def test_the_least_dense_leave_until_the_mean_is_nearest():
    # from the densest: 1, .5, .5, 0 have means 1, .75, .667, .5
    density = [0.0, 1.0, 0.5, np.nan, 0.5]
    assert kept(density, 0.5) == [0, 1, 2, 4]
    assert kept(density, 0.65) == [1, 2, 4]
    assert kept(density, 0.74) == [1, 2]
    assert kept(density, 1.0) == [1]


def test_the_densest_leave_where_the_mean_of_all_is_above():
    # without the densest: 0, .5, .5 have .333; 0, .5 have .25, the later of equal ones leaves last
    density = [0.0, 1.0, 0.5, np.nan, 0.5]
    assert kept(density, 0.4) == [0, 2, 4]
    assert kept(density, 0.3) == [0, 2, 4]
    assert kept(density, 0.26) == [0, 4]
    assert kept(density, 0.0) == [0]


def test_of_equally_near_sets_the_largest_is_kept():
    # 1, 1 and 1, 1, 0.4 have 1 and 0.8: both are 0.1 from 0.9
    assert kept([1.0, 1.0, 0.4], 0.9) == [0, 1, 2]
    assert kept([0.3, 0.3, 0.3], 0.3) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_no_cut_from_either_end_comes_nearer(seed):
    rng = np.random.default_rng(seed)
    density_P = rng.integers(0, 9, size=30) / 8
    wanted = float(rng.uniform(0.1, 0.9))
    found = density_P[nearest_density(density_P, wanted=wanted)]
    ordered = sorted(density_P.tolist())
    cuts = [part for at in range(30) for part in (ordered[at:], ordered[: at + 1])]
    best = min(abs(float(np.mean(cut)) - wanted) for cut in cuts)
    assert abs(found.mean() - wanted) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("density", [[0.5, 0.25], [np.nan], []])
def test_a_density_that_no_set_has_is_refused(density):
    with pytest.raises(ConfigError, match=r"--density 0\.9 is outside of the prompts' "):
        nearest_density(np.array(density), wanted=0.9)


def test_sets_of_one_size_are_as_large_as_the_smallest():
    rates = np.array([8, 8, 7, 6, 5, 4, 2, 0]) / 8
    parts = easy_hard_full(rates)
    assert common_size(parts, limit=None) == 2
    assert common_size(parts, limit=1) == 1
    with pytest.raises(ConfigError, match="hard holds 2 prompts, and sets of one size need 4"):
        common_size(parts, limit=4)
    with pytest.raises(ConfigError, match="hard holds 0 prompts"):
        common_size(easy_hard_full(rates[:3]), limit=None)


def test_a_draw_is_of_those_that_fit_and_by_the_seed():
    fits_P = np.arange(40) % 2 == 0
    drawn = [draw_some(fits_P, size=5, rng=np.random.default_rng(s)) for s in (0, 0, 1)]
    assert all((one & fits_P).sum() == one.sum() == 5 for one in drawn)
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()
    whole = draw_some(fits_P, size=None, rng=np.random.default_rng(0))
    assert (whole == fits_P).all()
