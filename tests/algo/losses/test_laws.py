"""Laws that every loss obeys; a new file is found and tested without a word here."""

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import pytest
import torch

from tersely.algo import aggregations, losses
from tersely.algo.policy_loss import PolicyLoss
from tersely.core.errors import ConfigError

Loss: TypeAlias = Callable[..., PolicyLoss]
CASES = {
    **{name: losses.load(name) for name in losses.available()},
    **{
        f"{name} held closely": partial(losses.load(name), clip_low=0.1, clip_high=0.3)
        for name in losses.available()
    },
    **{
        f"{name} with a dual clip": partial(losses.load(name), dual_clip=1.5)
        for name in losses.available()
        if losses.takes_dual_clip(name)
    },
}
every_loss = pytest.mark.parametrize("loss", CASES.values(), ids=CASES)
every_name = pytest.mark.parametrize("name", losses.available())


@every_name
def test_a_file_declares_its_bounds_and_whether_the_trainers_have_it(name: str) -> None:
    low, high = losses.default_clips(name)
    assert 0 < low <= 1
    assert high > 0
    assert (losses.in_trl(name) is not None) == (name in losses.of_trl())
    assert (losses.in_verl(name) is not None) == (name in losses.of_verl())


def test_an_unknown_loss_is_refused_with_the_choices() -> None:
    for ask in (losses.load, losses.default_clips, losses.in_trl, losses.in_verl):
        with pytest.raises(ConfigError, match=f"choose one of {', '.join(losses.available())}"):
            ask("nope")


@every_loss
@pytest.mark.parametrize("sizes", [[7], [1, 6], [3, 2, 2], [1] * 7])
def test_cutting_the_batch_changes_neither_loss_nor_gradient(
    loss: Loss, sizes: list[int], random_batch
) -> None:
    batch = random_batch(2)
    tokens_B = batch.loss_mask_BT.sum(dim=1).numpy()
    aggregate = aggregations.load("prompt_mean", cap_tokens=16)
    weight_B, denominator = aggregate(tokens_B, np.arange(7) // 3)
    weight_B1 = torch.tensor(weight_B)[:, None]
    whole = loss(*batch, weight_BT=weight_B1, denominator=denominator)
    (whole_BT,) = torch.autograd.grad(whole.loss, batch.logp_BT)
    parts, start = [], 0
    for size in sizes:
        rows = slice(start, start + size)
        part = loss(
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
def test_what_is_masked_may_hold_anything(loss: Loss, garbage: float, random_batch) -> None:
    batch = random_batch(3)
    weight_BT = torch.rand(7, 9, dtype=torch.float64)
    clean = loss(*batch, weight_BT=weight_BT, denominator=9)
    (clean_BT,) = torch.autograd.grad(clean.loss, batch.logp_BT)
    mask_BT = batch.loss_mask_BT
    dirty_BT = torch.where(mask_BT, batch.logp_BT.detach(), garbage).requires_grad_()
    dirty = loss(
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
@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
def test_a_sampler_logprob_that_is_not_finite_is_dropped_and_counted(
    loss: Loss, bad: float, random_batch
) -> None:
    logp_BT, old_logp_BT, adv_B, mask_BT = random_batch(4)
    hole_BT = mask_BT.clone()
    hole_BT[:, 0] = False
    without = loss(logp_BT, old_logp_BT, adv_B, hole_BT, denominator=9)
    old_logp_BT[:, 0] = bad
    dropped = loss(logp_BT, old_logp_BT, adv_B, mask_BT, denominator=9)
    # The first row has no tokens.
    assert dropped.dropped_tokens == len(adv_B) - 1
    assert dropped.loss_tokens == without.loss_tokens == int(mask_BT.sum()) - dropped.dropped_tokens
    torch.testing.assert_close(dropped.loss, without.loss)


@every_loss
def test_no_loss_token_is_zero_and_a_bad_denominator_is_refused(loss: Loss, random_batch) -> None:
    batch = random_batch(4)
    nothing_BT = torch.zeros_like(batch.loss_mask_BT)
    empty = loss(*batch[:3], nothing_BT, denominator=1)
    assert (float(empty.loss.detach()), empty.loss_tokens, empty.clipped_tokens) == (0, 0, 0)
    for denominator in (0, -1):
        with pytest.raises(ValueError, match=f"denominator must be positive, got {denominator}"):
            loss(*batch, denominator=denominator)


@every_loss
def test_an_absurd_ratio_stays_finite(loss: Loss) -> None:
    for gap, adv in ((1e4, 1.0), (1e4, -1.0), (-1e4, 1.0), (-1e4, -1.0)):
        logp_BT = torch.full((1, 2), -1.0, requires_grad=True)
        old_BT = torch.full((1, 2), -1.0 - gap)
        mask_BT = torch.ones(1, 2, dtype=torch.bool)
        value = loss(logp_BT, old_BT, torch.tensor([adv]), mask_BT, denominator=1).loss
        (grad_BT,) = torch.autograd.grad(value, logp_BT)
        assert value.isfinite()
        assert grad_BT.isfinite().all()


@every_loss
def test_on_policy_gradient_of_every_loss_is_reinforce_for_a_sequence_mean(
    loss: Loss, random_batch
) -> None:
    # All ratios are 1, so nothing is clipped and each token of row i gets -A_i / |o_i| / rows.
    batch = random_batch(5)
    aggregate = aggregations.load("sequence_mean", cap_tokens=16)
    weight_B, denominator = aggregate(batch.loss_mask_BT.sum(dim=1).numpy(), np.arange(7))
    weight_B1 = torch.tensor(weight_B)[:, None]
    result = loss(
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
    assert result.mismatch_sum == 0


@every_loss
def test_a_weight_of_one_is_no_weight_and_weights_are_linear(loss: Loss, random_batch) -> None:
    batch = random_batch(6)
    plain = loss(*batch, denominator=3)
    ones_B1 = torch.ones(7, 1, dtype=torch.float64)
    torch.testing.assert_close(loss(*batch, weight_BT=ones_B1, denominator=3).loss, plain.loss)
    torch.testing.assert_close(
        loss(*batch, weight_BT=2.5 * ones_B1.expand(7, 9), denominator=3).loss,
        2.5 * plain.loss,
    )


CREDITED = {
    name: loss for name, loss in CASES.items() if losses.takes_token_advantages(name.split()[0])
}
every_credited_loss = pytest.mark.parametrize("loss", CREDITED.values(), ids=CREDITED)


def loss_and_gradient(loss: Loss, batch, **settings: object) -> tuple[PolicyLoss, torch.Tensor]:
    found = loss(*batch, denominator=9, **settings)
    return found, torch.autograd.grad(found.loss, batch.logp_BT)[0]


def test_the_losses_with_a_ratio_for_each_token_take_an_advantage_for_each() -> None:
    taking = [name for name in losses.available() if losses.takes_token_advantages(name)]
    assert taking == ["cispo", "ppo_clip"]


@every_credited_loss
def test_the_rows_advantage_on_every_token_changes_nothing_to_the_bit(
    loss: Loss, random_batch
) -> None:
    for seed in range(5):
        batch = random_batch(seed)
        own_BT = batch.adv_B[:, None].expand(batch.logp_BT.shape).contiguous()
        plain, plain_BT = loss_and_gradient(loss, batch)
        credited, credited_BT = loss_and_gradient(loss, batch, adv_BT=own_BT)
        assert credited._replace(loss=plain.loss) == plain
        assert torch.equal(credited.loss, plain.loss)
        assert torch.equal(credited_BT, plain_BT)


@every_credited_loss
def test_tokens_before_a_place_do_not_see_what_is_credited_after_it(
    loss: Loss, random_batch
) -> None:
    batch = random_batch(5)
    after_BT = torch.arange(9)[None] >= torch.tensor([1, 2, 3, 4, 5, 6, 7])[:, None]
    own_BT = batch.adv_B[:, None].expand(after_BT.shape)
    _, whole_BT = loss_and_gradient(loss, batch)
    for share in (0.0, 0.5, 2.0, -1.0):
        lowered_BT = torch.where(after_BT, own_BT * share, own_BT)
        _, grad_BT = loss_and_gradient(loss, batch, adv_BT=lowered_BT)
        assert torch.equal(grad_BT[~after_BT], whole_BT[~after_BT])
        if share > 0:  # powers of two, so exact; below 0 the clip is on the other side
            assert torch.equal(grad_BT[after_BT], whole_BT[after_BT] * share)
        assert (grad_BT[after_BT] != whole_BT[after_BT]).any()


@every_credited_loss
def test_each_token_is_a_row_of_its_own_with_its_own_advantage(loss: Loss, random_batch) -> None:
    logp_BT, old_logp_BT, _, mask_BT = random_batch(6)
    own_BT = torch.tensor(np.random.default_rng(0).normal(0, 1, mask_BT.shape))
    credited = loss(logp_BT, old_logp_BT, own_BT[:, 0], mask_BT, adv_BT=own_BT, denominator=9)
    alone = [
        loss(
            logp_BT[row : row + 1, t : t + 1],
            old_logp_BT[row : row + 1, t : t + 1],
            own_BT[row, t : t + 1],
            mask_BT[row : row + 1, t : t + 1],
            denominator=9,
        )
        for row, t in mask_BT.nonzero().tolist()
    ]
    assert credited.loss.item() == pytest.approx(sum(each.loss.item() for each in alone))
    for field in ("loss_tokens", "clipped_tokens", "dropped_tokens"):
        assert sum(getattr(each, field) for each in alone) == getattr(credited, field)


@every_credited_loss
def test_a_masked_token_may_have_any_advantage(loss: Loss, random_batch) -> None:
    batch = random_batch(7)
    own_BT = batch.adv_B[:, None].expand(batch.logp_BT.shape)
    clean, clean_BT = loss_and_gradient(loss, batch)
    dirty_BT = torch.where(batch.loss_mask_BT, own_BT, math.nan)
    dirty, grad_BT = loss_and_gradient(loss, batch, adv_BT=dirty_BT)
    assert torch.equal(dirty.loss, clean.loss)
    assert torch.equal(grad_BT, clean_BT)
