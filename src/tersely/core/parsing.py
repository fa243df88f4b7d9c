"""JSON and TOML that someone else wrote: whatever is wrong with it is a ValueError."""

import json
import math
import sys
import tomllib
from collections.abc import Callable
from typing import Any

from tersely.core.contents import as_utf8, kind_of
from tersely.core.errors import shortened


def parse_json(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value; of bytes in UTF-8, or in UTF-16 with a mark of the order of bytes.

    Args:
        parse_constant: makes a value of NaN, Infinity or -Infinity.
    Raises:
        ValueError: it is not JSON, is nested deeper than Python reads, or has a key twice in an
            object with two values; what is no text at all is named.
    """
    try:
        text = as_utf8(text) if isinstance(text, bytes) else text
        return json.loads(text, parse_constant=parse_constant, object_pairs_hook=_one_value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise _named(text, error) or error from None


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
        raise _named(text, error) or error from None
    return value


def _one_value(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    for key, value in pairs:
        # As text, NaN is as NaN.
        if value is not found[key] and repr(value) != repr(found[key]):
            one, other = (shortened(repr(each)) for each in (value, found[key]))
            raise ValueError(
                f"it has the key {key!r} twice, as {one} and as {other}; keep one of them"
            )
    return found


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


def _named(text: str | bytes, error: ValueError) -> ValueError | None:
    """An error that says what it is instead of text, or of what Python advises."""
    if "set_int_max_str_digits" in str(error):
        most = sys.get_int_max_str_digits()
        return ValueError(f"it has a number of more than {most} digits; write a shorter one")
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
        raise _named(text, error) or error from None
