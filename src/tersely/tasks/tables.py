"""Rows of a table, one after the other: JSONL, JSON, Parquet, CSV or TSV, by the file's ending,
and with ``.gz`` behind it packed."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from tersely.core.contents import PARQUET, as_utf8, kind_of
from tersely.core.errors import DataError
from tersely.core.parsing import parse_json

TableRow = Mapping[str, Any]
ENDINGS = (".jsonl", ".json", ".parquet", ".csv", ".tsv")
_GZIP = b"\x1f\x8b"


class Placed(NamedTuple):
    """A row, and where it stands for an error to name: ``file:line`` or ``file row n``."""

    place: str
    row: TableRow


def read_rows(path: Path) -> Iterator[Placed]:
    """The rows of a table; blank lines are skipped and still counted.

    Raises:
        DataError: the file cannot be read as what its ending says, or a row is no object.
    """
    packed = path.suffix == ".gz"
    ending = path.with_suffix("").suffix if packed else path.suffix
    readers = {".json": _json, ".parquet": _parquet, ".csv": _csv, ".tsv": _tsv}
    content = _content(path)
    kind = kind_of(content)
    if kind and ending != ".parquet":
        fix = "let its name end in .parquet" if kind == PARQUET else "write its rows as JSON lines"
        raise DataError(f"{path} is {kind}, no text of rows; {fix}")
    for place, row in readers.get(ending, _jsonl)(path, content):
        if not isinstance(row, dict):
            raise DataError(f"{place} is not a problem: a {type(row).__name__} is no dictionary")
        yield Placed(place, row)


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked, and in UTF-8 where a mark says UTF-16."""
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if content.startswith(_GZIP) else content
        content = as_utf8(content)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}; write it anew") from error
    return content


def _jsonl(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    if content.lstrip().startswith(b"["):
        yield from _json(path, content)
        return
    # Only a newline ends a line: JSON strings may hold the other separators that str.splitlines
    # knows, such as U+2028.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            yield place, parse_json(line)
        except ValueError as error:
            reason = "a comma ends it; take it off" if line.rstrip().endswith(b",") else error
            raise DataError(
                f"{place} is not a problem: {reason} (a file of this ending has one JSON object a "
                f"line; others end in {', '.join(ENDINGS)})"
            ) from error


def _json(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    try:
        rows = parse_json(content)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno} is not JSON: {error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(rows, list):
        raise DataError(f"{path} holds a {type(rows).__name__}; expected a list of objects")
    for number, row in enumerate(rows, start=1):
        yield f"{path} row {number}", row


def _csv(path: Path, content: bytes, *, between: str = ",") -> Iterator[tuple[str, Any]]:
    try:
        lines = io.StringIO(content.decode(), newline="")
        rows = csv.DictReader(lines, strict=True, delimiter=between)
        for number, row in enumerate(rows, start=1):
            if any(row.pop(None, None) or []):
                raise DataError(
                    f"{path}:{rows.line_num} has more cells than the {len(rows.fieldnames or ())} "
                    "of the first line; put quotes around a cell with a comma"
                )
            yield f"{path} row {number}", row
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not CSV: {error}") from error


def _tsv(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    return _csv(path, content, between="\t")


def _parquet(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    import polars
    import polars.selectors

    try:
        frame = polars.read_parquet(io.BytesIO(content))
    except (polars.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is not Parquet: {kind_of(content) or error}") from error
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
    near = get_close_matches(column.lower(), row, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ";"
    return DataError(f"{place} has no column {column!r}; it has {', '.join(row)}{meant} {fix}")
