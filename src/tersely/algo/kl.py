"""Estimates of KL(policy, ref) from the sampled tokens, and of the policy's entropy.

All are sums over loss tokens, which the caller divides, and with ``weight_BT`` weighted sums. The
estimates are of tokens of the current policy; on stale tokens they are not re-weighted (TRL
multiplies its k3 by the ratio unless told not to). Gaps are held within +-20, beyond which the
gradient is zero; verl bounds the gap in k3 only, and then the term too, at 10.

As terms of a loss they differ more than as numbers. On tokens of the current policy the expected
gradient of k1 is zero, that of k2 is the divergence's own, and that of k3 is the gradient of the
opposite divergence, KL(ref, policy).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tersely.algo.policy_loss import LOG_RATIO_LIMIT


def kl_k1(
    logp_BT: Float[Tensor, "B T"],
    ref_logp_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    weight_BT: Float[Tensor, "B #T"] | None = None,
) -> Float[Tensor, ""]:
    """``sum -d``, ``d = ref - logp``: unbiased, of either sign. No tokens: 0.

    To report, or to subtract from a reward; as a loss term its expected gradient is zero.
    """
    gap_BT = _gap(logp_BT, ref_logp_BT, loss_mask_BT)
    return masked_sum(-gap_BT, loss_mask_BT, weight_BT=weight_BT)


def kl_k2(
    logp_BT: Float[Tensor, "B T"],
    ref_logp_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    weight_BT: Float[Tensor, "B #T"] | None = None,
) -> Float[Tensor, ""]:
    """``sum d^2 / 2``, ``d = ref - logp``: biased, every term >= 0. No tokens: 0."""
    gap_BT = _gap(logp_BT, ref_logp_BT, loss_mask_BT)
    return masked_sum(gap_BT.square() / 2, loss_mask_BT, weight_BT=weight_BT)


def kl_k3(
    logp_BT: Float[Tensor, "B T"],
    ref_logp_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    weight_BT: Float[Tensor, "B #T"] | None = None,
) -> Float[Tensor, ""]:
    """``sum exp(d) - d - 1``, ``d = ref - logp``: unbiased, every term >= 0. No tokens: 0.

    GRPO's (arXiv:2402.03300), and both TRL's and verl's usual one.
    """
    gap_BT = _gap(logp_BT, ref_logp_BT, loss_mask_BT)
    return masked_sum(gap_BT.exp() - gap_BT - 1, loss_mask_BT, weight_BT=weight_BT)


def token_entropy(logits_NV: Float[Tensor, "N V"]) -> Float[Tensor, " N"]:
    """``-sum_v p log p`` of each row, in nats; an impossible entry (-inf) adds nothing."""
    logp_NV = logits_NV.log_softmax(dim=-1)
    return -(logp_NV.exp() * logp_NV.masked_fill(logp_NV == -torch.inf, 0.0)).sum(dim=-1)


def entropy_sum(
    entropy_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    weight_BT: Float[Tensor, "B #T"] | None = None,
) -> Float[Tensor, ""]:
    """Sum of the tokens' entropies; the bonus: ``loss - coefficient * sum / denominator``.

    verl reduces it as it does the loss; TRL takes the mean over each micro-batch's tokens, so that
    its bonus depends on the cut. No tokens: 0.
    """
    return masked_sum(entropy_BT, loss_mask_BT, weight_BT=weight_BT)


def masked_sum(
    values_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    weight_BT: Float[Tensor, "B #T"] | None = None,
) -> Float[Tensor, ""]:
    """The sum over loss tokens; what is masked may hold anything and has no gradient."""
    values_BT = values_BT.where(loss_mask_BT, 0.0)
    if weight_BT is not None:
        values_BT = values_BT * weight_BT.detach().where(loss_mask_BT, 0.0)
    return values_BT.sum()


def _gap(
    logp_BT: Float[Tensor, "B T"],
    ref_logp_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
) -> Float[Tensor, "B T"]:
    gap_BT = ref_logp_BT.where(loss_mask_BT, 0.0) - logp_BT.where(loss_mask_BT, 0.0)
    return gap_BT.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
