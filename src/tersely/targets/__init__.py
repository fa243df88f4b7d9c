"""Floor 1: how the target length L_T is set and moved; pure functions with explicit state.

A target is found by its file, as a reward is: ``targets/fixed.py`` holds ``fixed``. It is called
once a step, when the rollouts are graded and not yet rewarded, and says what each group's target
is. What it must remember travels in its state: a plain JSON-able mapping, empty at step 0, saved
in every checkpoint.

A file may declare beside its function, each read by ``declared``:

``MOVES: str``
    That step 0 does not show its lengths or its weight of later steps, and what it leaves open: a
    clause that ``tersely lint`` says. No declaration: they depend on the problem alone.
``KEEPS: str``
    What its state remembers, which a trainer must save. No declaration: the state stays empty.
``GIVES: frozenset[str]``
    The fields of ``GroupView`` that it sets for rewards, of ``target_tokens`` and ``weight``. No
    declaration: ``target_tokens``.
``NEEDS: frozenset[str]``
    Fields of ``GroupView`` that it reads besides the rollouts. No declaration: none.
``announced(prompt, problem, **settings) -> str``
    The prompt with the target stated in it; ``problem`` is its id. No such function: it is not.

The type of an argument holds its bounds, ``Annotated[int, Ge(1)]``, as a reward's does.
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


class Declared(NamedTuple):
    """What the file of a target declares; see the head of this module."""

    moves: str
    keeps: str
    gives: frozenset[str]
    needs: frozenset[str]
    announced: Callable[..., str] | None


TargetRule: TypeAlias = Callable[..., Target]


def available() -> list[str]:
    """The names of all targets, sorted: the files of this folder."""
    return lookup.names(__name__)


def load(name: str) -> TargetRule:
    """The target of the file ``name``, ``(state, groups, *, ...)``; ConfigError if none."""
    return lookup.load(__name__, name)


def declared(name: str) -> Declared:
    """What the file of the target ``name`` declares; ConfigError if there is none."""
    return Declared(
        moves=lookup.declared(__name__, name, "MOVES", ""),
        keeps=lookup.declared(__name__, name, "KEEPS", ""),
        gives=lookup.declared(__name__, name, "GIVES", frozenset({"target_tokens"})),
        needs=lookup.declared(__name__, name, "NEEDS", frozenset()),
        announced=lookup.declared(__name__, name, "announced", None),
    )


def giving(field: str) -> list[str]:
    """The targets that set the field of ``GroupView``, sorted."""
    return [name for name in available() if field in declared(name).gives]


def check(name: str, settings: Mapping[str, object]) -> None:
    """ConfigError unless the target ``name`` takes exactly these ``settings``, in their bounds."""
    lookup.check(__name__, name, settings)
    load(name)({}, [], **settings)
