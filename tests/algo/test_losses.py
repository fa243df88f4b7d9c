"""The policy loss against numbers worked out by hand and a second, naive implementation."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tersely.algo.losses import ppo_clip_loss


def naive_loss(
    logp: list[list[float]],
    old: list[list[float]],
    adv: list[float],
    mask: list[list[bool]],
    *,
    low: float,
    high: float,
    denominator: int,
) -> float:
    """Token by token, in plain Python, without a clever line."""
    total = 0.0
    for row in range(len(logp)):
        for token in range(len(logp[row])):
            if not mask[row][token] or not math.isfinite(old[row][token]):
                continue
            ratio = math.exp(logp[row][token] - old[row][token])
            clipped = min(max(ratio, 1 - low), 1 + high)
            total -= min(ratio * adv[row], clipped * adv[row])
    return total / denominator


def random_batch(seed: int, *, rows: int = 6, tokens: int = 9) -> tuple[Tensor, ...]:
    rng = np.random.default_rng(seed)
    logp_BT = torch.tensor(-rng.exponential(1.0, (rows, tokens)), requires_grad=True)
    old_logp_BT = logp_BT.detach() + torch.tensor(rng.normal(0, 0.4, (rows, tokens)))
    lengths_B = torch.tensor(rng.integers(1, tokens + 1, rows))
    loss_mask_BT = torch.arange(tokens)[None] < lengths_B[:, None]
    return logp_BT, old_logp_BT, torch.tensor(rng.normal(0, 1, rows)), loss_mask_BT


def one_token(ratio: float, adv: float) -> tuple[float, float, int]:
    """Loss, gradient with respect to logp, and clipped tokens of a single token."""
    logp_BT = torch.tensor([[math.log(ratio) - 2.0]], dtype=torch.float64, requires_grad=True)
    old_logp_BT = torch.tensor([[-2.0]], dtype=torch.float64)
    adv_B = torch.tensor([adv], dtype=torch.float64)
    result = ppo_clip_loss(logp_BT, old_logp_BT, adv_B, old_logp_BT < 0, denominator=1)
    (grad_BT,) = torch.autograd.grad(result.loss, logp_BT)
    return float(result.loss.detach()), float(grad_BT), result.clipped_tokens


@pytest.mark.parametrize(
    ("ratio", "adv", "loss", "grad", "clipped"),
    [
        # min(1.5 * 2, 1.28 * 2) = 2.56: held at the upper bound, no gradient.
        (1.5, 2.0, -2.56, 0.0, 1),
        # min(0.5 * 2, 0.8 * 2) = 1.0: below the bound but free to rise; d(w A) = w A = 1.
        (0.5, 2.0, -1.0, -1.0, 0),
        # min(-3, -2.56) = -3: too likely and bad, free to fall; d(-w A) = 3.
        (1.5, -2.0, 3.0, 3.0, 0),
        # min(-1, -1.6) = -1.6: held at the lower bound, no gradient.
        (0.5, -2.0, 1.6, 0.0, 1),
        # Inside the bounds nothing is clipped.
        (1.2, 2.0, -2.4, -2.4, 0),
    ],
)
def test_clipping_by_hand(ratio: float, adv: float, loss: float, grad: float, clipped: int) -> None:
    assert one_token(ratio, adv) == (pytest.approx(loss), pytest.approx(grad), clipped)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_naive_implementation(seed: int) -> None:
    logp_BT, old_logp_BT, adv_B, mask_BT = random_batch(seed)
    old_logp_BT[0, 0] = -math.inf
    result = ppo_clip_loss(
        logp_BT, old_logp_BT, adv_B, mask_BT, clip_low=0.1, clip_high=0.3, denominator=17
    )
    expected = naive_loss(
        logp_BT.tolist(), old_logp_BT.tolist(), adv_B.tolist(), mask_BT.tolist(),
        low=0.1, high=0.3, denominator=17,
    )  # fmt: skip
    assert float(result.loss.detach()) == pytest.approx(expected, rel=1e-12)
    assert result.dropped_tokens == 1
    assert result.loss_tokens == int(mask_BT.sum()) - 1


@pytest.mark.parametrize("sizes", [[6], [1, 5], [2, 2, 2], [1] * 6])
def test_splitting_the_batch_never_changes_the_gradient(sizes: list[int]) -> None:
    logp_BT, old_logp_BT, adv_B, mask_BT = random_batch(1)
    denominator = int(mask_BT.sum())
    whole = ppo_clip_loss(logp_BT, old_logp_BT, adv_B, mask_BT, denominator=denominator)
    (whole_BT,) = torch.autograd.grad(whole.loss, logp_BT)
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        ppo_clip_loss(
            logp_BT[part], old_logp_BT[part], adv_B[part], mask_BT[part], denominator=denominator
        ).loss.backward()
        start += size
    torch.testing.assert_close(logp_BT.grad, whole_BT, rtol=0, atol=1e-12)


def test_on_policy_gradient_is_reinforce() -> None:
    # w = 1 everywhere, so d(-w A / n) / d logp = -A / n on loss tokens and 0 elsewhere.
    logp_BT, _, adv_B, mask_BT = random_batch(2)
    result = ppo_clip_loss(logp_BT, logp_BT.detach(), adv_B, mask_BT, denominator=11)
    (grad_BT,) = torch.autograd.grad(result.loss, logp_BT)
    torch.testing.assert_close(grad_BT, -adv_B[:, None] * mask_BT / 11)
    assert result.clipped_tokens == 0
    assert result.mismatch_sum == 0


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_what_is_masked_may_hold_anything(garbage: float) -> None:
    logp_BT, old_logp_BT, adv_B, mask_BT = random_batch(3)
    clean = ppo_clip_loss(logp_BT, old_logp_BT, adv_B, mask_BT, denominator=9)
    (clean_BT,) = torch.autograd.grad(clean.loss, logp_BT)
    dirty_BT = torch.where(mask_BT, logp_BT.detach(), garbage).requires_grad_()
    old_BT = torch.where(mask_BT, old_logp_BT, -garbage)
    dirty = ppo_clip_loss(dirty_BT, old_BT, adv_B, mask_BT, denominator=9)
    (grad_BT,) = torch.autograd.grad(dirty.loss, dirty_BT)
    assert dirty._replace(loss=clean.loss) == clean
    torch.testing.assert_close(dirty.loss, clean.loss)
    torch.testing.assert_close(grad_BT, clean_BT)


@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
def test_a_sampler_logprob_that_is_not_finite_is_dropped_and_counted(bad: float) -> None:
    logp_BT, old_logp_BT, adv_B, mask_BT = random_batch(4)
    hole_BT = mask_BT.clone()
    hole_BT[:, 0] = False
    without = ppo_clip_loss(logp_BT, old_logp_BT, adv_B, hole_BT, denominator=9)
    old_logp_BT[:, 0] = bad
    dropped = ppo_clip_loss(logp_BT, old_logp_BT, adv_B, mask_BT, denominator=9)
    assert dropped.dropped_tokens == len(adv_B)
    assert dropped.loss_tokens == without.loss_tokens
    torch.testing.assert_close(dropped.loss, without.loss)


def test_an_absurd_ratio_stays_finite() -> None:
    logp_BT = torch.tensor([[0.0, 0.0]], requires_grad=True)
    old_logp_BT = torch.tensor([[-1e4, -1e4]])
    for adv in (1.0, -1.0):
        mask_BT = torch.ones(1, 2, dtype=torch.bool)
        loss = ppo_clip_loss(logp_BT, old_logp_BT, torch.tensor([adv]), mask_BT, denominator=1).loss
        (grad_BT,) = torch.autograd.grad(loss, logp_BT)
        assert loss.isfinite()
        assert grad_BT.isfinite().all()


def test_no_loss_token_is_zero_loss_and_a_bad_denominator_is_refused() -> None:
    logp_BT, old_logp_BT, adv_B, mask_BT = random_batch(5)
    nothing_BT = torch.zeros_like(mask_BT)
    empty = ppo_clip_loss(logp_BT, old_logp_BT, adv_B, nothing_BT, denominator=1)
    assert (empty.loss.item(), empty.loss_tokens) == (0, 0)
    with pytest.raises(ValueError, match="denominator must be positive, got 0"):
        ppo_clip_loss(logp_BT, old_logp_BT, adv_B, mask_BT, denominator=0)
