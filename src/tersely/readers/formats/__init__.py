"""Readers of peers' evaluation files, one a file: file name = function name = ``--from`` name."""

from collections.abc import Callable
from pathlib import Path

from tersely.core import lookup
from tersely.core.errors import ConfigError
from tersely.readers.folders import TABLES, ask_for_one, files_like
from tersely.readers.reading import Options, Reading

__all__ = ["Options", "Reading", "available", "load", "read"]

_INSTEAD_OF_SLIME = (
    "write the samples of its .pt file as JSON lines and read them with --from table "
    "--column correct=reward --column tokens=response_length --column finish=status "
    "--column text=response --column gold=label"
)
_INSTEAD_OF_QWEN_MATH = (
    "read such files with --from table --column problem=idx --column prompt=question "
    "--column gold=gt --column text=code --column correct=score --column extracted=pred"
)
_REMOVED = {"slime": _INSTEAD_OF_SLIME, "qwen_math": _INSTEAD_OF_QWEN_MATH}


def available() -> list[str]:
    """The names that ``--from`` takes, sorted."""
    return lookup.names(__name__)


def load(name: str) -> Callable[..., Reading]:
    """The reader of that name.

    Raises:
        ConfigError: there is none.
    """
    if name in _REMOVED:
        raise ConfigError(f"the reader {name} was removed; {_REMOVED[name]}")
    return lookup.load(__name__, name)


def columns_of(name: str) -> tuple[str, ...]:
    """The columns of ours that the reader of that name looks up.

    Raises:
        ConfigError: there is none.
    """
    load(name)
    return tuple(lookup.declared(__name__, name, "FIELDS", ()))


def marks_of(name: str) -> tuple[frozenset[str], ...]:
    """Columns or keys by which a file is known as that reader's: all those of one set.

    Raises:
        ConfigError: there is no such reader.
    """
    load(name)
    return tuple(lookup.declared(__name__, name, "MARKS", ()))


def read(path: Path, name: str, options: Options) -> Reading:
    """Reads the file as the named tool's.

    Raises:
        ConfigError: no such file or reader, or a column that the reader does not look up.
        DataError: the file is not that tool's, or says something that cannot be.
    """
    reader = load(name)
    if path.is_dir():
        raise ConfigError(ask_for_one(path, sorted(files_like(path, (*TABLES, "*.eval")))))
    if not path.is_file():
        raise ConfigError(f"no file at {path}; give one that {name} wrote")
    return reader(path, options=options)
