"""Groups of one size on each other, so that a function of a group is called once for all."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from tersely.core.types import GroupView


class Stack(NamedTuple):
    """Groups of one size as one view, and the places of their rollouts in the step."""

    rows: Int[np.ndarray, "P G"]
    view: GroupView


def whole(views: Sequence[GroupView]) -> GroupView:
    """All groups as one view: their rollouts end to end, and one number a group.

    An array that a group with rollouts lacks is None, and what only targets look at is left out.
    """
    columns = GroupView(*zip(*views, strict=True))
    rollouts = sum(map(len, columns.tokens_G))
    values: dict[str, Any] = {
        name: _joined(column, rollouts) if name.endswith("_G") else np.array(column)
        for name, column in columns._asdict().items()
        if name not in ("effort", "problem")
    }
    return GroupView(**values)


def stacks(sizes_P: Int[np.ndarray, " P"], step: GroupView) -> Iterator[Stack]:
    """The groups of a step, those of one size at a time; an empty group is in none.

    Args:
        sizes_P: rollouts of each group.
        step: as ``whole`` makes it; a number may be one for all groups.
    """
    starts_P = np.cumsum(sizes_P) - sizes_P
    for size in np.unique(sizes_P[sizes_P > 0]):
        groups = np.flatnonzero(sizes_P == size)[:, None]
        rows = starts_P[groups] + np.arange(size)
        picked = {
            name: values[rows if name.endswith("_G") else groups]
            for name, values in step._asdict().items()
            if np.ndim(values)
        }
        yield Stack(rows, step._replace(**picked))


def _joined(arrays: Sequence[np.ndarray | None], rollouts: int) -> np.ndarray | None:
    given = [array for array in arrays if array is not None]
    return np.concatenate(given) if sum(map(len, given)) == rollouts and given else None
