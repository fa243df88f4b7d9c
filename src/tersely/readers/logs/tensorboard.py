"""TensorBoard's event files, read by its own library: a run is a folder with event files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tersely.core.contents import kind_of
from tersely.core.errors import DataError
from tersely.core.extras import refuse_absent
from tersely.readers.logged import LoggedRun, gather

_EVENTS = "*tfevents*"


def looks_like(path: Path) -> bool:
    """An event file, or a folder that has one anywhere in it."""
    if path.is_file():
        return path.match(_EVENTS)
    return next(path.rglob(_EVENTS), None) is not None


def tensorboard(path: Path) -> list[LoggedRun]:
    """The scalars of each folder that has event files.

    Raises:
        ConfigError: tensorboard is not installed.
        DataError: there are no event files, or none holds a scalar.
    """
    if path.is_file() and not path.match(_EVENTS):
        kind = kind_of(path.read_bytes()) or "text"
        raise DataError(f"{path} is {kind}, no event file (events.out.tfevents.*)")
    refuse_absent("tensorboard", what=f"reading {path}", extra="track")
    files = [path] if path.is_file() else sorted(path.rglob(_EVENTS))
    if not files:
        raise DataError(f"{path} holds no event file (events.out.tfevents.*); give its log folder")
    places = [path] if path.is_file() else sorted({file.parent for file in files})
    runs = [LoggedRun(_name(place, path), gather(_scalars(place))) for place in places]
    if not any(run.rows for run in runs):
        raise DataError(
            f"{path} holds {len(files)} event files and no scalar in them; give the folder that "
            "the trainer logs its scalars to"
        )
    return [run for run in runs if run.rows]


def _name(place: Path, root: Path) -> str:
    return place.name if place == root else str(place.relative_to(root))


def _scalars(place: Path) -> Iterator[tuple[float, str, Any]]:
    from tensorboard.backend.event_processing.event_accumulator import (
        SCALARS,
        TENSORS,
        EventAccumulator,
    )
    from tensorboard.util.tensor_util import make_ndarray

    # 0 keeps every value.
    events = EventAccumulator(str(place), size_guidance={SCALARS: 0, TENSORS: 0}).Reload()
    for tag in events.Tags()["scalars"]:
        for scalar in events.Scalars(tag):
            yield scalar.step, tag, scalar.value
    for tag in events.Tags()["tensors"]:
        for event in events.Tensors(tag):
            value = make_ndarray(event.tensor_proto)
            if value.size == 1 and value.dtype.kind in "fiu":
                yield event.step, tag, float(value.item())
