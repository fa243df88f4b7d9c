"""Rows as JSON: a line each, one list, or columns by name, as loggers and pandas write them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError, shortened
from tersely.core.parsing import parse_json
from tersely.readers.logged import LoggedRun, entry, json_lines, read_text

_GIVE = "give rows of a step each, as JSON lines, a JSON list or CSV"


def read_json(file: Path) -> list[LoggedRun]:
    """The rows of the file.

    Raises:
        DataError: it holds no rows.
    """
    text = read_text(file, give=_GIVE)
    try:
        whole = parse_json(text)
    except ValueError as error:
        rows = [found for _, found in json_lines(file, text) if found is not None]
        if not rows:
            raise DataError(f"{file} is not JSON: {error}; {_GIVE}") from error
        return [LoggedRun(file.name, rows)]
    if isinstance(whole, dict) and isinstance(whole.get("history"), list):
        whole = whole["history"]
    if isinstance(whole, dict):
        return [LoggedRun(file.name, _from_columns(whole))]
    if not isinstance(whole, list):
        raise DataError(f"{file} is {shortened(str(whole))!r}, no list of rows; {_GIVE}")
    # W&B's scan of a history may hold each row as text.
    rows = [_parsed(row) if isinstance(row, str) else row for row in whole]
    return [
        LoggedRun(
            file.name, [entry(row, place=f"{file}: row {n}") for n, row in enumerate(rows, start=1)]
        )
    ]


def _parsed(row: str) -> Any:
    try:
        return parse_json(row)
    except ValueError:
        return row


def _from_columns(columns: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """pandas' ``to_json``: a list or an index of values by the name of each column."""
    lists = {
        name: dict(enumerate(values)) if isinstance(values, list) else values
        for name, values in columns.items()
        if isinstance(values, list | dict)
    }
    # A row may hold a list beside its numbers.
    if len(lists) < len(columns) or not lists:
        return [columns]
    places = list(dict.fromkeys(place for values in lists.values() for place in values))
    return [
        {name: values[place] for name, values in lists.items() if place in values}
        for place in places
    ]
