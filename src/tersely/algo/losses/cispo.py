"""CISPO: the clipped ratio is a weight, and no token loses its gradient."""

from jaxtyping import Bool, Float

from tersely.algo.losses import TrlLoss
from tersely.algo.policy_loss import PolicyLoss, Tensor, compare, summed

TRL = TrlLoss(
    loss_type="cispo",
    importance_sampling_level="token",
    clip_share="cispo_clip_ratio",
    upper_bound_only=True,
)
VERL = "cispo"


def cispo(
    logp_BT: Float[Tensor, "B T"],
    old_logp_BT: Float[Tensor, "B T"],
    adv_B: Float[Tensor, " B"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    clip_low: float = 1.0,
    clip_high: float = 4.0,
    adv_BT: Float[Tensor, "B T"] | None = None,
    weight_BT: Float[Tensor, "B #T"] | None = None,
    denominator: int,
) -> PolicyLoss:
    """``-sum stop_gradient(clip(w, 1 - low, 1 + high)) A logp / denominator``.

    The ratio ``w = exp(logp - old)`` is a bounded weight, so that no token ever loses its
    gradient: rare tokens whose probability rises fast go on learning. The value
    of the loss means little, its gradient is ``-clip(w) A`` on each token.

    Source: arXiv:2506.13585.

    TRL has an upper bound only, of the ratio itself (``epsilon_high``, 5 recommended); verl's are
    0.8 and 1.2 by default.

    Args:
        clip_low: 1 is no lower bound.
    Raises:
        ValueError: if ``denominator`` is not positive, or a bound is negative: on-policy tokens
            would be scaled.
    """
    if clip_low < 0 or clip_high < 0:
        raise ValueError(f"clip bounds must be at least 0, got {clip_low} and {clip_high}")
    seen = compare(logp_BT, old_logp_BT, loss_mask_BT)
    bounded_BT = seen.ratio_BT.detach().clamp(1 - clip_low, 1 + clip_high)
    own_BT = adv_B[:, None] if adv_BT is None else adv_BT
    gain_BT = bounded_BT * own_BT * logp_BT.where(seen.used_BT, 0.0)
    clipped_BT = bounded_BT != seen.ratio_BT.detach()
    return summed(seen, gain_BT, clipped_BT, weight_BT=weight_BT, denominator=denominator)
