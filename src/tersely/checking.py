"""Paths, numbers and words that callers of the Python interface give, refused in one sentence."""

from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from tersely.core.errors import ConfigError, check_kind, no_such, shortened

# Up to here a float holds every whole number.
MOST = 2**53
_Word = TypeVar("_Word", bound=StrEnum)


def as_path(name: str, value: object) -> Path:
    """A path, whether written as text or not."""
    check_kind(name, value, str | PathLike, "a path")
    if not str(value):
        raise ConfigError(f"{name} is empty; give a file or a folder")
    try:
        path = Path(str(value)).expanduser()
        path.exists()
        path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{name} = {shortened(repr(str(value)))} cannot be looked up: {why}"
        ) from error
    return path


def whole_numbers(name: str, values: object) -> tuple[int, ...]:
    """Whole numbers from 1 on."""
    listed: list[Any] = [values] if isinstance(values, str) else _list(values)
    for value in listed:
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ConfigError(
                f"{name} = {shortened(repr(values))} is no list of whole numbers from 1 on; write "
                f"{name}={'[1, 4]' if name == 'k' else '[1024, 4096]'}"
            )
        if value > MOST:
            raise ConfigError(f"{name} holds {value}, above 2**53; give smaller numbers")
    return tuple(map(int, listed))


def one_of(kind: type[_Word], name: str, value: object) -> _Word:
    """The word of that kind."""
    if not isinstance(value, str) or value not in list(kind):
        raise ConfigError(no_such(name, value, kind))
    return kind(value)


def _list(values: object) -> list[Any]:
    try:
        return list(values)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        return [values]
