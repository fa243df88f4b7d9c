"""JSON and TOML that someone else wrote: whatever is wrong with it is a ValueError."""

import codecs
import json
import tomllib
from collections.abc import Callable
from typing import Any


def parse_json(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value; a mark of the order of bytes before it is passed over.

    Args:
        parse_constant: makes a value of NaN, Infinity or -Infinity.
    Raises:
        ValueError: it is not JSON, or is nested deeper than Python reads.
    """
    if isinstance(text, bytes):
        text = text.removeprefix(codecs.BOM_UTF8)
    try:
        return json.loads(text, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str | bytes) -> dict[str, Any]:
    """The table, of bytes in UTF-8.

    Raises:
        ValueError: it is not TOML, or is nested deeper than Python reads.
    """
    try:
        return tomllib.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
