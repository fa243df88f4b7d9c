"""The package's exceptions, by cause."""

import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

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


def shortened(value: object) -> str:
    """The value as text, of which an error shows no more than a line."""
    text = str(value)
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


def check_kind(name: str, value: object, kinds: Any, wanted: str) -> None:
    """Refuses an argument of another type.

    Raises:
        ConfigError: it is; says what is ``wanted``.
    """
    if isinstance(value, bool) or not isinstance(value, kinds):
        shown = repr(value)
        shown = f"<{type(value).__name__}>" if "\n" in shown else shortened(shown)
        raise ConfigError(f"{name} = {shown} is not {wanted}")


def no_such(
    what: str, given: object, known: Iterable[object], *, of: str = "", fix: str = ""
) -> str:
    """``there is no reward 'trunction'; did you mean 'truncation'? choose one of ...``.

    Args:
        of: where there could be one.
        fix: what else may be done.
    """
    names = [str(each) for each in known]
    lower = {name.lower(): name for name in reversed(names)}
    near = get_close_matches(str(given)[:SHOWN_CHARS].lower(), lower, n=1)
    meant = f"; did you mean {lower[near[0]]!r}? " if near else "; "
    choice = f"choose one of {', '.join(names)}" if names else "there are none"
    place, rest = f" of {of}" if of else "", f", or {fix}" if fix else ""
    return f"there is no {what} {shortened(given)!r}{place}{meant}{choice}{rest}"


def say_moved(old: str, new: str) -> None:
    """Warns of a module under the name that it had one version ago."""
    warnings.warn(
        f"{old} is {new} now; use that name, the old one goes with the next version",
        TerselyWarning,
        stacklevel=3,
    )


def no_checkpoint(step: int, folder: object, kept: Iterable[int]) -> str:
    """What is wrong with a ``--resume-from`` of a step that was not kept."""
    said = ", ".join(map(str, sorted(kept))) or "none"
    return f"--resume-from {step}: {folder} holds no checkpoint of it; kept: {said}"
