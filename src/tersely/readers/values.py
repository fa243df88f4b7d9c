"""What one value of a foreign file says: as a text, a list, an object or a whole number."""

import json
import math
import operator
from collections.abc import Iterable, Iterator
from decimal import Decimal
from hashlib import blake2b
from typing import Any

# Where a part of a chat message keeps its text, and where its thinking.
_TEXTS = ("content", "text", "value", "output_text", "input_text", "parts", "summary")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
MOST_DIGITS = 30
_THINKING_TYPES = ("thinking", "reasoning")


def as_dict(value: object) -> dict[Any, Any]:
    """The object; an empty one for anything else, so that what it lacks is missed by name."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The list, also one of arrays; an empty one for anything else."""
    if isinstance(value, list | tuple):
        return list(value)
    to_list = getattr(value, "tolist", None) or getattr(value, "to_list", None)
    found = to_list() if callable(to_list) else None
    return found if isinstance(found, list) else []


def as_text(value: object) -> str | None:
    """A text, a number as one writes it, or the texts of chat messages and of their parts in
    order, thinking first; None for anything else.

    A whole number that a file format made a float is written whole: 72.0 is ``72``.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(_message_parts([value]))
    if isinstance(value, bool | int | float | Decimal):
        return _number_text(value)
    if value is None or not (isinstance(value, list | tuple) or hasattr(value, "__len__")):
        return None
    return "".join(_message_parts(as_list(value)))


def _number_text(value: int | float | Decimal) -> str | None:
    if isinstance(value, bool | int):
        return str(value)
    if not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return str(int(value)) if value == int(value) else str(value)


def _message_parts(messages: Iterable[Any]) -> Iterator[str]:
    for part in messages:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            thinking = _first_text(part, _THOUGHTS)
            content = _first_text(part, _TEXTS)
            if not thinking and part.get("type") in _THINKING_TYPES:
                thinking, content = content, ""
            if thinking:
                yield f"<think>{thinking}</think>"
            yield content


def _first_text(part: dict[Any, Any], keys: Iterable[str]) -> str:
    texts = (as_text(part.get(key)) for key in keys)
    return next((text for text in texts if text), "")


def gold_text(value: object) -> str | None:
    """A right answer as a text: a text, a number, or one that stands alone in a list; None for
    anything else."""
    while len(inner := as_list(value)) == 1:
        value = inner[0]
    found = as_text(value) if isinstance(value, str | int | float | Decimal) else None
    return found.strip() or None if found is not None else None


def whole(value: object) -> int | None:
    """The whole number that the value is or was written for (72, 72.0, "72"); None if none, and
    for one of more than 64 bits."""
    number = _any_whole(value)
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _any_whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):  # verl writes numpy's numbers as text
        text = value.strip().removesuffix(".0")
        digits = text.removeprefix("-")
        few = len(digits) <= MOST_DIGITS and digits.isascii()
        return int(text) if few and digits.isdecimal() else None
    if isinstance(value, float | Decimal):
        return int(value) if math.isfinite(value) and value == int(value) else None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def prompt_id(prompt: object) -> str:
    """A short name for a problem that is known by its prompt alone: by all that the messages
    hold, not by their text alone."""
    key = prompt if isinstance(prompt, str) else json.dumps(prompt, default=str, sort_keys=True)
    return blake2b(key.encode(errors="surrogatepass"), digest_size=6).hexdigest()
