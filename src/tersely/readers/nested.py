"""What stands within the objects and lists of a JSON object, by dotted names."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Parts and lists that an error names, and how deep they are looked for.
_MOST_NAMED = 40
_MOST_LISTS = 5
_DEEPEST = 5


def name_parts(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the rows' values, in place of an object those of its parts, and beside a list
    of one object within it those of the object's."""
    names = dict.fromkeys(name for values in rows for name in _parts(values, depth=1))
    # Null in one row, an object in another.
    opened = {name for name in names if any(_is_part(other, of=name) for other in names)}
    return [name for name in names if name not in opened][:_MOST_NAMED]


def _is_part(name: str, *, of: str) -> bool:
    return name.startswith(f"{of}.") and not name.startswith(f"{of}.0.")


def rows_in(value: object) -> list[dict[str, Any]]:
    """The rows that a value holds, if any: a list of objects, an object of objects that have most
    keys in common, or ``columns`` and ``data`` as W&B and pandas write them."""
    if isinstance(value, list):
        return value if all(isinstance(each, dict) for each in value) else []
    if not isinstance(value, dict):
        return []
    names, data = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(data, list):
        whole = all(isinstance(row, list) and len(row) == len(names) for row in data)
        named = [str(name) for name in names]
        return [dict(zip(named, row, strict=True)) for row in data] if whole else []
    rows = [each for each in value.values() if isinstance(each, dict)]
    beside = [each for each in value.values() if not isinstance(each, dict | str)]
    if beside or len(rows) < 2:
        return []
    keys = [set(row) for row in rows]
    return rows if 2 * len(set.intersection(*keys)) > len(set.union(*keys)) else []


def rows_alone(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of an object that holds nothing else; of a row, parts may look like rows too."""
    is_table = {"columns", "data"} <= value.keys()
    return rows_in(value) if is_table or all(isinstance(v, dict) for v in value.values()) else []


def find_lists(values: Mapping[str, Any]) -> dict[str, int]:
    """Where an object holds rows, "." for itself, and how many each has: the likeliest first.

    Those are the most, and of equally many those with the most parts.
    """
    if alone := rows_alone(values):
        return {".": len(alone)}
    found = sorted(_lists(values, depth=1), key=lambda each: (-len(each[1]), -len(each[1][0])))
    return {name: len(rows) for name, rows in found[:_MOST_LISTS]}


def _parts(values: Mapping[str, Any], *, depth: int) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value and depth < _DEEPEST:
            yield from (f"{name}.{part}" for part in _parts(value, depth=depth + 1))
            continue
        yield str(name)
        alone = value[0] if isinstance(value, list) and len(value) == 1 else None
        if isinstance(alone, dict) and 1 < depth < _DEEPEST:
            yield from (f"{name}.0.{part}" for part in _parts(alone, depth=depth + 1))


def _lists(values: Mapping[str, Any], *, depth: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name, value in values.items():
        if rows := rows_in(value):
            yield str(name), rows
        elif isinstance(value, dict) and depth < _DEEPEST:
            inside = _lists(value, depth=depth + 1)
            yield from ((f"{name}.{part}", rows) for part, rows in inside)
