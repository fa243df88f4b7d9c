"""Pass rates by hand, and which prompts each rule keeps."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from tersely.core.errors import ConfigError
from tersely.metrics.passrates import (
    between_quantiles,
    densest,
    equal_mixes,
    in_band,
    pass_rate,
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


def test_quantiles_are_of_the_known_rates():
    rate_P = np.array([0.0, 0.25, 0.5, 0.75, 1.0, np.nan])
    assert between_quantiles(rate_P, low=0.25, high=0.5).tolist() == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert not between_quantiles(np.array([np.nan]), low=0.0, high=1.0).any()


def test_the_densest_are_taken_as_long_as_their_mean_is_wanted():
    # from the densest: means 1, .75, .666, .5: two prompts reach .7, three .6
    density_P = np.array([0.0, 1.0, 0.5, np.nan, 0.5])
    assert densest(density_P, wanted=0.7).tolist() == [False, True, True, False, False]
    assert densest(density_P, wanted=0.6).tolist() == [False, True, True, False, True]
    assert densest(density_P, wanted=0.5).sum() == 4
    with pytest.raises(ConfigError, match=r"--density 0\.9 is above the densest prompt's 0\.50"):
        densest(np.array([0.5, 0.2]), wanted=0.9)


def test_mixes_are_of_one_size_and_drawn_by_the_seed():
    rates = [rate(f"p{i}", right) for i, right in enumerate([8, 8, 7, 6, 5, 4, 2, 0])]
    mixes = equal_mixes(rates, seed=0)
    assert {name: len(ids) for name, ids in mixes.items()} == {"easy": 3, "hard": 3, "full": 3}
    assert set(mixes["easy"]) <= {"p0", "p1", "p2", "p3", "p4"}
    assert set(mixes["hard"]) == {"p5", "p6", "p7"}
    assert equal_mixes(rates, seed=0) == mixes
    assert any(equal_mixes(rates, seed=s) != mixes for s in range(1, 5))
    with pytest.raises(ConfigError, match="hard holds 3 prompts, and the mixes need 4"):
        equal_mixes(rates, seed=0, size=4)
    with pytest.raises(ConfigError, match="hard holds 0 prompts"):
        equal_mixes(rates[:3], seed=0)
