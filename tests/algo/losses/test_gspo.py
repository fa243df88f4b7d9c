"""GSPO: by hand, and by second code."""

import math
from functools import partial

import pytest

from tersely.algo.losses.gspo import gspo


def test_by_hand(one_row) -> None:
    # Ratios 2 and 1/2: geometric mean 1, inside any clip: each token -A s = -3, gradient -3 s.
    assert one_row(gspo, [2.0, 0.5], 3.0) == (pytest.approx(-6), [pytest.approx(-3)] * 2, 0)
    # Ratios 4 and 1: mean 2, clipped to 1.1 as A > 0: two tokens at -1.1, no gradient.
    clipped = one_row(partial(gspo, clip_high=0.1), [4.0, 1.0], 1.0)
    assert clipped == (pytest.approx(-2.2), [0, 0], 2)
    # A < 0: free to fall from 2. Two tokens at 2, each of gradient s = 2.
    free = one_row(partial(gspo, clip_high=0.1), [4.0, 1.0], -1.0)
    assert free == (pytest.approx(4), [pytest.approx(2)] * 2, 0)


def test_agrees_with_the_naive_implementation(assert_agrees, assert_gradient_is_the_values) -> None:
    loss = partial(gspo, clip_low=0.05, clip_high=0.08)

    def naive(ratios: list[float], logp: list[float], adv: float) -> list[float]:
        ratio = math.prod(ratios) ** (1 / len(ratios))
        gain = min(ratio * adv, min(max(ratio, 0.95), 1.08) * adv)
        return [-gain] * len(ratios)

    assert_agrees(loss, naive)
    assert_gradient_is_the_values(loss)
