"""Floor 1: one published length-aware reward a file; pure numpy functions of a ``GroupView``.

A reward is found by its file: ``rewards/truncation.py`` holds ``truncation`` and a recipe says
``truncation``. Its keyword-only arguments are what a recipe may set. A group holds at least one
rollout, and every length is counted in tokens, stop token included.

Groups of one size are paid in one call: arrays are then (P, G), and the group's numbers (P, 1). So
a reward takes means and extremes over the last axis (``axis=-1, keepdims=True``) and chooses with
``np.where``; a law test compares the two for every file.

A file may declare beside its function:

``NEEDS: frozenset[str]``
    The fields of ``GroupView`` that the reward cannot do without; it raises ValueError when one
    of them is NaN or None. No declaration: it needs none.
``TAKES: frozenset[str]``
    Fields that it looks at where they are given, and does without elsewhere.
``EXCEPTIONS: Mapping[str, str]``
    The laws that the method breaks on purpose, each with the source that wants it. The laws
    compare the rollouts of one group: ``correct_pays_no_less``, a right rollout never gets less
    than a wrong one of the same length; ``shorter_pays_no_less``, of two right ones the longer
    never gets more. No declaration: it keeps both.
``TRAITS: frozenset[Trait]``
    What else others must know of it to judge a recipe. No declaration: nothing.

``idle(*, samples, cap_tokens, **settings) -> str``
    Why its rule on lengths can never act in groups of so many rollouts, of so many tokens at most,
    and what would let it; empty where it can. No such function: it always can.

The type of an argument holds its bounds, ``Annotated[float, Ge(0)]``, and a recipe is checked
against them when it is read. A bound that depends on another argument is a call of ``bounded``.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.core import lookup
from tersely.core.errors import ConfigError
from tersely.core.types import GroupView

Reward: TypeAlias = Callable[..., Float[np.ndarray, "... G"]]

# Fields of a ``GroupView`` that stand in the problem file.
REFERENCES = frozenset({"reference_tokens", "reference_accuracy"})

# A right, a long right, a wrong and a cut rollout, with every field known: on it, a reward
# refuses settings that contradict each other.
_TRIAL = GroupView(
    correct_G=np.array([True, True, False, False]),
    tokens_G=np.array([10, 40, 20, 50]),
    finished_G=np.array([True, True, True, False]),
    formatted_G=np.array([True, True, True, False]),
    target_tokens=30.0,
    cap_tokens=50.0,
    weight=0.5,
    reference_tokens=25.0,
    reference_accuracy=0.5,
    thought_G=np.array([False, True, True, True]),
    thinking_G=np.array([0, 30, 10, 50]),
    first_right_G=np.array([8, 20, 20, 50]),
)


class Trait(StrEnum):
    """What a reward's file may declare of how it pays.

    FEW_KINDS: each rollout is paid by itself, whatever else its group holds, one of a few amounts.
    NOTHING_BEYOND_TARGET: a rollout longer than the target gets 0, right or wrong.
    VERDICT_ONLY: right rollouts of a group are paid alike, and wrong ones too.
    CELLS: it pays four cells, right or wrong and within the target or beyond it, which
        ``treatment.cells`` may pay otherwise.
    """

    FEW_KINDS = "few kinds"
    NOTHING_BEYOND_TARGET = "nothing beyond the target"
    VERDICT_ONLY = "verdict only"
    CELLS = "cells"


def available() -> list[str]:
    """The names of all rewards, sorted: the files of this folder."""
    return lookup.names(__name__)


def load(name: str) -> Reward:
    """The reward function of the file ``name``; ConfigError if there is none."""
    return lookup.load(__name__, name)


def needs(name: str) -> frozenset[str]:
    """The fields of ``GroupView`` that the reward cannot do without; ConfigError if unknown."""
    return frozenset(lookup.declared(__name__, name, "NEEDS", ()))


def takes(name: str) -> frozenset[str]:
    """The fields of ``GroupView`` that the reward uses where given; ConfigError if unknown."""
    return frozenset(lookup.declared(__name__, name, "TAKES", ()))


def exceptions(name: str) -> Mapping[str, str]:
    """The laws that the reward breaks on purpose: law to source; ConfigError if unknown."""
    return MappingProxyType(dict(lookup.declared(__name__, name, "EXCEPTIONS", {})))


def traits(name: str) -> frozenset[Trait]:
    """What the reward declares of how it pays; ConfigError if unknown."""
    return frozenset(lookup.declared(__name__, name, "TRAITS", ()))


def check(name: str, settings: Mapping[str, object]) -> None:
    """ConfigError unless the reward ``name`` takes exactly these ``settings``, all in bounds."""
    load(name)(_TRIAL, **typed(name, settings))


def idle(name: str, settings: Mapping[str, object], *, samples: int, cap_tokens: int) -> str:
    """Why the reward's rule on lengths can never act in such groups; empty where it can."""
    told: Callable[..., str] | None = lookup.declared(__name__, name, "idle", None)
    if told is None:
        return ""
    usual = {key: known.default for key, known in lookup.parameters(load(name)).items()}
    return told(samples=samples, cap_tokens=cap_tokens, **usual | typed(name, settings))


def typed(name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings as the reward takes them; ConfigError if one is unknown or out of bounds."""
    return lookup.check(__name__, name, settings)


def bounded(name: str, value: float, *, low: float = -np.inf, high: float = np.inf) -> None:
    """Refuses a setting outside ``[low, high]``, bounds that other settings give.

    Raises:
        ConfigError: it is; the message names the setting, its value, the bound and the fix.
    """
    if value < low:
        raise ConfigError(
            f"reward.{name} = {value:g} is below {low:g}; set reward.{name} >= {low:g}"
        )
    if value > high:
        raise ConfigError(
            f"reward.{name} = {value:g} is above {high:g}; set reward.{name} <= {high:g}"
        )


def require(g: GroupView, fields: frozenset[str]) -> None:
    """Refuses a group that lacks a field, or has an impossible value in it.

    Raises:
        ValueError: a field is None or NaN, a token count is not positive, a weight is negative
            or a share of right answers is outside [0, 1].
    """
    for field in sorted(fields):
        value = getattr(g, field)
        if value is None or (not field.endswith("_G") and np.isnan(value).any()):
            raise ValueError(f"the reward needs {field}, which this group does not have")
        least, most = np.min(value), np.max(value)
        if field.endswith("_tokens") and least <= 0:
            raise ValueError(f"{field} = {least:g} must be above 0")
        if field == "weight" and least < 0:
            raise ValueError(f"weight = {least:g} must be at least 0")
        if field == "reference_accuracy" and not 0 <= least <= most <= 1:
            odd = least if least < 0 else most
            raise ValueError(f"reference_accuracy = {odd:g} must lie in [0, 1]")


def share_right(g: GroupView) -> Float[np.ndarray, "... 1"]:
    """The share of the group's rollouts that are right."""
    return np.asarray(g.right_G.mean(axis=-1, keepdims=True))


def shortest_right(g: GroupView, *, otherwise: float | np.ndarray) -> Float[np.ndarray, "... 1"]:
    """The length of the group's shortest right rollout, or ``otherwise`` where none is right."""
    least = np.where(g.right_G, g.tokens_G, np.inf).min(axis=-1, keepdims=True)
    return np.where(np.isfinite(least), least, otherwise)


def place_between(g: GroupView) -> Float[np.ndarray, "... G"]:
    """0 for the group's shortest rollout to 1 for its longest; 1/2 where all are as long."""
    shortest = g.tokens_G.min(axis=-1, keepdims=True)
    span = g.tokens_G.max(axis=-1, keepdims=True) - shortest
    return np.where(span > 0, (g.tokens_G - shortest) / np.maximum(span, 1), 0.5)


class Moments(NamedTuple):
    """Mean and population variance of a group's lengths."""

    mean: Float[np.ndarray, "... 1"]
    variance: Float[np.ndarray, "... 1"]


def moments(tokens_G: Int[np.ndarray, "... G"], of_G: Bool[np.ndarray, "... G"]) -> Moments:
    """The moments of the lengths ``of_G``; 0 where there are none."""
    count = np.maximum(of_G.sum(axis=-1, keepdims=True), 1)
    mean = np.where(of_G, tokens_G, 0.0).sum(axis=-1, keepdims=True) / count
    gap_G = np.where(of_G, tokens_G - mean, 0.0)
    return Moments(mean, (gap_G * gap_G).sum(axis=-1, keepdims=True) / count)


def right_standing(g: GroupView) -> Float[np.ndarray, "... G"]:
    """``(L_i - mean) / std`` over right lengths; 0 where these are equal, and for wrong ones."""
    mean, variance = moments(g.tokens_G, g.right_G)
    gap_G = np.where(g.right_G, g.tokens_G - mean, 0.0)
    return gap_G / np.where(variance > 0.0, np.sqrt(variance), np.inf)
