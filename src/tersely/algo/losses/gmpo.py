"""GMPO: the geometric mean of ratios that are each held on the side where the advantage pushes."""

import math

from jaxtyping import Bool, Float

from tersely.algo.policy_loss import PolicyLoss, Tensor, compare, summed

# verl's ``geo_mean`` is near, but averages rows whatever the aggregation, and its bounds are of the
# log-ratio.
TRL = VERL = None


def gmpo(
    logp_BT: Float[Tensor, "B T"],
    old_logp_BT: Float[Tensor, "B T"],
    adv_B: Float[Tensor, " B"],
    loss_mask_BT: Bool[Tensor, "B T"],
    *,
    clip_low: float = 1 - math.exp(-0.4),
    clip_high: float = math.exp(0.4) - 1,
    weight_BT: Float[Tensor, "B #T"] | None = None,
    denominator: int,
) -> PolicyLoss:
    """``-sum A prod_t(held w_t)^(1/|o|) / denominator``, ``held w`` at most 1 + high if A > 0.

    If A < 0 it is at least 1 - low. Where GSPO clips the row's mean ratio as one, here a token that
    ran too far loses its own gradient and the rest of the row goes on. Every loss token carries its
    row's term; the paper's mean over rows is ``sequence_mean``. Source: arXiv:2507.20673, by verl
    0.9.1's ``geo_mean``; its bounds are e^-0.4 and e^0.4. A dropped token counts in no mean.

    Raises:
        ValueError: if ``denominator`` is not positive.
    """
    seen = compare(logp_BT, old_logp_BT, loss_mask_BT)
    adv_B1 = adv_B[:, None]
    bounded_BT = seen.ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    clipped_BT = bounded_BT * adv_B1 < seen.ratio_BT * adv_B1
    held_BT = bounded_BT.where(clipped_BT, seen.ratio_BT)
    tokens_B1 = seen.used_BT.sum(dim=1, keepdim=True).clamp(min=1)
    mean_B1 = held_BT.log().sum(dim=1, keepdim=True) / tokens_B1
    gain_BT = (mean_B1.exp() * adv_B1).expand_as(logp_BT)
    return summed(seen, gain_BT, clipped_BT, weight_BT=weight_BT, denominator=denominator)
