import itertools

import numpy as np
import pytest

from tersely.metrics.passk import estimate_pass_at_k, mean_at_k, pass_at_k


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
    assert np.isnan(pass_at_k(hits_PSB, k=3))
    assert np.isnan(mean_at_k(hits_PSB, k=3))
    assert pass_at_k(hits_PSB, k=2) == 1.0
    assert mean_at_k(hits_PSB, k=2) == 0.5
    assert np.isnan(pass_at_k(np.full((1, 3, 1), np.nan), k=1))


def test_pass_at_one_is_mean_at_one():
    hits_PSB = np.random.default_rng(0).integers(0, 2, size=(6, 5, 3)).astype(float)
    np.testing.assert_allclose(pass_at_k(hits_PSB, k=1), mean_at_k(hits_PSB, k=1))
    np.testing.assert_array_equal(pass_at_k(hits_PSB, k=5), hits_PSB.max(axis=1))


def test_k_below_one_is_refused():
    for measure in (mean_at_k, pass_at_k):
        with pytest.raises(ValueError, match="k is 0"):
            measure(np.ones((1, 1, 1)), k=0)
