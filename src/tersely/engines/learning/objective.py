"""What an update minimises: a policy loss, its aggregation, and what is added to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from tersely.algo.aggregations import Aggregate
from tersely.algo.aggregations.token_mean import token_mean
from tersely.algo.importance import truncated_importance
from tersely.algo.kl import entropy_sum, kl_k3
from tersely.algo.losses.ppo_clip import ppo_clip
from tersely.algo.policy_loss import PolicyLoss
from tersely.engines.learning.rows import MicroBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """``policy loss + kl_coef * KL - entropy_coef * entropy``, all aggregated alike.

    Args:
        policy: one of ``algo.losses``, its bounds set or at their defaults.
        aggregate: ``(tokens_B, group_B) -> Aggregation`` over all rows of an update.
        kl: the estimator of KL(policy, reference).
        kl_coef: its weight; 0 only reports it.
        entropy_coef: reward per nat of the policy's entropy.
        importance_cap: bound C of the weight min(learner / sampler, C) on each token, the
            correction of a sampler that is not quite the policy; None: the sampler's log-probs
            are taken for the old policy's.
    """

    policy: Callable[..., PolicyLoss] = ppo_clip
    aggregate: Aggregate = token_mean
    kl: Callable[..., Float[Tensor, ""]] = kl_k3
    kl_coef: float = 0.0
    entropy_coef: float = 0.0
    importance_cap: float | None = None

    @property
    def moves_without_advantage(self) -> bool:
        """Whether a row of zero advantage has a gradient."""
        return self.kl_coef > 0 or self.entropy_coef != 0


class BatchLoss(NamedTuple):
    """One micro-batch's share of the update's loss, and what its statistics are made of.

    Args:
        mismatch_sum: |learner - sampler| log-prob over the loss tokens.
        kl_sum: the estimator over the loss tokens, unweighted; 0 without a reference.
    """

    loss: Float[Tensor, ""]
    loss_tokens: int
    clipped_tokens: int
    dropped_tokens: int
    mismatch_sum: float
    kl_sum: float


def batch_loss(
    objective: Objective,
    batch: MicroBatch,
    *,
    logp_BT: Float[Tensor, "B T"],
    entropy_BT: Float[Tensor, "B T"] | None = None,
    ref_logp_BT: Float[Tensor, "B T"] | None = None,
    denominator: int,
) -> BatchLoss:
    """The micro-batch's summand of the update's loss.

    Args:
        logp_BT: the policy's, with gradient.
        entropy_BT: the policy's entropy at each token; only an entropy term needs it.
        ref_logp_BT: the reference's; None: no KL.
        denominator: of the whole update, from the aggregation.
    """
    mask_BT, row_weight_B1 = batch.loss_mask_BT, batch.weight_B[:, None]
    old_BT, weight_BT, dropped = batch.sampler_logp_BT, row_weight_B1, 0
    if objective.importance_cap is not None:
        old_BT = logp_BT.detach() if batch.old_logp_BT is None else batch.old_logp_BT
        corrected = truncated_importance(
            old_BT, batch.sampler_logp_BT, mask_BT, cap=objective.importance_cap
        )
        mask_BT, dropped = corrected.used_BT, corrected.dropped_tokens
        weight_BT = corrected.weight_BT * row_weight_B1
    credited = {} if batch.adv_BT is None else {"adv_BT": batch.adv_BT}
    policy = objective.policy(
        logp_BT,
        old_BT,
        batch.adv_B,
        mask_BT,
        weight_BT=weight_BT,
        denominator=denominator,
        **credited,
    )
    loss, kl_sum = policy.loss, 0.0
    if ref_logp_BT is not None:
        kl_sum = float(objective.kl(logp_BT.detach(), ref_logp_BT, batch.loss_mask_BT))
    if ref_logp_BT is not None and objective.kl_coef > 0:
        kl = objective.kl(logp_BT, ref_logp_BT, batch.loss_mask_BT, weight_BT=row_weight_B1)
        loss = loss + objective.kl_coef * kl / denominator
    if entropy_BT is not None and objective.entropy_coef != 0:
        entropy = entropy_sum(entropy_BT, batch.loss_mask_BT, weight_BT=row_weight_B1)
        loss = loss - objective.entropy_coef * entropy / denominator
    used_BT = mask_BT & batch.sampler_logp_BT.isfinite()
    gap_BT = (logp_BT.detach() - batch.sampler_logp_BT).where(used_BT, 0.0)
    return BatchLoss(
        loss=loss,
        loss_tokens=policy.loss_tokens,
        clipped_tokens=policy.clipped_tokens,
        dropped_tokens=policy.dropped_tokens + dropped,
        mismatch_sum=float(gap_BT.abs().sum()),
        kl_sum=kl_sum,
    )
