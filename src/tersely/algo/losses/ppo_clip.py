"""PPO's clip, with bounds of its own above and below."""

from jaxtyping import Bool, Float

from tersely.algo.losses import TrlLoss
from tersely.algo.policy_loss import PolicyLoss, Tensor, compare, summed

TRL = TrlLoss(loss_type="dapo", importance_sampling_level="token")
VERL = "vanilla"


def ppo_clip(
    logp_BT: Float[Tensor, "B T"],
    old_logp_BT: Float[Tensor, "B T"],
    adv_B: Float[Tensor, " B"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    dual_clip: float | None = None,
    adv_BT: Float[Tensor, "B T"] | None = None,
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
    seen = compare(logp_BT, old_logp_BT, loss_mask_BT)
    own_BT = adv_B[:, None] if adv_BT is None else adv_BT
    free_BT = seen.ratio_BT * own_BT
    bounded_BT = seen.ratio_BT.clamp(1 - clip_low, 1 + clip_high) * own_BT
    gain_BT = free_BT.minimum(bounded_BT)
    clipped_BT = bounded_BT < free_BT
    if dual_clip is not None:
        least_BT = (dual_clip * own_BT).expand_as(gain_BT)
        below_BT = (own_BT < 0) & (gain_BT < least_BT)
        gain_BT = least_BT.where(below_BT, gain_BT)
        clipped_BT = clipped_BT | below_BT
    return summed(seen, gain_BT, clipped_BT, weight_BT=weight_BT, denominator=denominator)
