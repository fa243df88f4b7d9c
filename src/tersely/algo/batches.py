"""Advantages of all groups of a step at once: the functions of ``advantages.py`` without a loop.

Each is ``(rewards_N, keep_N, layout) -> adv_N`` over flat arrays of N rollouts. The group functions
are the reference that tests hold these to; ``batch_scaled`` and ``batch_normalised`` exist only
here, because they look across groups.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo import advantages
from tersely.algo.advantages import (
    SAME_REWARD,
    MaskScope,
    counted,
    difficulty_weight,
    weights_of,
)
from tersely.algo.ragged import Ragged
from tersely.core.errors import ConfigError
from tersely.core.lookup import check_settings


class _Centred(NamedTuple):
    """Rewards less their group's mean (0 off the counted ones), and what that was taken over."""

    gap_N: Float[np.ndarray, " N"]
    counted_N: Bool[np.ndarray, " N"]
    count_P: Float[np.ndarray, " P"]


def unbaselined(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``advantages.unbaselined`` of every group."""
    layout.split(rewards_N)  # refuses a layout that does not fit
    return advantages.unbaselined(rewards_N, keep_N, mask_scope=mask_scope)


def group_centred(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``advantages.group_centred`` of every group."""
    return np.where(keep_N, _centred(rewards_N, keep_N, layout, mask_scope).gap_N, 0.0)


def group_normalised(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``advantages.group_normalised`` of every group: population std."""
    return _over_std(rewards_N, keep_N, layout, mask_scope, spare=0)


def group_normalised_sample(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``advantages.group_normalised_sample`` of every group: sample std."""
    return _over_std(rewards_N, keep_N, layout, mask_scope, spare=1)


def leave_one_out(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``advantages.leave_one_out`` of every group."""
    centred = _centred(rewards_N, keep_N, layout, mask_scope)
    factor_P = centred.count_P / np.maximum(centred.count_P - 1, 1)
    return np.where(keep_N, centred.gap_N * layout.spread(factor_P), 0.0)


def difficulty_reweighted(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    right_N: Bool[np.ndarray, " N"] | None = None,
    positive_only: bool = False,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``advantages.difficulty_reweighted`` of every group."""
    adv_N = group_normalised(rewards_N, keep_N, layout, mask_scope=mask_scope)
    counted_N = counted(rewards_N, keep_N, mask_scope=mask_scope)
    right_N = rewards_N > 0 if right_N is None else right_N
    accuracy_P = layout.sums(right_N & counted_N) / np.maximum(layout.sums(counted_N), 1)
    below_P = np.ones_like(accuracy_P) if positive_only else difficulty_weight(1 - accuracy_P)
    above_N = layout.spread(difficulty_weight(accuracy_P))
    return adv_N * np.where(adv_N > 0, above_N, layout.spread(below_P))


def decoupled_normalised(
    terms: Mapping[str, Float[np.ndarray, " N"]],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    weights: Mapping[str, float] | None = None,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``advantages.decoupled_normalised`` of every group; ``batch_scaled`` of it is all of GDPO."""
    adv_N = np.zeros(keep_N.shape, dtype=np.float64)
    for name, weight in weights_of(terms, weights).items():
        adv_N += weight * group_normalised(terms[name], keep_N, layout, mask_scope=mask_scope)
    return adv_N


def decoupled(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    right_N: Bool[np.ndarray, " N"],
    length_weight: float = 1.0,
    scaled: bool = False,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``decoupled_normalised`` of two terms: correctness, and what the reward adds to it.

    The terms are ``right`` (0 or 1, weight 1) and ``reward - right``. In a group that is all
    right or all wrong the length term alone is left.

    Args:
        length_weight: of the second term, >= 0.
        scaled: divide by the batch's root mean square at the end, as GDPO does.
    Raises:
        ConfigError: the weight is out of bounds.
    """
    if not 0 <= length_weight < np.inf:
        raise ConfigError(
            f"advantage.length_weight = {length_weight:g} is not in [0, inf); set one that is"
        )
    known_N = np.isfinite(rewards_N)
    correct_N = np.where(known_N, right_N.astype(np.float64), np.nan)
    adv_N = decoupled_normalised(
        {"correctness": correct_N, "length": rewards_N - correct_N},
        keep_N,
        layout,
        weights={"correctness": 1.0, "length": length_weight},
        mask_scope=mask_scope,
    )
    return batch_scaled(adv_N, keep_N) if scaled else adv_N


def batch_scaled(
    adv_N: Float[np.ndarray, " N"], keep_N: Bool[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """``A_i / sqrt(mean of A^2 over the kept rollouts of the batch)``; zeros stay zeros.

    The last step of GDPO, arXiv:2601.05242. For advantages that already have mean zero this is the
    batch's population std. No mean is subtracted, so that a group without signal keeps zero. TRL
    subtracts the mean over rollouts, verl the mean over *tokens*, and both use the sample std.
    """
    kept = max(int(keep_N.sum()), 1)
    scale = np.sqrt((adv_N[keep_N] ** 2).sum() / kept)
    return np.where(keep_N, adv_N / scale, 0.0) if scale > 0 else np.zeros_like(adv_N)


def batch_normalised(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    *,
    mask_scope: MaskScope = MaskScope.EVERYWHERE,
) -> Float[np.ndarray, " N"]:
    """``A_i = (r_i - group mean) / batch std``: REINFORCE++ with the group's baseline; DLER's.

    The std is the population's, of ``r_i - group mean`` over all rollouts of the batch that
    count, those of groups without signal included; its mean is zero by construction. An
    all-wrong group, a group of one and a batch without signal have zero advantage.

    Source: arXiv:2501.03262 names the method. verl whitens over *tokens*: it subtracts the
    token-weighted batch mean and divides by the token-weighted sample std. As long answers are
    mostly the wrong ones, that mean is mostly negative and an all-wrong group gets a positive
    advantage. TRL's ``scale_rewards="batch"`` divides by the sample std of the rewards themselves,
    which holds the spread between problems too.

    Raises:
        ValueError: if a kept reward is not finite.
    """
    centred = _centred(rewards_N, keep_N, layout, mask_scope)
    scaled_N = batch_scaled(centred.gap_N, centred.counted_N)
    return np.where(keep_N, scaled_N, 0.0)


def _centred(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    mask_scope: MaskScope,
) -> _Centred:
    counted_N = counted(rewards_N, keep_N, mask_scope=mask_scope)
    count_P = layout.sums(counted_N)
    mean_P = layout.sums(np.where(counted_N, rewards_N, 0.0)) / np.maximum(count_P, 1)
    low_P = layout.minima(np.where(counted_N, rewards_N, np.inf))
    high_P = layout.maxima(np.where(counted_N, rewards_N, -np.inf))
    differs_P = high_P - low_P > SAME_REWARD * np.maximum(np.abs(low_P), np.abs(high_P))
    signal_N = counted_N & layout.spread(differs_P)
    return _Centred(
        gap_N=np.where(signal_N, rewards_N - layout.spread(mean_P), 0.0),
        counted_N=counted_N,
        count_P=count_P,
    )


def _over_std(
    rewards_N: Float[np.ndarray, " N"],
    keep_N: Bool[np.ndarray, " N"],
    layout: Ragged,
    mask_scope: MaskScope,
    *,
    spare: int,
) -> Float[np.ndarray, " N"]:
    centred = _centred(rewards_N, keep_N, layout, mask_scope)
    squares_P = layout.sums(centred.gap_N**2)
    std_P = np.sqrt(squares_P / np.maximum(centred.count_P - spare, 1))
    std_P[squares_P == 0] = 1.0
    return np.where(keep_N, centred.gap_N / layout.spread(std_P), 0.0)


# What a recipe may name: all take every group of the step at once.
ADVANTAGES: dict[str, Callable[..., Float[np.ndarray, " N"]]] = {
    function.__name__: function
    for function in (
        group_normalised,
        group_normalised_sample,
        group_centred,
        leave_one_out,
        difficulty_reweighted,
        batch_normalised,
        decoupled,
        unbaselined,
    )
}
# What the flow hands to those that take it; a recipe sets the other keyword arguments.
GIVEN = frozenset({"right_N", "mask_scope"})


def check(name: str, settings: Mapping[str, object]) -> None:
    """ConfigError unless the advantage ``name`` takes exactly these ``settings``, in bounds."""
    if name not in ADVANTAGES:
        raise ConfigError(
            f"advantage.name = {name!r} is none of {', '.join(ADVANTAGES)}; use one of them"
        )
    check_settings(ADVANTAGES[name], settings, section="advantage", given=GIVEN)
    trial = StepArrays(np.array([1.0, 0.0]), np.ones(2, dtype=bool), np.array([True, False]))
    advantages_of(name, trial, Ragged(np.array([2])), **settings)


class StepArrays(NamedTuple):
    """A step's rollouts, group after group: reward, kept by the loss, right by the verifier."""

    rewards_N: Float[np.ndarray, " N"]
    keep_N: Bool[np.ndarray, " N"]
    right_N: Bool[np.ndarray, " N"]


def advantages_of(
    name: str, step: StepArrays, layout: Ragged, **settings: object
) -> Float[np.ndarray, " N"]:
    """The advantages that the function ``name`` gives, with its ``settings``."""
    function = ADVANTAGES[name]
    if "right_N" in signature(function).parameters:
        settings["right_N"] = step.right_N
    return function(step.rewards_N, step.keep_N, layout, **settings)
