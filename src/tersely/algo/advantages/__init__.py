"""Floor 1: from what the task pays to what the loss uses, one published advantage a file.

An advantage is found by its file: ``advantages/leave_one_out.py`` holds ``leave_one_out`` and a
recipe says ``leave_one_out``. It sees all groups of a step at once, ``(rewards_N, keep_N, layout)
-> adv_N`` in float64 over flat arrays of N rollouts, and gives masked rollouts 0. Keyword-only
arguments are what a recipe may set, but for ``right_N`` and ``mask_scope``, which the flow hands to
those that take them. A file may declare ``TRAITS: frozenset[AdvantageTrait]`` beside its function:
what others must know of it to judge a recipe.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from inspect import signature
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.ragged import Ragged
from tersely.core import lookup

Advantage: TypeAlias = Callable[..., Float[np.ndarray, " N"]]


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


class AdvantageTrait(StrEnum):
    """What an advantage's file may declare.

    PER_STD: rewards are divided by their group's spread, so rare ones weigh more.
    PUSHES_ALONE: a group of equal rewards is pushed too.
    """

    PER_STD = "per std"
    PUSHES_ALONE = "pushes alone"


# What the flow hands to those that take it; a recipe sets the other keyword arguments.
GIVEN = frozenset({"right_N", "mask_scope"})


class StepArrays(NamedTuple):
    """A step's rollouts, group after group: reward, kept by the loss, right by the verifier."""

    rewards_N: Float[np.ndarray, " N"]
    keep_N: Bool[np.ndarray, " N"]
    right_N: Bool[np.ndarray, " N"]


def available() -> list[str]:
    """The names of all advantages, sorted: the files of this folder."""
    return lookup.names(__name__)


def load(name: str) -> Advantage:
    """The advantage of the file ``name``; ConfigError if there is none."""
    return lookup.load(__name__, name)


def traits(name: str) -> frozenset[AdvantageTrait]:
    """What the advantage declares of itself; ConfigError if unknown."""
    return frozenset(lookup.declared(__name__, name, "TRAITS", ()))


def check(name: str, settings: Mapping[str, object]) -> None:
    """ConfigError unless the advantage ``name`` takes exactly these ``settings``, in bounds."""
    lookup.check_settings(load(name), settings, section="advantage", given=GIVEN)
    trial = StepArrays(np.array([1.0, 0.0]), np.ones(2, dtype=bool), np.array([True, False]))
    advantages_of(name, trial, Ragged(np.array([2])), **settings)


def advantages_of(
    name: str, step: StepArrays, layout: Ragged, **settings: object
) -> Float[np.ndarray, " N"]:
    """The advantages that the function ``name`` gives, with its ``settings``."""
    function = load(name)
    if "right_N" in signature(function).parameters:
        settings["right_N"] = step.right_N
    return function(step.rewards_N, step.keep_N, layout, **settings)
