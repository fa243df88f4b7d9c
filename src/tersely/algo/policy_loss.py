"""What every policy loss is made of: a sum over loss tokens, divided by a count of the caller's.

The count spans the whole update, so cutting a batch into micro-batches and adding their losses
changes neither the loss nor its gradient. In every loss

- ``loss_mask_BT`` is True on completion tokens, the stop token included; it applies before ``exp``,
  so masked entries may hold anything;
- ``adv_BT``, in the losses that take it, gives each token an advantage of its own in place of its
  row's; with the row's on every token it changes nothing, to the bit;
- ``weight_BT`` weighs each token, or with T = 1 each row, without gradient: this is where
  ``aggregations`` and ``truncated_importance`` come in (multiply them for both); None is 1;
- ``denominator`` is > 0 and of the whole update, never of this micro-batch: its loss tokens, or
  what the aggregation says.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Bool, Float

if TYPE_CHECKING:
    from torch import Tensor as Tensor
else:
    # Recipes and lint read what a loss declares and start without torch.
    Tensor = Any

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


class LogRatios(NamedTuple):
    """Policy against sampler on the tokens that can be used; elsewhere log-ratio 0, ratio 1."""

    used_BT: Bool[Tensor, "B T"]
    log_ratio_BT: Float[Tensor, "B T"]
    ratio_BT: Float[Tensor, "B T"]
    dropped_tokens: int


def compare(
    logp_BT: Float[Tensor, "B T"],
    old_logp_BT: Float[Tensor, "B T"],
    loss_mask_BT: Bool[Tensor, "B T"],
) -> LogRatios:
    """The ratios of policy to sampler; masked tokens and missing log-probs are left out."""
    used_BT = loss_mask_BT & old_logp_BT.isfinite()
    log_ratio_BT = logp_BT.where(used_BT, 0.0) - old_logp_BT.where(used_BT, 0.0)
    return LogRatios(
        used_BT=used_BT,
        log_ratio_BT=log_ratio_BT,
        ratio_BT=log_ratio_BT.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp(),
        dropped_tokens=int((loss_mask_BT & ~used_BT).sum()),
    )


def summed(
    seen: LogRatios,
    gain_BT: Float[Tensor, "B T"],
    clipped_BT: Bool[Tensor, "B T"],
    *,
    weight_BT: Float[Tensor, "B #T"] | None,
    denominator: int,
) -> PolicyLoss:
    """``-sum of weight * gain over the used tokens / denominator``, and the counts beside it.

    Raises:
        ValueError: if ``denominator`` is not positive.
    """
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
