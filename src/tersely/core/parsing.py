"""JSON and TOML that someone else wrote: whatever is wrong with it is a ValueError."""

import json
import math
import tomllib
from collections.abc import Callable
from typing import Any

from tersely.core.contents import as_utf8, kind_of


def parse_json(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value; of bytes in UTF-8, or in UTF-16 with a mark of the order of bytes.

    Args:
        parse_constant: makes a value of NaN, Infinity or -Infinity.
    Raises:
        ValueError: it is not JSON, or is nested deeper than Python reads; what is no text at all
            is named.
    """
    try:
        text = as_utf8(text) if isinstance(text, bytes) else text
        return json.loads(text, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise _named(text) or error from None


def parse_sent(text: str | bytes) -> Any:
    """The value, of JSON that is to be sent as it is written.

    Raises:
        ValueError: as ``parse_json``, and of NaN or an infinity, half of a character, or a key that
            stands twice in an object, of which servers may read either value.
    """
    try:
        value = json.loads(
            as_utf8(text) if isinstance(text, bytes) else text,
            object_pairs_hook=_each_once,
            parse_constant=_finite,
            parse_float=_finite,
        )
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise _named(text) or error from None
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {twice!r} twice; keep one of them")
    return found


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"{number} is no finite number; write one")
    return float(number)


def _named(text: str | bytes) -> ValueError | None:
    """An error that says what it is instead of text, where that can be told."""
    kind = kind_of(text) if isinstance(text, bytes) else None
    return ValueError(f"it is {kind}, no text") if kind else None


def parse_toml(text: str | bytes) -> dict[str, Any]:
    """The table, of bytes in UTF-8, or in UTF-16 with a mark of the order of bytes.

    Raises:
        ValueError: it is not TOML, or is nested deeper than Python reads.
    """
    try:
        return tomllib.loads(text if isinstance(text, str) else as_utf8(text).decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise _named(text) or error from None
