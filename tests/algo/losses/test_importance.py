"""Truncated importance weights: by hand, and as the correction of a loss."""

import math

import pytest
import torch

from tersely.algo.importance import truncated_importance
from tersely.algo.losses.ppo_clip import ppo_clip


def test_truncated_importance_by_hand() -> None:
    # Ratios 1, 1/2, 3 (held at 2); one token without a sampler log-prob; one masked.
    sampler_BT = torch.tensor([[-2.0, -2.0, -2.0, -math.inf, math.nan]])
    old_BT = torch.tensor([[-2.0, -2 - math.log(2), -2 + math.log(3), -2.0, math.nan]])
    mask_BT = torch.tensor([[True, True, True, True, False]])
    result = truncated_importance(old_BT, sampler_BT, mask_BT)
    torch.testing.assert_close(result.weight_BT, torch.tensor([[1.0, 0.5, 2.0, 0.0, 0.0]]))
    assert result.used_BT.tolist() == [[True, True, True, False, False]]
    assert result.dropped_tokens == 1


def test_truncated_importance_has_no_gradient_and_corrects_a_loss(random_batch) -> None:
    batch = random_batch(8)
    learner_BT = batch.logp_BT.detach() - 0.01
    correction = truncated_importance(batch.logp_BT, batch.old_logp_BT, batch.loss_mask_BT)
    assert not correction.weight_BT.requires_grad
    result = ppo_clip(
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


def test_truncated_importance_of_equal_policies_is_exactly_one(random_batch) -> None:
    batch = random_batch(9)
    result = truncated_importance(batch.logp_BT, batch.logp_BT, batch.loss_mask_BT)
    assert (result.weight_BT == batch.loss_mask_BT).all()
    with pytest.raises(ValueError, match=r"cap must be at least 1, got 0\.5"):
        truncated_importance(*batch[:2], batch.loss_mask_BT, cap=0.5)
