"""The correction of a loss for a sampler that is not quite the policy: truncated importance."""

from typing import NamedTuple

from jaxtyping import Bool, Float

from tersely.algo.policy_loss import Tensor, compare


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
    seen = compare(old_logp_BT.detach(), sampler_logp_BT.detach(), loss_mask_BT)
    return Correction(
        weight_BT=seen.ratio_BT.clamp(max=cap).where(seen.used_BT, 0.0),
        used_BT=seen.used_BT,
        dropped_tokens=seen.dropped_tokens,
    )
