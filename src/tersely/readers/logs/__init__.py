"""Training logs of other tools, one a file: file name = function name = ``--from`` name.

A file declares what it knows of its tool; all of it is optional.

``NAMES: Mapping[str, str]``
    The tool's names to ours, a * for one part of a name. Where several are one of ours, the first
    that a log has is read.
``ACCURACY``, ``HELD_OUT``: ``re.Pattern``
    Names, matched whole, that may be the accuracy of training and of evaluations.
``CAUTIONS: Mapping[str, str]``
    What is to be said where a log has that name.
``CLOCKS: bool``
    Whether it counts rollouts, updates of the policy and evaluations apart.
``looks_like(path: Path) -> bool``
    Whether a file or folder is the tool's.
``NAME(path: Path) -> list[LoggedRun]``
    The runs that a file or folder holds. A tool without one logs through others.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from re import Pattern
from typing import NamedTuple

from tersely.core import lookup
from tersely.readers.logged import LoggedRun


class LogTool(NamedTuple):
    """What a file of this folder declares."""

    name: str
    names: Mapping[str, str]
    accuracy: Pattern[str] | None
    held_out: Pattern[str] | None
    cautions: Mapping[str, str]
    clocks: bool
    looks_like: Callable[[Path], bool] | None
    read: Callable[[Path], list[LoggedRun]] | None


@cache
def tools() -> Mapping[str, LogTool]:
    """The tools by their names."""
    files = {name: import_module(f"{__name__}.{name}") for name in lookup.names(__name__)}
    return {
        name: LogTool(
            name,
            getattr(file, "NAMES", {}),
            getattr(file, "ACCURACY", None),
            getattr(file, "HELD_OUT", None),
            getattr(file, "CAUTIONS", {}),
            getattr(file, "CLOCKS", False),
            getattr(file, "looks_like", None),
            getattr(file, name, None),
        )
        for name, file in files.items()
    }
