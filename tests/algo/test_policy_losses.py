"""Dual clip, GSPO, CISPO, weights and importance correction: by hand, by second code, by laws."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tersely.algo import aggregation
from tersely.algo.losses import (
    PolicyLoss,
    cispo_loss,
    gspo_loss,
    ppo_clip_loss,
    truncated_importance,
)

LOSSES: dict[str, Callable[..., PolicyLoss]] = {
    "ppo": partial(ppo_clip_loss, clip_low=0.1, clip_high=0.3),
    "ppo dual": partial(ppo_clip_loss, clip_low=0.1, clip_high=0.3, dual_clip=1.5),
    "gspo": partial(gspo_loss, clip_low=0.05, clip_high=0.08),
    "cispo": partial(cispo_loss, ratio_high=1.3),
    "cispo both": partial(cispo_loss, ratio_low=0.8, ratio_high=1.2),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def naive(name: str, logp: list[float], old: list[float], adv: float) -> list[float]:
    """Token losses of one row's used tokens, in plain Python; CISPO's with today's ratio."""
    ratios = [math.exp(new - before) for new, before in zip(logp, old, strict=True)]
    if name == "gspo":
        gaps = [new - before for new, before in zip(logp, old, strict=True)]
        ratio = math.exp(sum(gaps) / len(gaps))
        gain = min(ratio * adv, min(max(ratio, 0.95), 1.08) * adv)
        return [-gain] * len(logp)
    if name.startswith("cispo"):
        low, high = (0.8, 1.2) if name == "cispo both" else (0.0, 1.3)
        return [-min(max(r, low), high) * adv * new for r, new in zip(ratios, logp, strict=True)]
    gains = [min(r * adv, min(max(r, 0.9), 1.3) * adv) for r in ratios]
    if name == "ppo dual" and adv < 0:
        gains = [max(gain, 1.5 * adv) for gain in gains]
    return [-gain for gain in gains]


class Batch(NamedTuple):
    logp_BT: Tensor
    old_logp_BT: Tensor
    adv_B: Tensor
    loss_mask_BT: Tensor


def random_batch(seed: int, *, rows: int = 7, tokens: int = 9) -> Batch:
    """Float64, ragged, with an empty row and a sampler log-prob that is missing."""
    rng = np.random.default_rng(seed)
    logp_BT = torch.tensor(-rng.exponential(1.0, (rows, tokens)), requires_grad=True)
    old_logp_BT = logp_BT.detach() + torch.tensor(rng.normal(0, 0.4, (rows, tokens)))
    old_logp_BT[1, 0] = math.nan
    lengths_B = torch.tensor([0, *rng.integers(2, tokens + 1, rows - 1)])
    loss_mask_BT = torch.arange(tokens)[None] < lengths_B[:, None]
    return Batch(logp_BT, old_logp_BT, torch.tensor(rng.normal(0, 1, rows)), loss_mask_BT)


@every_loss
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_naive_implementation_under_every_aggregation(name: str, seed: int) -> None:
    batch = random_batch(seed)
    tokens_B = batch.loss_mask_BT.sum(dim=1).numpy()
    for weight_B, denominator in (
        aggregation.token_mean(tokens_B),
        aggregation.sequence_mean(tokens_B),
        aggregation.prompt_mean(tokens_B, np.arange(7) // 3),
        aggregation.constant(tokens_B, tokens_per_row=16),
    ):
        total = 0.0
        for b in range(7):
            used_T = batch.loss_mask_BT[b] & batch.old_logp_BT[b].isfinite()
            if not used_T.any():
                continue
            logp, old = batch.logp_BT[b][used_T].tolist(), batch.old_logp_BT[b][used_T].tolist()
            total += weight_B[b] * sum(naive(name, logp, old, float(batch.adv_B[b])))
        weight_B1 = torch.tensor(weight_B)[:, None]
        result = LOSSES[name](*batch, weight_BT=weight_B1, denominator=denominator)
        assert float(result.loss.detach()) == pytest.approx(total / denominator, rel=1e-12)
        assert result.loss_tokens == int(tokens_B.sum()) - 1
        assert result.dropped_tokens == 1


@every_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_that_of_finite_differences(name: str, weighted: bool) -> None:
    batch = random_batch(11)
    weight_BT = torch.rand(7, 9, dtype=torch.float64) if weighted else None

    def loss(logp_BT: Tensor) -> Tensor:
        return LOSSES[name](logp_BT, *batch[1:], weight_BT=weight_BT, denominator=5).loss

    if name.startswith("cispo"):
        # Its gradient is on purpose not its value's: the clipped ratio is a constant in it.
        low, high = (0.8, 1.2) if name == "cispo both" else (0.0, 1.3)
        used_BT = batch.loss_mask_BT & batch.old_logp_BT.isfinite()
        ratio_BT = (batch.logp_BT.detach() - batch.old_logp_BT).exp().clamp(low, high)
        factor_BT = (-ratio_BT * batch.adv_B[:, None] / 5).where(used_BT, 0.0)
        if weight_BT is not None:
            factor_BT = factor_BT * weight_BT
        (grad_BT,) = torch.autograd.grad(loss(batch.logp_BT), batch.logp_BT)
        torch.testing.assert_close(grad_BT, factor_BT)
        return
    assert torch.autograd.gradcheck(loss, batch.logp_BT, eps=1e-7, atol=1e-6)


@every_loss
@pytest.mark.parametrize("sizes", [[7], [1, 6], [3, 2, 2], [1] * 7])
def test_cutting_the_batch_changes_neither_loss_nor_gradient(name: str, sizes: list[int]) -> None:
    batch = random_batch(2)
    tokens_B = batch.loss_mask_BT.sum(dim=1).numpy()
    weight_B, denominator = aggregation.prompt_mean(tokens_B, np.arange(7) // 3)
    weight_B1 = torch.tensor(weight_B)[:, None]
    whole = LOSSES[name](*batch, weight_BT=weight_B1, denominator=denominator)
    (whole_BT,) = torch.autograd.grad(whole.loss, batch.logp_BT)
    parts, start = [], 0
    for size in sizes:
        rows = slice(start, start + size)
        part = LOSSES[name](
            *(values[rows] for values in batch),
            weight_BT=weight_B1[rows],
            denominator=denominator,
        )
        part.loss.backward()
        parts.append(part)
        start += size
    torch.testing.assert_close(batch.logp_BT.grad, whole_BT, rtol=0, atol=1e-12)
    assert sum(float(p.loss.detach()) for p in parts) == pytest.approx(float(whole.loss.detach()))
    for field in ("loss_tokens", "clipped_tokens", "dropped_tokens"):
        assert sum(getattr(part, field) for part in parts) == getattr(whole, field)


@every_loss
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_what_is_masked_may_hold_anything(name: str, garbage: float) -> None:
    batch = random_batch(3)
    weight_BT = torch.rand(7, 9, dtype=torch.float64)
    clean = LOSSES[name](*batch, weight_BT=weight_BT, denominator=9)
    (clean_BT,) = torch.autograd.grad(clean.loss, batch.logp_BT)
    mask_BT = batch.loss_mask_BT
    dirty_BT = torch.where(mask_BT, batch.logp_BT.detach(), garbage).requires_grad_()
    dirty = LOSSES[name](
        dirty_BT,
        torch.where(mask_BT, batch.old_logp_BT, -garbage),
        batch.adv_B,
        mask_BT,
        weight_BT=torch.where(mask_BT, weight_BT, garbage),
        denominator=9,
    )
    (grad_BT,) = torch.autograd.grad(dirty.loss, dirty_BT)
    assert dirty._replace(loss=clean.loss) == clean
    torch.testing.assert_close(dirty.loss, clean.loss)
    torch.testing.assert_close(grad_BT, clean_BT)


@every_loss
def test_no_loss_token_is_zero_and_a_bad_denominator_is_refused(name: str) -> None:
    batch = random_batch(4)
    nothing_BT = torch.zeros_like(batch.loss_mask_BT)
    empty = LOSSES[name](*batch[:3], nothing_BT, denominator=1)
    assert (float(empty.loss.detach()), empty.loss_tokens, empty.clipped_tokens) == (0, 0, 0)
    with pytest.raises(ValueError, match="denominator must be positive, got -1"):
        LOSSES[name](*batch, denominator=-1)


@every_loss
def test_an_absurd_ratio_stays_finite(name: str) -> None:
    for gap, adv in ((1e4, 1.0), (1e4, -1.0), (-1e4, 1.0), (-1e4, -1.0)):
        logp_BT = torch.full((1, 2), -1.0, requires_grad=True)
        old_BT = torch.full((1, 2), -1.0 - gap)
        mask_BT = torch.ones(1, 2, dtype=torch.bool)
        loss = LOSSES[name](logp_BT, old_BT, torch.tensor([adv]), mask_BT, denominator=1).loss
        (grad_BT,) = torch.autograd.grad(loss, logp_BT)
        assert loss.isfinite()
        assert grad_BT.isfinite().all()


@every_loss
def test_on_policy_gradient_of_every_loss_is_reinforce_for_a_sequence_mean(name: str) -> None:
    # All ratios are 1, so nothing is clipped and each token of row i gets -A_i / |o_i| / rows.
    batch = random_batch(5)
    weight_B, denominator = aggregation.sequence_mean(batch.loss_mask_BT.sum(dim=1).numpy())
    weight_B1 = torch.tensor(weight_B)[:, None]
    result = LOSSES[name](
        batch.logp_BT,
        batch.logp_BT.detach(),
        *batch[2:],
        weight_BT=weight_B1,
        denominator=denominator,
    )
    (grad_BT,) = torch.autograd.grad(result.loss, batch.logp_BT)
    expected_BT = -batch.adv_B[:, None] * weight_B1 * batch.loss_mask_BT / denominator
    torch.testing.assert_close(grad_BT, expected_BT)
    assert result.clipped_tokens == 0


def one_row(loss: Callable[..., PolicyLoss], ratios: list[float], adv: float) -> tuple:
    """Loss, gradient of each token's log-prob, and clipped tokens of a row from log-prob -2."""
    logp_BT = torch.tensor([ratios], dtype=torch.float64).log().sub(2).requires_grad_()
    old_BT = torch.full_like(logp_BT, -2.0).detach()
    adv_B = torch.tensor([adv], dtype=torch.float64)
    result = loss(logp_BT, old_BT, adv_B, old_BT < 0, denominator=1)
    (grad_BT,) = torch.autograd.grad(result.loss, logp_BT)
    return float(result.loss.detach()), grad_BT[0].tolist(), result.clipped_tokens


@pytest.mark.parametrize(
    ("ratio", "adv", "loss", "grad", "clipped"),
    [
        # A < 0, c = 3: w = 4 would lose 8; held at 3 * 2 = 6, no gradient.
        (4.0, -2.0, 6.0, 0.0, 1),
        # Below c it is plain PPO: 2.5 * 2 = 5 with its gradient.
        (2.5, -2.0, 5.0, 5.0, 0),
        # A > 0 never meets c: held at 1.28 as ever.
        (4.0, 2.0, -2.56, 0.0, 1),
    ],
)
def test_dual_clip_by_hand(ratio: float, adv: float, loss: float, grad: float, clipped) -> None:
    result = one_row(partial(ppo_clip_loss, dual_clip=3.0), [ratio], adv)
    assert result == (pytest.approx(loss), [pytest.approx(grad)], clipped)


def test_dual_clip_of_one_or_less_is_refused() -> None:
    with pytest.raises(ValueError, match="dual_clip must be above 1, got 1"):
        ppo_clip_loss(*random_batch(0), dual_clip=1.0, denominator=1)


def test_gspo_by_hand() -> None:
    # Ratios 2 and 1/2: geometric mean 1, inside any clip: each token -A s = -3, gradient -3 s.
    assert one_row(gspo_loss, [2.0, 0.5], 3.0) == (pytest.approx(-6), [pytest.approx(-3)] * 2, 0)
    # Ratios 4 and 1: mean 2, clipped to 1.1 as A > 0: two tokens at -1.1, no gradient.
    clipped = one_row(partial(gspo_loss, clip_high=0.1), [4.0, 1.0], 1.0)
    assert clipped == (pytest.approx(-2.2), [0, 0], 2)
    # A < 0: free to fall from 2. Two tokens at 2, each of gradient s = 2.
    free = one_row(partial(gspo_loss, clip_high=0.1), [4.0, 1.0], -1.0)
    assert free == (pytest.approx(4), [pytest.approx(2)] * 2, 0)


def test_cispo_by_hand() -> None:
    # w = 1.5 and 8 (held at 5), A = 2, log-probs ln 1.5 - 2 and ln 8 - 2: -w A logp each.
    low, high = math.log(1.5) - 2, math.log(8) - 2
    loss, grads, clipped = one_row(cispo_loss, [1.5, 8.0], 2.0)
    assert loss == pytest.approx(-(3 * low + 10 * high))
    assert (grads, clipped) == ([pytest.approx(-3), pytest.approx(-10)], 1)
    # With a lower bound of 0.8 a token at 0.1 is weighted 0.8.
    _, grads, clipped = one_row(partial(cispo_loss, ratio_low=0.8), [0.1], 1.0)
    assert (grads, clipped) == ([pytest.approx(-0.8)], 1)


@pytest.mark.parametrize(("low", "high"), [(1.1, 5.0), (0.0, 0.9)])
def test_cispo_bounds_must_lie_about_one(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must lie about 1"):
        cispo_loss(*random_batch(0), ratio_low=low, ratio_high=high, denominator=1)


@every_loss
def test_a_weight_of_one_is_no_weight_and_weights_are_linear(name: str) -> None:
    batch = random_batch(6)
    plain = LOSSES[name](*batch, denominator=3)
    ones_B1 = torch.ones(7, 1, dtype=torch.float64)
    torch.testing.assert_close(
        LOSSES[name](*batch, weight_BT=ones_B1, denominator=3).loss, plain.loss
    )
    torch.testing.assert_close(
        LOSSES[name](*batch, weight_BT=2.5 * ones_B1.expand(7, 9), denominator=3).loss,
        2.5 * plain.loss,
    )


def test_truncated_importance_by_hand() -> None:
    # Ratios 1, 1/2, 3 (held at 2); one token without a sampler log-prob; one masked.
    sampler_BT = torch.tensor([[-2.0, -2.0, -2.0, -math.inf, math.nan]])
    old_BT = torch.tensor([[-2.0, -2 - math.log(2), -2 + math.log(3), -2.0, math.nan]])
    mask_BT = torch.tensor([[True, True, True, True, False]])
    result = truncated_importance(old_BT, sampler_BT, mask_BT)
    torch.testing.assert_close(result.weight_BT, torch.tensor([[1.0, 0.5, 2.0, 0.0, 0.0]]))
    assert result.used_BT.tolist() == [[True, True, True, False, False]]
    assert result.dropped_tokens == 1


def test_truncated_importance_has_no_gradient_and_corrects_a_loss() -> None:
    batch = random_batch(8)
    learner_BT = batch.logp_BT.detach() - 0.01
    correction = truncated_importance(batch.logp_BT, batch.old_logp_BT, batch.loss_mask_BT)
    assert not correction.weight_BT.requires_grad
    result = ppo_clip_loss(
        batch.logp_BT,
        learner_BT,
        batch.adv_B,
        correction.used_BT,
        weight_BT=correction.weight_BT,
        denominator=4,
    )
    # Ratio exp(0.01) everywhere, inside the clip: -w A exp(0.01) on each token.
    (grad_BT,) = torch.autograd.grad(result.loss, batch.logp_BT)
    weight_BT = (batch.logp_BT.detach() - batch.old_logp_BT).exp().clamp(max=2)
    expected_BT = (-weight_BT * batch.adv_B[:, None] * math.exp(0.01) / 4).nan_to_num()
    torch.testing.assert_close(grad_BT, expected_BT * batch.loss_mask_BT)


def test_truncated_importance_of_equal_policies_is_exactly_one() -> None:
    batch = random_batch(9)
    result = truncated_importance(batch.logp_BT, batch.logp_BT, batch.loss_mask_BT)
    assert (result.weight_BT == batch.loss_mask_BT).all()
    with pytest.raises(ValueError, match=r"cap must be at least 1, got 0\.5"):
        truncated_importance(*batch[:2], batch.loss_mask_BT, cap=0.5)
