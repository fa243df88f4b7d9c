"""What stands within the objects and lists of a JSON object, by dotted names."""

from collections.abc import Iterator, Mapping
from typing import Any

# Parts and lists that an error names, and how deep they are looked for.
_MOST_NAMED = 40
_MOST_LISTS = 5
_DEEPEST = 4


def name_parts(values: Mapping[str, Any]) -> list[str]:
    """The names of an object's values, and in place of each object within it those of its parts."""
    return list(_parts(values, depth=1))[:_MOST_NAMED]


def find_lists(values: Mapping[str, Any]) -> dict[str, int]:
    """Where an object holds lists of objects, and how many each has: the likeliest rows first.

    Those are the most, and of equally many those with the most parts.
    """
    found = sorted(_lists(values, depth=1), key=lambda each: (-len(each[1]), -len(each[1][0])))
    return {name: len(rows) for name, rows in found[:_MOST_LISTS]}


def _parts(values: Mapping[str, Any], *, depth: int) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value and depth < _DEEPEST:
            yield from (f"{name}.{part}" for part in _parts(value, depth=depth + 1))
        else:
            yield str(name)


def _lists(values: Mapping[str, Any], *, depth: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name, value in values.items():
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            yield str(name), value
        elif isinstance(value, dict) and depth < _DEEPEST:
            inside = _lists(value, depth=depth + 1)
            yield from ((f"{name}.{part}", rows) for part, rows in inside)
