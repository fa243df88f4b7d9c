"""Floor 3: one tracker a file: where the figures of a run are sent, through its own client.

A tracker is found by its file: ``trackers/wandb.py`` holds ``wandb``, and a recipe says
``to = ["wandb"]`` under ``[track]``. The function begins the run there, or goes on with the one
that has the same ``key``; whatever it raises leaves this tracker out and stops nothing. A file
declares beside it, in ``LIBRARIES``, what has to be installed.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tersely.core import lookup
from tersely.core.errors import ConfigError
from tersely.core.extras import refuse_absent
from tersely.core.types import AlarmRecord


class TrackedRun(NamedTuple):
    """What a tracker is told of a run before its first row.

    Args:
        key: the run's own, by which a tracker finds it again.
        folder: for trackers that write files of their own.
        settings: the recipe and the facts of the run, by dotted name.
    """

    project: str
    name: str
    key: str
    folder: Path
    settings: Mapping[str, str | int | float | bool]


class Ending(StrEnum):
    """How the run ended."""

    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@runtime_checkable
class Tracker(Protocol):
    """A run as a tracker has it; ``continued``: it knew the run already."""

    continued: bool

    def log(self, figures: Mapping[str, float], *, step: int, row: int) -> None:
        """The finite figures of a step or an evaluation.

        Args:
            row: counts all that was ever logged to this run, from 0.
        """

    def alert(self, alarm: AlarmRecord) -> None:
        """An alarm was raised."""

    def attach(self, page: Path) -> None:
        """The run's report is written."""

    def end(self, ending: Ending) -> None:
        """Sends what is left and closes the run there."""


def available() -> list[str]:
    """The trackers that a recipe may name."""
    return lookup.names(__name__)


def start(name: str, run: TrackedRun) -> Tracker:
    """Begins or goes on with a run there."""
    tracker: Tracker = lookup.load(__name__, name)(run)
    return tracker


def refuse_uninstalled(names: Sequence[str]) -> None:
    """ConfigError for the first tracker whose client is not installed; names the install."""
    for name in names:
        libraries = lookup.declared(__name__, name, "LIBRARIES", (name,))
        refuse_absent(*libraries, what=f'track.to = ["{name}"]', extra="track")


def refuse_twice(ours: Sequence[str], theirs: object, *, key: str) -> None:
    """ConfigError where an engine's own setting sends the run to a tracker of ``[track]`` too."""
    named = [theirs] if isinstance(theirs, str) else theirs if isinstance(theirs, list) else []
    for name in ours:
        if name in named or "all" in named:
            raise ConfigError(
                f"{key} = {theirs!r} and track.to both name {name}, where the run would be twice; "
                "leave it out of one of them"
            )


def say(alarm: AlarmRecord) -> str:
    """What an alarm saw and what to change, in one line."""
    return f"step {alarm.step + 1}: {alarm.evidence}. {alarm.advice[0].upper()}{alarm.advice[1:]}."


def as_table(settings: Mapping[str, Any]) -> str:
    """Settings as a table of Markdown, for trackers that have no place of their own for them."""
    return "\n".join(
        ["| setting | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in settings.items())]
    )
