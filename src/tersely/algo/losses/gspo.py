"""GSPO: one ratio and one clip for the whole row."""

from jaxtyping import Bool, Float

from tersely.algo.losses import TrlLoss
from tersely.algo.policy_loss import LOG_RATIO_LIMIT, PolicyLoss, Tensor, compare, summed

TRL = TrlLoss(loss_type="dapo", importance_sampling_level="sequence")
VERL = "gspo"


def gspo(
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
    over rows is ``sequence_mean``. Source: arXiv:2507.18071.

    With weights that are one a row this is TRL's (``importance_sampling_level="sequence"``) and
    verl's to the last digit; with weights that differ within a row TRL spreads the gradient evenly
    over the row, as here, and verl by the weight. A dropped token counts in no mean; a row without
    loss tokens adds nothing. ``clipped_tokens`` counts all tokens of clipped rows.

    Raises:
        ValueError: if ``denominator`` is not positive.
    """
    seen = compare(logp_BT, old_logp_BT, loss_mask_BT)
    tokens_B1 = seen.used_BT.sum(dim=1, keepdim=True).clamp(min=1)
    mean_B1 = seen.log_ratio_BT.sum(dim=1, keepdim=True) / tokens_B1
    ratio_B1 = mean_B1.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
    adv_B1 = adv_B[:, None]
    free_B1 = ratio_B1 * adv_B1
    bounded_B1 = ratio_B1.clamp(1 - clip_low, 1 + clip_high) * adv_B1
    return summed(
        seen,
        free_B1.minimum(bounded_B1).expand_as(logp_BT),
        (bounded_B1 < free_B1).expand_as(logp_BT),
        weight_BT=weight_BT,
        denominator=denominator,
    )
