"""The package's exceptions, by cause."""

import warnings
from collections.abc import Iterable
from difflib import get_close_matches

SHOWN_CHARS = 80


class TerselyError(Exception):
    """Anything this package raises on purpose; the command line turns it into one line."""


class ConfigError(TerselyError):
    """A recipe, flag or run folder cannot be used as given; the message names value, bound, fix."""


class DataError(TerselyError):
    """A file of problems or records does not have the expected content."""


class EngineError(TerselyError):
    """Sampling or learning failed: non-finite loss, out of memory, an unusable model."""


class StorageError(TerselyError):
    """A file could not be written: the disk is full, a quota is used up, or a device fails."""


class GradingError(TerselyError):
    """Too many answers could not be graded for the run to mean anything."""


class TerselyWarning(RuntimeWarning):
    """A problem that does not stop the run; the command line prints it as one line."""


def no_such(
    what: str, given: object, known: Iterable[object], *, of: str = "", fix: str = ""
) -> str:
    """``there is no reward 'trunction'; did you mean 'truncation'? choose one of ...``.

    Args:
        of: where there could be one.
        fix: what else may be done.
    """
    names = [str(each) for each in known]
    text = str(given)
    lower = {name.lower(): name for name in reversed(names)}
    near = get_close_matches(text[:SHOWN_CHARS].lower(), lower, n=1)
    meant = f"; did you mean {lower[near[0]]!r}? " if near else "; "
    shown = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
    choice = f"choose one of {', '.join(names)}" if names else "there are none"
    place = f" of {of}" if of else ""
    return f"there is no {what} {shown!r}{place}{meant}{choice}{f', or {fix}' if fix else ''}"


def say_moved(old: str, new: str) -> None:
    """Warns of a module under the name that it had one version ago."""
    warnings.warn(
        f"{old} is {new} now; use that name, the old one goes with the next version",
        TerselyWarning,
        stacklevel=3,
    )
