"""Policy losses: sums over loss tokens, divided by a count that the caller supplies.

The count spans the whole update, so cutting a batch into micro-batches and adding their losses
changes neither the loss nor its gradient.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# exp(20) is 5e8: far outside any clip range, far inside what float32 can hold and multiply.
_LOG_RATIO_LIMIT = 20.0


class PolicyLoss(NamedTuple):
    """A loss and what is needed to average its statistics over micro-batches.

    Args:
        loss: the sum over loss tokens / denominator; 0 when there are none.
        loss_tokens: tokens that entered the sum.
        clipped_tokens: of these, the ones whose gradient the clip removed.
        dropped_tokens: loss tokens left out because the sampler's log-prob was not finite.
        ratio_sum: the sum of policy / sampler probability over loss tokens.
        mismatch_sum: the sum of |policy - sampler| log-prob over loss tokens.
    """

    loss: Float[Tensor, ""]
    loss_tokens: int
    clipped_tokens: int
    dropped_tokens: int
    ratio_sum: float
    mismatch_sum: float


def ppo_clip_loss(
    logp_BT: Float[Tensor, "B T"],
    old_logp_BT: Float[Tensor, "B T"],
    adv_B: Float[Tensor, " B"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    denominator: int,
) -> PolicyLoss:
    """``-sum min(w A, clip(w, 1 - low, 1 + high) A) / denominator``, ``w = exp(logp - old)``.

    The clipped policy loss with separate bounds; arXiv:2602.20945, Section 2, uses 0.28 above.
    Masks apply before ``exp``, so masked entries may hold anything. Log-ratios are held
    within +-20, beyond which the gradient is zero.

    Args:
        loss_mask_BT: True on completion tokens, the stop token included.
        denominator: loss tokens of the whole update, > 0; never of this micro-batch.
    Raises:
        ValueError: if ``denominator`` is not positive.
    """
    if not denominator > 0:
        raise ValueError(f"denominator must be positive, got {denominator}")
    used_BT = loss_mask_BT & old_logp_BT.isfinite()
    log_ratio_BT = logp_BT.where(used_BT, 0.0) - old_logp_BT.where(used_BT, 0.0)
    ratio_BT = log_ratio_BT.clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT).exp()
    adv_B1 = adv_B[:, None]
    free_BT = ratio_BT * adv_B1
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high) * adv_B1
    gain_BT = torch.minimum(free_BT, clipped_BT).where(used_BT, 0.0)
    loss_tokens = int(used_BT.sum())
    return PolicyLoss(
        loss=-gain_BT.sum() / denominator,
        loss_tokens=loss_tokens,
        clipped_tokens=int(((clipped_BT < free_BT) & used_BT).sum()),
        dropped_tokens=int(loss_mask_BT.sum()) - loss_tokens,
        ratio_sum=float(ratio_BT.detach().where(used_BT, 0.0).sum()),
        mismatch_sum=float(log_ratio_BT.detach().abs().sum()),
    )


def kl_k3(
    logp_BT: Float[Tensor, "B T"],
    ref_logp_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """k3 estimate of KL(policy, ref): ``sum exp(d) - d - 1`` over loss tokens, ``d = ref - logp``.

    Every term is >= 0; the sum of no tokens is 0. The caller
    divides. Unbiased on tokens of the current policy; on stale tokens it is not re-weighted.
    """
    gap_BT = ref_logp_BT.where(loss_mask_BT, 0.0) - logp_BT.where(loss_mask_BT, 0.0)
    gap_BT = gap_BT.clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT)
    return (gap_BT.exp() - gap_BT - 1).where(loss_mask_BT, 0.0).sum()
