"""From what the task pays to what the loss uses, one group at a time.

Each function is ``(rewards_G, keep_G) -> adv_G`` in float64 and gives masked rollouts 0. No
epsilon is added to a std: rewards that differ by rounding alone count as equal, and equal rewards
have zero advantage. TRL 1.16 adds 1e-4, verl 0.9.1 adds 1e-6. ``batches.py`` has the same functions
over all groups of a step at once.
"""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float

# Rewards closer than this, relative to the largest, are one reward seen through rounding.
SAME_REWARD = 1e-9


class MaskScope(StrEnum):
    """Whether a rollout that is masked out of the loss still counts in its group's mean and std.

    arXiv:2602.20945 masks cells of its Table 1 and does not say which of the two it means. The
    default is EVERYWHERE: as if the masked rollouts had not been sampled, so that the kept ones
    have mean zero and push the policy in no direction on the whole. Under LOSS_ONLY the
    kept ones alone need not have mean zero: with every wrong rollout masked, all advantages left
    are positive. A masked rollout whose reward is not finite (it was not graded) counts in neither.
    """

    LOSS_ONLY = "loss-only"
    EVERYWHERE = "everywhere"


def counted(
    rewards_G: Float[np.ndarray, " G"],
    keep_G: Bool[np.ndarray, " G"],
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Bool[np.ndarray, " G"]:
    """Which rollouts enter mean and std; of one group, or of a flat batch.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    finite_G = np.isfinite(rewards_G)
    if not finite_G[keep_G].all():
        bad = rewards_G[keep_G & ~finite_G].tolist()
        raise ValueError(f"kept rewards must be finite, got {bad}")
    return keep_G if mask_scope is MaskScope.EVERYWHERE else finite_G


def unbaselined(
    rewards_G: Float[np.ndarray, " G"],
    keep_G: Bool[np.ndarray, " G"],
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " G"]:
    """``A_i = r_i``: what on-policy SFT (arXiv:2602.13407) and DRPO's weights ask for.

    The one advantage that is not zero in a group of equal rewards. ``mask_scope`` changes nothing,
    there being no mean.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    counted(rewards_G, keep_G, mask_scope=mask_scope)
    return np.where(keep_G, rewards_G, 0.0)


def group_centred(
    rewards_G: Float[np.ndarray, " G"],
    keep_G: Bool[np.ndarray, " G"],
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " G"]:
    """``A_i = r_i - mean`` over the group: Dr. GRPO's, without the std.  Source: arXiv:2503.20783.

    Dr. GRPO's other half is the constant normaliser, ``aggregation.constant``. A group of one, of
    equal rewards or with nothing kept has zero advantage; verl's pays a group of one its reward.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    counted_G = counted(rewards_G, keep_G, mask_scope=mask_scope)
    return np.where(keep_G, _gap(rewards_G, counted_G), 0.0)


def group_normalised(
    rewards_G: Float[np.ndarray, " G"],
    keep_G: Bool[np.ndarray, " G"],
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " G"]:
    """``A_i = (r_i - mean) / std`` over the group, population std.

    Source: arXiv:2602.20945, Appendix D, which names the normalisation and prints no formula.
    {1, 0, 0, 0} pays its one success exactly sqrt(3), {1, 1, 1, 0} each of its three 1/sqrt(3). A
    group of one, of equal rewards or with nothing kept has zero advantage.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    return _over_std(rewards_G, keep_G, mask_scope=mask_scope, spare=0)


def group_normalised_sample(
    rewards_G: Float[np.ndarray, " G"],
    keep_G: Bool[np.ndarray, " G"],
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " G"]:
    """``A_i = (r_i - mean) / std`` over the group, sample std (divided by n - 1).

    TRL's and verl's GRPO but for their epsilon: smaller than ``group_normalised`` by
    sqrt((n - 1) / n), so {1, 0, 0, 0} pays 1.5. A group of one, of equal rewards or with nothing
    kept has zero advantage; verl's pays a group of one its reward.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    return _over_std(rewards_G, keep_G, mask_scope=mask_scope, spare=1)


def leave_one_out(
    rewards_G: Float[np.ndarray, " G"],
    keep_G: Bool[np.ndarray, " G"],
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " G"]:
    """``A_i = r_i - mean of the others = n / (n - 1) * (r_i - mean)``: RLOO.

    Source: arXiv:2402.14740. A group of one, of equal rewards or with nothing kept has zero
    advantage. So it has in TRL and in verl's ``rloo_vectorized``; verl's ``rloo`` pays a group
    of one its reward.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    counted_G = counted(rewards_G, keep_G, mask_scope=mask_scope)
    rollouts = int(counted_G.sum())
    factor = rollouts / max(rollouts - 1, 1)
    return np.where(keep_G, factor * _gap(rewards_G, counted_G), 0.0)


def difficulty_weight(
    accuracy: float | Float[np.ndarray, "..."],
) -> Float[np.ndarray, "..."]:
    """``0.4 + 1.1 / (1 + exp(10 (accuracy - 0.75)))``: 1.5 where nothing is solved, 0.48 where all.

    Source: the code of GRPO-LEAD, arXiv:2504.09696.
    """
    return np.asarray(0.4 + 1.1 / (1 + np.exp(10 * (np.asarray(accuracy) - 0.75))))


def difficulty_reweighted(
    rewards_G: Float[np.ndarray, " G"],
    keep_G: Bool[np.ndarray, " G"],
    *,
    right_G: Bool[np.ndarray, " G"] | None = None,
    positive_only: bool = False,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " G"]:
    """``group_normalised`` times ``w(accuracy)`` if positive, ``w(1 - accuracy)`` if negative.

    With ``w = difficulty_weight`` a success on a hard problem pushes up to three times as hard as
    one on an easy problem, and a failure on an easy one up to three times as hard as one on a hard
    one. The kept rollouts' mean is therefore no longer zero. Source: the code of GRPO-LEAD,
    arXiv:2504.09696, which uses the sample std. A group of one, of equal rewards or with nothing
    kept has zero advantage; in that code a group of one has its reward times the weight.

    Args:
        right_G: which rollouts are right; accuracy is their share of those that count in the mean.
            None: those of positive reward, as in that code.
        positive_only: leave negative advantages as they are.
    Raises:
        ValueError: if a kept reward is not finite.
    """
    adv_G = group_normalised(rewards_G, keep_G, mask_scope=mask_scope)
    counted_G = counted(rewards_G, keep_G, mask_scope=mask_scope)
    if not counted_G.any():
        return adv_G
    right_G = rewards_G > 0 if right_G is None else right_G
    accuracy = float(right_G[counted_G].mean())
    below = 1.0 if positive_only else difficulty_weight(1 - accuracy)
    return adv_G * np.where(adv_G > 0, difficulty_weight(accuracy), below)


def decoupled_normalised(
    terms: Mapping[str, Float[np.ndarray, " G"]],
    keep_G: Bool[np.ndarray, " G"],
    *,
    weights: Mapping[str, float] | None = None,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " G"]:
    """``A_i = sum over terms of weight * group_normalised(term)_i``: normalise, then sum.

    Summed first, a term that varies little (a length bonus) vanishes beside one that varies much;
    normalised first, each has unit std and the weights alone say which counts more. Mind
    that this also blows up a length term among answers of nearly equal length. Source:
    arXiv:2601.05242 (GDPO), whose last step is ``batches.batch_scaled``; TRL and verl use the
    sample std here. A term that is equal in the whole group adds nothing; a group of one has zero
    advantage.

    Args:
        weights: of each term; 1 for all where None.
    Raises:
        ValueError: if the weights are not of just these terms, or a kept reward is not finite.
    """
    adv_G = np.zeros(keep_G.shape, dtype=np.float64)
    for name, weight in weights_of(terms, weights).items():
        adv_G += weight * group_normalised(terms[name], keep_G, mask_scope=mask_scope)
    return adv_G


def weights_of(
    terms: Mapping[str, Float[np.ndarray, " G"]], weights: Mapping[str, float] | None
) -> dict[str, float]:
    """A weight for each of ``terms``; ValueError if ``weights`` names others or leaves one out."""
    if weights is not None and set(weights) != set(terms):
        raise ValueError(f"weights of {sorted(weights)} for the terms {sorted(terms)}; name each")
    return dict(weights) if weights is not None else dict.fromkeys(terms, 1.0)


def _gap(
    rewards_G: Float[np.ndarray, " G"], counted_G: Bool[np.ndarray, " G"]
) -> Float[np.ndarray, " G"]:
    """Rewards less the counted ones' mean; zeros where these are equal. Undefined off them."""
    seen_G = rewards_G[counted_G].astype(np.float64)
    if seen_G.size == 0 or np.ptp(seen_G) <= SAME_REWARD * np.abs(seen_G).max():
        return np.zeros(rewards_G.shape, dtype=np.float64)
    return rewards_G.astype(np.float64) - float(seen_G.mean())


def _over_std(
    rewards_G: Float[np.ndarray, " G"],
    keep_G: Bool[np.ndarray, " G"],
    *,
    mask_scope: MaskScope,
    spare: int,
) -> Float[np.ndarray, " G"]:
    counted_G = counted(rewards_G, keep_G, mask_scope=mask_scope)
    gap_G = np.where(counted_G, _gap(rewards_G, counted_G), 0.0)
    if not gap_G.any():
        return gap_G
    std = float(np.sqrt((gap_G**2).sum() / (counted_G.sum() - spare)))
    return np.where(keep_G, gap_G / std, 0.0)
