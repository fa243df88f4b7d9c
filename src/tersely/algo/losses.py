"""Policy losses: sums over loss tokens, divided by a count that the caller supplies.

The count spans the whole update, so cutting a batch into micro-batches and adding their losses
changes neither the loss nor its gradient. In every loss

- ``loss_mask_BT`` is True on completion tokens, the stop token included; it applies before ``exp``,
  so masked entries may hold anything;
- ``weight_BT`` weighs each token, or with T = 1 each row, without gradient: this is where
  ``aggregation`` and ``truncated_importance`` come in (multiply them for both); None is 1;
- ``denominator`` is > 0 and of the whole update, never of this micro-batch: its loss tokens, or
  what the aggregation says.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# exp(20) is 5e8: far outside any clip range, far inside what float32 can hold and multiply.
LOG_RATIO_LIMIT = 20.0


class PolicyLoss(NamedTuple):
    """A loss and what is needed to average its statistics over micro-batches.

    Args:
        loss: the sum over loss tokens / denominator; 0 when there are none.
        loss_tokens: tokens that entered the sum.
        clipped_tokens: of these, the ones whose gradient the clip removed (CISPO: bounded).
        dropped_tokens: loss tokens left out because the sampler's log-prob was not finite.
        mismatch_sum: the sum of |policy - sampler| log-prob over loss tokens.
    """

    loss: Float[Tensor, ""]
    loss_tokens: int
    clipped_tokens: int
    dropped_tokens: int
    mismatch_sum: float


def ppo_clip_loss(
    logp_BT: Float[Tensor, "B T"],
    old_logp_BT: Float[Tensor, "B T"],
    adv_B: Float[Tensor, " B"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    dual_clip: float | None = None,
    weight_BT: Float[Tensor, "B #T"] | None = None,
    denominator: int,
) -> PolicyLoss:
    """``-sum min(w A, clip(w, 1 - low, 1 + high) A) / denominator``, ``w = exp(logp - old)``.

    The clipped policy loss with separate bounds; arXiv:2602.20945, Section 2, uses 0.28 above.
    With a dual clip (arXiv:1912.09729) a term of negative advantage is at most ``-c A``: a bad
    token that became much likelier no longer pulls without bound. verl applies c = 3 unless told
    otherwise; TRL has it as ``delta``, off by default, the same for ``delta >= 1 + high``.
    Log-ratios are held within +-20, beyond which the gradient is zero.

    Args:
        dual_clip: c, > 1; None is none.
    Raises:
        ValueError: if ``denominator`` is not positive, or ``dual_clip`` is not above 1.
    """
    if dual_clip is not None and not dual_clip > 1:
        raise ValueError(f"dual_clip must be above 1, got {dual_clip}; 3 is usual, None is none")
    seen = _compare(logp_BT, old_logp_BT, loss_mask_BT)
    adv_B1 = adv_B[:, None]
    free_BT = seen.ratio_BT * adv_B1
    bounded_BT = seen.ratio_BT.clamp(1 - clip_low, 1 + clip_high) * adv_B1
    gain_BT = torch.minimum(free_BT, bounded_BT)
    clipped_BT = bounded_BT < free_BT
    if dual_clip is not None:
        least_BT = (dual_clip * adv_B1).expand_as(gain_BT)
        below_BT = (adv_B1 < 0) & (gain_BT < least_BT)
        gain_BT = least_BT.where(below_BT, gain_BT)
        clipped_BT = clipped_BT | below_BT
    return _policy_loss(seen, gain_BT, clipped_BT, weight_BT=weight_BT, denominator=denominator)


def gspo_loss(
    logp_BT: Float[Tensor, "B T"],
    old_logp_BT: Float[Tensor, "B T"],
    adv_B: Float[Tensor, " B"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
    weight_BT: Float[Tensor, "B #T"] | None = None,
    denominator: int,
) -> PolicyLoss:
    """``-sum min(s A, clip(s, 1 - low, 1 + high) A) / denominator``, ``s = exp(mean log-ratio)``.

    The ratio and the clip belong to the whole row: s is the geometric mean of its tokens' ratios,
    so a row is used or clipped as one. Every loss token carries its row's term; the paper's mean
    over rows is ``aggregation.sequence_mean``. Source: arXiv:2507.18071.

    With weights that are one a row this is TRL's (``importance_sampling_level="sequence"``) and
    verl's to the last digit; with weights that differ within a row TRL spreads the gradient evenly
    over the row, as here, and verl by the weight. A dropped token counts in no mean; a row without
    loss tokens adds nothing. ``clipped_tokens`` counts all tokens of clipped rows.

    Raises:
        ValueError: if ``denominator`` is not positive.
    """
    seen = _compare(logp_BT, old_logp_BT, loss_mask_BT)
    tokens_B1 = seen.used_BT.sum(dim=1, keepdim=True).clamp(min=1)
    mean_B1 = seen.log_ratio_BT.sum(dim=1, keepdim=True) / tokens_B1
    ratio_B1 = mean_B1.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
    adv_B1 = adv_B[:, None]
    free_B1 = ratio_B1 * adv_B1
    bounded_B1 = ratio_B1.clamp(1 - clip_low, 1 + clip_high) * adv_B1
    return _policy_loss(
        seen,
        torch.minimum(free_B1, bounded_B1).expand_as(logp_BT),
        (bounded_B1 < free_B1).expand_as(logp_BT),
        weight_BT=weight_BT,
        denominator=denominator,
    )


def cispo_loss(
    logp_BT: Float[Tensor, "B T"],
    old_logp_BT: Float[Tensor, "B T"],
    adv_B: Float[Tensor, " B"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    ratio_low: float = 0.0,
    ratio_high: float = 5.0,
    weight_BT: Float[Tensor, "B #T"] | None = None,
    denominator: int,
) -> PolicyLoss:
    """``-sum stop_gradient(clip(w, low, high)) A logp / denominator``, ``w = exp(logp - old)``.

    The ratio is a bounded weight, so that no token ever loses its gradient: rare tokens whose
    probability rises fast go on learning. The value of the loss means little, its gradient is
    ``-clip(w) A`` on each token. Source: arXiv:2506.13585.

    The bounds are of the ratio itself. TRL has an upper one only and means the same by
    ``epsilon_high`` (5 recommended), verl clips to ``1 - clip_ratio_low`` and ``1 +
    clip_ratio_high``: 0.8 and 1.2 by default.

    Args:
        ratio_low: 0 is no lower bound.
        ratio_high: at least 1, else on-policy tokens would be scaled down.
    Raises:
        ValueError: if ``denominator`` is not positive, or not low <= 1 <= high.
    """
    if not ratio_low <= 1 <= ratio_high:
        raise ValueError(f"ratio bounds must lie about 1, got {ratio_low} and {ratio_high}")
    seen = _compare(logp_BT, old_logp_BT, loss_mask_BT)
    bounded_BT = seen.ratio_BT.detach().clamp(ratio_low, ratio_high)
    gain_BT = bounded_BT * adv_B[:, None] * logp_BT.where(seen.used_BT, 0.0)
    clipped_BT = bounded_BT != seen.ratio_BT.detach()
    return _policy_loss(seen, gain_BT, clipped_BT, weight_BT=weight_BT, denominator=denominator)


class Correction(NamedTuple):
    """What corrects a loss for a sampler that is not quite the policy.

    Args:
        weight_BT: for the loss; 0 off ``used_BT``.
        used_BT: the loss mask without the dropped tokens.
        dropped_tokens: loss tokens left out because the sampler's log-prob was not finite.
    """

    weight_BT: Float[Tensor, "B T"]
    used_BT: Bool[Tensor, "B T"]
    dropped_tokens: int


def truncated_importance(
    old_logp_BT: Float[Tensor, "B T"],
    sampler_logp_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    cap: float = 2.0,
) -> Correction:
    """``min(exp(old - sampler), cap)`` for each loss token, without gradient: TIS.

    For a learner that recomputes the old log-probs itself and so has two policies: its own before
    the update and the sampler's, which differ by kernels and precision. A learner that takes the
    sampler's log-probs for the old ones has this in its ratio already and must not use both.

    verl's token level has the same form (2 is usual), TRL's ``token_truncate`` too (3 by default);
    but TRL gives a token without a sampler log-prob the weight 1, where here it is dropped and
    counted. Masks apply before ``exp``; equal policies give weights of exactly 1.

    Args:
        old_logp_BT: the learner's, before the update.
        cap: at least 1, else tokens on which both agree would be scaled down.
    Raises:
        ValueError: if ``cap`` is below 1.
    """
    if not cap >= 1:
        raise ValueError(f"cap must be at least 1, got {cap}; 2 is usual")
    seen = _compare(old_logp_BT.detach(), sampler_logp_BT.detach(), loss_mask_BT)
    return Correction(
        weight_BT=seen.ratio_BT.clamp(max=cap).where(seen.used_BT, 0.0),
        used_BT=seen.used_BT,
        dropped_tokens=seen.dropped_tokens,
    )


class _LogRatios(NamedTuple):
    """Policy against sampler on the tokens that can be used; elsewhere log-ratio 0, ratio 1."""

    used_BT: Bool[Tensor, "B T"]
    log_ratio_BT: Float[Tensor, "B T"]
    ratio_BT: Float[Tensor, "B T"]
    dropped_tokens: int


def _compare(
    logp_BT: Float[Tensor, "B T"],
    old_logp_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
) -> _LogRatios:
    used_BT = loss_mask_BT & old_logp_BT.isfinite()
    log_ratio_BT = logp_BT.where(used_BT, 0.0) - old_logp_BT.where(used_BT, 0.0)
    return _LogRatios(
        used_BT=used_BT,
        log_ratio_BT=log_ratio_BT,
        ratio_BT=log_ratio_BT.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp(),
        dropped_tokens=int((loss_mask_BT & ~used_BT).sum()),
    )


def _policy_loss(
    seen: _LogRatios,
    gain_BT: Float[Tensor, "B T"],
    clipped_BT: Bool[Tensor, "B T"],
    *,
    weight_BT: Float[Tensor, "B #T"] | None,
    denominator: int,
) -> PolicyLoss:
    if not denominator > 0:
        raise ValueError(f"denominator must be positive, got {denominator}")
    if weight_BT is not None:
        # The mask goes before the product: off the mask a weight may be NaN.
        gain_BT = gain_BT * weight_BT.detach().where(seen.used_BT, 0.0)
    return PolicyLoss(
        loss=-gain_BT.where(seen.used_BT, 0.0).sum() / denominator,
        loss_tokens=int(seen.used_BT.sum()),
        clipped_tokens=int((clipped_BT & seen.used_BT).sum()),
        dropped_tokens=seen.dropped_tokens,
        mismatch_sum=float(seen.log_ratio_BT.detach().abs().sum()),
    )
