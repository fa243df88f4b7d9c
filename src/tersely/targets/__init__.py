"""Floor 1: how the target length L_T is set and moved; pure functions with explicit state.

A target is found by its file, as a reward is: ``targets/fixed.py`` holds ``fixed``. It is called
once a step, when the rollouts are graded and not yet rewarded, and says what each group's target
is. What it must remember travels in its state: a plain JSON-able mapping, empty at step 0, saved
in every checkpoint.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from tersely.core import lookup

TargetState: TypeAlias = Mapping[str, Any]


class Target(NamedTuple):
    """A target length for each group of the step, and the state for the next step.

    ``weight`` is a length coefficient for rewards that take one; NaN from rules that move none.
    """

    tokens_P: Float[np.ndarray, " P"]
    state: TargetState
    weight: float = np.nan


# The rules that move a price for length and set no target length.
MOVE_WEIGHT = frozenset({"dual_weight"})

TargetRule: TypeAlias = Callable[..., Target]


def available() -> list[str]:
    """The names of all targets, sorted: the files of this folder."""
    return lookup.names(__name__)


def load(name: str) -> TargetRule:
    """The target of the file ``name``, ``(state, groups, *, ...)``; ConfigError if none."""
    return lookup.load(__name__, name)


def check(name: str, settings: Mapping[str, object]) -> None:
    """ConfigError unless the target ``name`` takes exactly these ``settings``, in their bounds."""
    lookup.check(__name__, name, settings)
    load(name)({}, [], **settings)
