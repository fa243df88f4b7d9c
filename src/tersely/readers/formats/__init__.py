"""Readers of peers' evaluation files, one a file: file name = function name = ``--from`` name."""

from collections.abc import Callable
from pathlib import Path

from tersely.core import lookup
from tersely.core.errors import ConfigError
from tersely.readers.reading import Options, Reading

__all__ = ["Options", "Reading", "available", "load", "read"]


def available() -> list[str]:
    """The names that ``--from`` takes, sorted."""
    return lookup.names(__name__)


def load(name: str) -> Callable[..., Reading]:
    """The reader of that name.

    Raises:
        ConfigError: there is none.
    """
    return lookup.load(__name__, name)


def read(path: Path, name: str, options: Options) -> Reading:
    """Reads the file as the named tool's.

    Raises:
        ConfigError: no such file or reader, or a column that the reader does not look up.
        DataError: the file is not that tool's, or says something that cannot be.
    """
    reader = load(name)
    if not path.is_file():
        raise ConfigError(f"no file at {path}; give one that {name} wrote")
    return reader(path, options=options)
