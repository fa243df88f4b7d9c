"""GMPO: by hand, and by second code."""

import math
from functools import partial

import pytest

from tersely.algo.losses.gmpo import gmpo


def test_by_hand(one_row) -> None:
    # Ratios 2 and 1/2, A = 3, bounds 0.67 and 1.49. The first is held at e^0.4, the second may be
    # small: s = sqrt(e^0.4 / 2). Two tokens at -3 s; only the second has a gradient, 2 * -3 s / 2.
    s = math.sqrt(math.exp(0.4) / 2)
    expected = (pytest.approx(-6 * s), [0, pytest.approx(-3 * s)], 1)
    assert one_row(gmpo, [2.0, 0.5], 3.0) == expected
    # A = -3: the first may be large, the second is held at e^-0.4.
    s = math.sqrt(2 * math.exp(-0.4))
    expected = (pytest.approx(6 * s), [pytest.approx(3 * s), 0], 1)
    assert one_row(gmpo, [2.0, 0.5], -3.0) == expected
    # Inside the bounds it is the plain geometric mean: sqrt(1.2 * 0.8).
    s = math.sqrt(0.96)
    assert one_row(gmpo, [1.2, 0.8], 1.0) == (pytest.approx(-2 * s), [pytest.approx(-s)] * 2, 0)


def test_agrees_with_the_naive_implementation(assert_agrees, assert_gradient_is_the_values) -> None:
    loss = partial(gmpo, clip_low=0.1, clip_high=0.3)

    def naive(ratios: list[float], logp: list[float], adv: float) -> list[float]:
        held = [min(r, 1.3) if adv > 0 else max(r, 0.9) for r in ratios]
        return [-adv * math.prod(held) ** (1 / len(held))] * len(held)

    assert_agrees(loss, naive)
    assert_gradient_is_the_values(loss)
