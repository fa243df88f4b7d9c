import itertools

import numpy as np
import pytest

from tersely.metrics.passk import (
    count_tries,
    estimate_pass_at_k,
    g_pass_at_k,
    mean_at_k,
    pass_at_k,
    pass_hat_k,
)


def by_enumeration(n, c, k):
    """Share of the k-subsets of n samples, c of them hits, that hold a hit."""
    subsets = list(itertools.combinations(range(n), k))
    return sum(any(index < c for index in subset) for subset in subsets) / len(subsets)


def test_golden_pass_at_k():
    # n=4, c=1: k=1: 1 - 3/4; k=2: 1 - C(3,2)/C(4,2) = 1 - 3/6; k=4: no 4 misses: 1.
    # Drawing with replacement would give 1 - (3/4)^4 = .684 at k=4.
    for k, expected in [(1, 0.25), (2, 0.5), (4, 1.0)]:
        assert estimate_pass_at_k(np.array([4]), np.array([1]), k=k) == pytest.approx([expected])


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_subsets_that_hold_a_hit(n):
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        (estimate,) = estimate_pass_at_k(np.array([n]), np.array([c]), k=k)
        assert estimate == pytest.approx(by_enumeration(n, c, k), abs=1e-12)


def test_large_n_neither_overflows_nor_loses_the_small_chance():
    # c=1: pass@k = k/n exactly; 1 - C(n-1,k)/C(n,k) = 1 - (n-k)/n.
    (estimate,) = estimate_pass_at_k(np.array([10_000]), np.array([1]), k=1000)
    assert estimate == pytest.approx(0.1, rel=1e-9)


def test_more_tries_than_graded_samples_is_undefined():
    hits_PSB = np.array([[1.0, 0.0, np.nan]]).reshape(1, 3, 1)
    tries = count_tries(hits_PSB)
    assert np.isnan(pass_at_k(tries, k=3))
    assert np.isnan(mean_at_k(tries, k=3))
    assert pass_at_k(tries, k=2) == 1.0
    assert mean_at_k(tries, k=2) == 0.5
    assert np.isnan(pass_at_k(count_tries(np.full((1, 3, 1), np.nan)), k=1))


def test_pass_at_one_is_mean_at_one():
    hits_PSB = np.random.default_rng(0).integers(0, 2, size=(6, 5, 3)).astype(float)
    tries = count_tries(hits_PSB)
    np.testing.assert_allclose(pass_at_k(tries, k=1), mean_at_k(tries, k=1))
    np.testing.assert_array_equal(pass_at_k(tries, k=5), hits_PSB.max(axis=1))


def hits_of(n, c):
    return count_tries(np.array([1.0] * c + [0.0] * (n - c)).reshape(1, n, 1))


def test_golden_pass_hat_k_and_g_pass_at_k():
    # n=4, c=3, k=2: all hits C(3,2)/C(4,2) = 3/6; at least one is certain: 1 - C(1,2)/6 = 1.
    # k=4: all 4 of 4 never; at least ceil(.5*4) = 2 of 4 always; at least ceil(.9*4) = 4 never.
    # n=4, c=2, k=3, tau .5: at least 2: [C(2,2) C(2,1)] / C(4,3) = 2/4.
    assert pass_hat_k(hits_of(4, 3), k=2) == pytest.approx(0.5)
    assert pass_hat_k(hits_of(4, 3), k=4) == 0.0
    assert g_pass_at_k(hits_of(4, 3), k=4, threshold=0.5) == 1.0
    assert g_pass_at_k(hits_of(4, 3), k=4, threshold=0.9) == 0.0
    assert g_pass_at_k(hits_of(4, 2), k=3, threshold=0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 0.7, 1.0])
def test_g_pass_is_the_share_of_subsets_with_hits_enough(threshold):
    n = 6
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        subsets = list(itertools.combinations(range(n), k))
        needed = max(1, int(np.ceil(round(threshold * k, 9))))
        share = np.mean([sum(i < c for i in subset) >= needed for subset in subsets])
        got = g_pass_at_k(hits_of(n, c), k=k, threshold=threshold)
        assert got == pytest.approx(share), (c, k)


def test_g_pass_runs_from_pass_at_k_to_pass_hat_k():
    rng = np.random.default_rng(1)
    hits_PSB = rng.integers(0, 2, size=(9, 7, 2)).astype(float)
    hits_PSB[2, 3] = np.nan
    tries = count_tries(hits_PSB)
    for k in (1, 3, 7):
        low = g_pass_at_k(tries, k=k, threshold=0.0)
        np.testing.assert_allclose(low, pass_at_k(tries, k=k))
        high = g_pass_at_k(tries, k=k, threshold=1.0)
        np.testing.assert_allclose(high, pass_hat_k(tries, k=k))
        middle = g_pass_at_k(tries, k=k, threshold=0.5)
        assert (np.nan_to_num(low - middle) >= 0).all()
        assert (np.nan_to_num(middle - high) >= 0).all()
    assert np.isnan(pass_hat_k(tries, k=7)[2]).all()


def test_a_share_a_rounding_error_above_a_whole_number_asks_for_no_more():
    # .7 * 10 = 7.000000000000001 in floats: 7 hits of 10 are enough, not 8.
    assert g_pass_at_k(hits_of(10, 7), k=10, threshold=0.7) == 1.0


def test_many_samples_do_not_overflow():
    # n = 256, c = 1: some hit in k = 64 with chance 64/256; all hits never.
    assert g_pass_at_k(hits_of(256, 1), k=64, threshold=0.0) == pytest.approx(0.25)
    assert pass_hat_k(hits_of(256, 1), k=64) == 0.0


def test_a_threshold_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"threshold is 1\.5"):
        g_pass_at_k(hits_of(2, 1), k=1, threshold=1.5)


def test_k_below_one_is_refused():
    for measure in (mean_at_k, pass_at_k, pass_hat_k):
        with pytest.raises(ValueError, match="k is 0"):
            measure(hits_of(1, 1), k=0)


def test_tries_are_each_problem_s_graded_samples_and_hits():
    rng = np.random.default_rng(2)
    hits_PSB = rng.choice([0.0, 1.0, np.nan], size=(11, 4, 3))
    n_U, hits_U, which_PB = count_tries(hits_PSB)
    for p, b in itertools.product(range(11), range(3)):
        known = [hit for hit in hits_PSB[p, :, b].tolist() if hit == hit]
        at = which_PB[p, b]
        assert (n_U[at], hits_U[at]) == (len(known), sum(known))
