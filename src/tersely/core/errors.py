"""The package's exceptions, by cause."""

import warnings


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


def say_moved(old: str, new: str) -> None:
    """Warns of a module under the name that it had one version ago."""
    warnings.warn(
        f"{old} is {new} now; use that name, the old one goes with the next version",
        TerselyWarning,
        stacklevel=3,
    )
