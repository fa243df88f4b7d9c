"""CISPO: by hand, by second code, and its gradient, which on purpose is not its value's."""

import math
from functools import partial

import pytest
import torch

from tersely.algo.losses.cispo import cispo


def test_by_hand(one_row) -> None:
    # w = 1.5 and 8 (held at 5), A = 2, log-probs ln 1.5 - 2 and ln 8 - 2: -w A logp each.
    low, high = math.log(1.5) - 2, math.log(8) - 2
    loss, grads, clipped = one_row(cispo, [1.5, 8.0], 2.0)
    assert loss == pytest.approx(-(3 * low + 10 * high))
    assert (grads, clipped) == ([pytest.approx(-3), pytest.approx(-10)], 1)
    # With a lower bound of 0.8 a token at 0.1 is weighted 0.8.
    _, grads, clipped = one_row(partial(cispo, clip_low=0.2), [0.1], 1.0)
    assert (grads, clipped) == ([pytest.approx(-0.8)], 1)


@pytest.mark.parametrize(("low", "high"), [(-0.1, 4.0), (1.0, -0.1)])
def test_negative_bounds_are_refused(low: float, high: float, random_batch) -> None:
    with pytest.raises(ValueError, match="clip bounds must be at least 0"):
        cispo(*random_batch(0), clip_low=low, clip_high=high, denominator=1)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.3), (0.2, 0.2)])
def test_agrees_with_the_naive_implementation(low, high, assert_agrees) -> None:
    def naive(ratios: list[float], logp: list[float], adv: float) -> list[float]:
        held = [min(max(ratio, 1 - low), 1 + high) for ratio in ratios]
        return [-ratio * adv * new for ratio, new in zip(held, logp, strict=True)]

    assert_agrees(partial(cispo, clip_low=low, clip_high=high), naive)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.3), (0.2, 0.2)])
def test_the_clipped_ratio_is_a_constant_in_the_gradient(low, high, random_batch) -> None:
    batch = random_batch(11)
    weight_BT = torch.rand(7, 9, dtype=torch.float64)
    result = cispo(*batch, clip_low=low, clip_high=high, weight_BT=weight_BT, denominator=5)
    (grad_BT,) = torch.autograd.grad(result.loss, batch.logp_BT)
    used_BT = batch.loss_mask_BT & batch.old_logp_BT.isfinite()
    ratio_BT = (batch.logp_BT.detach() - batch.old_logp_BT).exp().clamp(1 - low, 1 + high)
    expected_BT = (-ratio_BT * batch.adv_B[:, None] / 5 * weight_BT).where(used_BT, 0.0)
    torch.testing.assert_close(grad_BT, expected_BT)
