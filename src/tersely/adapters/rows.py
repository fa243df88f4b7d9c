"""Rows of a JSONL or Parquet file, each with its place, and the columns looked up in them."""

import codecs
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tersely.core.errors import DataError


class Row(NamedTuple):
    """One row of a file. ``place`` counts from 1: "line 3" of a JSONL file, "row 3" of a table."""

    place: str
    values: dict[str, Any]


def read_jsonl(path: Path, *, expected: str) -> list[Row]:
    """One JSON object a line, blank lines passed over.

    Raises:
        DataError: naming the line that is none, or that the file holds none.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line.removeprefix(codecs.BOM_UTF8))
        except ValueError as error:
            raise DataError(f"{path}:{number} is not a JSON line; expected {expected}") from error
        if not isinstance(values, dict):
            kind = type(values).__name__
            raise DataError(f"{path}:{number} is a {kind}, no object; expected {expected}")
        rows.append(Row(f"line {number}", values))
    if not rows:
        raise DataError(f"{path} is empty; expected {expected}")
    return rows


def read_parquet(path: Path, *, expected: str) -> list[Row]:
    """The rows of a Parquet file.

    Raises:
        DataError: the file is not Parquet, or has no row.
    """
    return frame_rows(read_frame(path, expected=expected))


def read_frame(path: Path, *, expected: str) -> pl.DataFrame:
    """A Parquet file as it is.

    Raises:
        DataError: the file is not Parquet, or has no row.
    """
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet; expected {expected}") from error
    if frame.is_empty():
        raise DataError(f"{path} is empty; expected {expected}")
    return frame


def frame_rows(frame: pl.DataFrame) -> list[Row]:
    """Its rows with their places."""
    return [Row(f"row {n}", row) for n, row in enumerate(frame.iter_rows(named=True), start=1)]


def column_names(rows: Iterable[Row]) -> list[str]:
    """The columns of all rows, in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row.values))


def demand(path: Path, rows: Sequence[Row], columns: Iterable[str], *, expected: str) -> None:
    """Checks that every row has the columns by which a tool's file is known.

    Raises:
        DataError: naming the row, what it lacks and what it has.
    """
    needed = tuple(columns)
    for row in rows:
        lacking = [name for name in needed if name not in row.values]
        if lacking:
            raise DataError(
                f"{path}: {row.place} lacks {', '.join(lacking)}; it has "
                f"{', '.join(map(str, row.values)) or 'nothing'}. Expected {expected}; "
                f"is --from right?"
            )


def mapped(path: Path, rows: Sequence[Row], column: str, *, field: str) -> str:
    """The column, once it is known to exist.

    Raises:
        DataError: no row has it; naming the columns there are and how to map one.
    """
    names = column_names(rows)
    if column not in names:
        raise DataError(
            f"{path} has no column {column!r} for {field}; it has {', '.join(names)}; "
            f"map one with --column {field}=NAME"
        )
    return column


def map_columns(
    path: Path, rows: Sequence[Row], columns: Mapping[str, str]
) -> Callable[[Row, str], Any]:
    """Looks up our fields in a row, None where no column is mapped.

    Raises:
        DataError: no row has a column that is mapped.
    """
    for field, column in columns.items():
        mapped(path, rows, column, field=field)
    return lambda row, field: row.values.get(columns[field]) if field in columns else None


def check_one_step(path: Path, rows: Sequence[Row]) -> None:
    """Refuses samples of several training steps: they are of several models.

    Raises:
        DataError: naming the steps.
    """
    steps = sorted({str(row.values.get("step")) for row in rows})
    if len(steps) > 1:
        raise DataError(
            f"{path} holds the steps {', '.join(steps)}, each of another policy; "
            f"keep one step's rows in a file"
        )


def prompt_id(prompt: str) -> str:
    """A short name for a problem that is known by its prompt alone."""
    return blake2b(prompt.encode(), digest_size=6).hexdigest()


def as_dict(value: object) -> dict[Any, Any]:
    """The object; an empty one for anything else, so that what it lacks is missed by name."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str | None:
    """A text, or the texts of chat messages in order, thinking first; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_message_parts(value))
    return None


def _message_parts(messages: Iterable[Any]) -> Iterator[str]:
    for part in messages:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            if thinking := part.get("reasoning_content") or part.get("reasoning"):
                yield f"<think>{thinking}</think>"
            content = part.get("content") or part.get("text")
            yield as_text(content) or ""
