"""What a task family of the lab is: a state, operations on it, and facts easy to get wrong."""

from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

import numpy as np

LEVELS = range(1, 9)
ALL_LEVELS = range(1, 13)
SHAKY_SHARE = 0.3


class Task(NamedTuple):
    """A start state and the operations to apply to it, left to right."""

    start: str
    ops: tuple[str, ...]


class Family(NamedTuple):
    """One domain of problems.

    Args:
        name: what `Problem.source` says.
        draw: a random task of a level (1 easiest .. 12 hardest).
        write: the task as the user would put it.
        apply: state, operation -> next state.
        misstep: state, operation -> the state that a hasty reader writes; never the true one.
        leap: how many operations a brief solution does between two states that it writes down.
    """

    name: str
    draw: Callable[[int, np.random.Generator], Task]
    write: Callable[[Task], str]
    apply: Callable[[str, str], str]
    misstep: Callable[[str, str], str]
    leap: int


def is_shaky(state: str, op: str) -> bool:
    """Whether the base policy tends to get this one fact wrong in haste (a fixed set of facts)."""
    return crc32(f"shaky {state} {op}".encode()) % 1000 < 1000 * SHAKY_SHARE


def solve(family: Family, task: Task) -> str:
    """The true final state."""
    state = task.start
    for op in task.ops:
        state = family.apply(state, op)
    return state
