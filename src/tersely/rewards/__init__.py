"""Floor 1: one published length-aware reward a file; pure numpy functions of a ``GroupView``.

A reward is found by its file: ``rewards/truncation.py`` holds ``truncation`` and a recipe says
``truncation``. Its keyword-only arguments are what a recipe may set. A group holds at least one
rollout, and every length is counted in tokens, stop token included.

A file may declare two constants beside its function:

``NEEDS: frozenset[str]``
    The fields of ``GroupView`` that the reward cannot do without; it raises ValueError when one
    of them is NaN or None. No declaration: it needs none.
``EXCEPTIONS: Mapping[str, str]``
    The laws that the method breaks on purpose, each with the source that wants it. The laws
    compare the rollouts of one group: ``correct_pays_no_less``, a right rollout never gets less
    than a wrong one of the same length; ``shorter_pays_no_less``, of two right ones the longer
    never gets more. No declaration: it keeps both.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from tersely.core import lookup
from tersely.core.errors import ConfigError
from tersely.core.types import GroupView

Reward: TypeAlias = Callable[..., Float[np.ndarray, " G"]]

# A right, a long right, a wrong and a cut rollout, with every field known: on it, a reward
# refuses settings that are out of bounds.
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
)


def available() -> list[str]:
    """The names of all rewards, sorted: the files of this folder."""
    return lookup.names(__name__)


def load(name: str) -> Reward:
    """The reward function of the file ``name``; ConfigError if there is none."""
    return lookup.load(__name__, name)


def needs(name: str) -> frozenset[str]:
    """The fields of ``GroupView`` that the reward cannot do without; ConfigError if unknown."""
    load(name)
    declared: frozenset[str] = getattr(import_module(f"{__name__}.{name}"), "NEEDS", frozenset())
    return declared


def exceptions(name: str) -> Mapping[str, str]:
    """The laws that the reward breaks on purpose: law to source; ConfigError if unknown."""
    load(name)
    declared: Mapping[str, str] = getattr(import_module(f"{__name__}.{name}"), "EXCEPTIONS", {})
    return MappingProxyType(dict(declared))


def check(name: str, settings: Mapping[str, object]) -> None:
    """ConfigError unless the reward ``name`` takes exactly these ``settings``, all in bounds."""
    lookup.check(__name__, name, settings)
    load(name)(_TRIAL, **typed(name, settings))


def typed(name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings as the reward takes them: a recipe may write 1 for 1.0."""
    known = signature(load(name)).parameters
    return {
        key: float(value) if known[key].annotation is float and isinstance(value, int) else value
        for key, value in settings.items()
    }


def bounded(name: str, value: float | int, *, low: float = -np.inf, high: float = np.inf) -> None:
    """Refuses a setting outside ``[low, high]``, or one that is not finite.

    Raises:
        ConfigError: it is; the message names the setting, its value, the bound and the fix.
    """
    if value < low:
        fix = f"is below {low:g}; set reward.{name} >= {low:g}"
    elif value > high:
        fix = f"is above {high:g}; set reward.{name} <= {high:g}"
    elif not np.isfinite(value):
        fix = "is not finite; set a number"
    else:
        return
    raise ConfigError(f"reward.{name} = {value:g} {fix}")


def require(g: GroupView, fields: frozenset[str]) -> None:
    """Refuses a group that lacks a field, or has an impossible value in it.

    Raises:
        ValueError: a field is None or NaN, a token count is not positive, a weight is negative
            or a share of right answers is outside [0, 1].
    """
    for field in sorted(fields):
        value = getattr(g, field)
        if value is None or (np.ndim(value) == 0 and np.isnan(value)):
            raise ValueError(f"the reward needs {field}, which this group does not have")
        if field.endswith("_tokens") and value <= 0:
            raise ValueError(f"{field} = {value:g} must be above 0")
        if field == "weight" and value < 0:
            raise ValueError(f"weight = {value:g} must be at least 0")
        if field == "reference_accuracy" and not 0 <= value <= 1:
            raise ValueError(f"reference_accuracy = {value:g} must lie in [0, 1]")
