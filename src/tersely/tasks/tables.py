"""Rows of a table, one after the other: JSONL, JSON, Parquet or CSV, by the file's ending."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tersely.core.errors import DataError
from tersely.core.parsing import parse_json

TableRow = Mapping[str, Any]
ENDINGS = (".jsonl", ".json", ".parquet", ".csv")


class Placed(NamedTuple):
    """A row, and where it stands for an error to name: ``file:line`` or ``file row n``."""

    place: str
    row: TableRow


def read_rows(path: Path) -> Iterator[Placed]:
    """The rows of a table; blank lines are skipped and still counted.

    Raises:
        DataError: the file cannot be read as what its ending says, or a row is no object.
    """
    readers = {".json": _json, ".parquet": _parquet, ".csv": _csv}
    for place, row in readers.get(path.suffix, _jsonl)(path):
        if not isinstance(row, dict):
            raise DataError(f"{place} is not a problem: a {type(row).__name__} is no dictionary")
        yield Placed(place, row)


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    # Only a newline ends a line: JSON strings may hold the other separators that str.splitlines
    # knows, such as U+2028.
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            try:
                yield place, parse_json(line)
            except ValueError as error:
                raise DataError(f"{place} is not a problem: {error}") from error


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        rows = parse_json(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(rows, list):
        raise DataError(f"{path} holds a {type(rows).__name__}; expected a list of objects")
    for number, row in enumerate(rows, start=1):
        yield f"{path} row {number}", row


def _csv(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            for number, row in enumerate(csv.DictReader(lines, strict=True), start=1):
                if None in row:
                    raise DataError(
                        f"{path} row {number} has more cells than the {len(row) - 1} columns of "
                        "the first line; write a text that holds a comma in quotes"
                    )
                yield f"{path} row {number}", row
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not CSV: {error}") from error


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import polars
    import polars.selectors

    try:
        frame = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is not Parquet: {error}") from error
    # 0.1 of 32 bits is 0.10000000149 in 64: its digits are kept.
    short = polars.selectors.by_dtype(polars.Float32)
    frame = frame.with_columns(short.cast(polars.String).cast(polars.Float64))
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        yield f"{path} row {number}", row


def cell(row: TableRow, column: str) -> Any:
    """The value of a column; ``a.b`` goes into an object, ``a.0`` into a list.

    Raises:
        KeyError: there is none.
    """
    if column in row:
        return row[column]
    found: Any = row
    for part in column.split("."):
        try:
            found = found[int(part)] if isinstance(found, Sequence) else found[part]
        except (TypeError, ValueError, IndexError):
            raise KeyError(column) from None
    return found


def missing_column(column: str, row: TableRow, *, place: str, fix: str) -> DataError:
    """The error that lists what columns there are instead."""
    return DataError(f"{place} has no column {column!r}; it has {', '.join(row)}; {fix}")
