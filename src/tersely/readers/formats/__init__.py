"""Readers of peers' evaluation files, one a file: file name = function name = ``--from`` name."""

from collections.abc import Callable
from pathlib import Path

from tersely.core import lookup
from tersely.core.errors import ConfigError
from tersely.readers.reading import Options, Reading

__all__ = ["Options", "Reading", "available", "load", "read"]

_INSTEAD_OF_SLIME = (
    "write the samples of its .pt file as JSON lines and read them with --from table "
    "--column correct=reward --column tokens=response_length --column finish=status "
    "--column text=response --column gold=label"
)


def available() -> list[str]:
    """The names that ``--from`` takes, sorted."""
    return lookup.names(__name__)


def load(name: str) -> Callable[..., Reading]:
    """The reader of that name.

    Raises:
        ConfigError: there is none.
    """
    if name == "slime":
        raise ConfigError(f"the reader slime was removed; {_INSTEAD_OF_SLIME}")
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
