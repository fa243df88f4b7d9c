"""Rows of a JSON-lines, JSON or Parquet file, each with its place, and the columns looked up in
them."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tersely.core.contents import INSPECT_LOG, PARQUET, as_utf8, kind_of
from tersely.core.errors import DataError
from tersely.core.parsing import parse_json
from tersely.readers.nested import find_lists, name_parts, rows_alone, rows_in
from tersely.readers.packing import read_unpacked
from tersely.readers.scores import verdict_names
from tersely.tasks.tables import cell

# By which columns a Parquet file is known as a tool's.
_PARQUET_OF = {
    "lighteval": ({"doc", "model_response"}, {"predictions", "full_prompt"}),
    "trl": ({"step", "prompt", "completion", "advantage"},),
}
# Under which names files have what --from table calls by ours.
_ALSO_CALLED = {
    "problem": ("problem_id", "question_id", "doc_id", "id"),
    "prompt": ("example", "full_prompt", "question", "query", "input"),
    "text": ("predictions", "prediction", "completion", "response", "output"),
    "gold": ("gold", "target", "answer", "gts"),
    "correct": ("acc", "score", "grade"),
    "tokens": ("num_tokens", "n_tokens", "completion_tokens", "response_length"),
}
_UNTOLD = "NAME"


class Row(NamedTuple):
    """One row of a file. ``place`` counts from 1: "line 3" of a JSONL file, "row 3" of a table."""

    place: str
    values: dict[str, Any]


def read_rows(path: Path, *, expected: str, under: str | None = None) -> list[Row]:
    """The rows of a Parquet, JSON-lines or JSON file, told by what it holds, not by its name.

    Args:
        under: where the list of rows stands in a file of one JSON object: ``results.rows``.
    Raises:
        DataError: naming the line that is no row, or that the file holds none.
    """
    content = read_unpacked(path)
    if under is not None:
        return _rows_under(path, content, under=under, expected=expected)
    if kind_of(content) == PARQUET:
        return frame_rows(_as_frame(path, content, expected=expected))
    return _json_rows(path, content, expected=expected)


def read_jsonl(path: Path, *, expected: str) -> list[Row]:
    """One JSON object a line, blank lines passed over; or one JSON list of them.

    Raises:
        DataError: naming the line that is none, or that the file holds none.
    """
    return _json_rows(path, read_unpacked(path), expected=expected)


def _rows_under(path: Path, content: bytes, *, under: str, expected: str) -> list[Row]:
    """The rows of a list within one JSON object."""
    whole = _one_object(read_text(path, content, expected=expected))
    if whole is None:
        raise DataError(
            f"{path} is not one JSON object, which --column rows={under} is for; leave it out"
        )
    found: Any = whole if under == "." else None
    with suppress(KeyError):
        found = found or cell(whole, under)
    rows = rows_in(found)
    if not rows:
        raise DataError(f"{path} has no list of objects under {under!r}{_say_lists(whole)}")
    return [Row(f"entry {number} of {under}", row) for number, row in enumerate(rows, start=1)]


def _one_object(content: bytes) -> dict[str, Any] | None:
    try:
        found = parse_json(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _say_lists(whole: Mapping[str, Any]) -> str:
    """Where the rows of an object may stand, as the rest of an error."""
    lists = find_lists(whole)
    if not lists:
        return "; write its rows as JSON lines"
    shown = ", ".join(f"{place} ({count:,})" for place, count in lists.items())
    first = next(iter(lists))
    return f"; its lists are {shown}: read it with --from table --column rows={first}"


def _json_rows(path: Path, content: bytes, *, expected: str) -> list[Row]:
    content = read_text(path, content, expected=expected)
    first, more, _ = content.strip().partition(b"\n")
    is_one = first.startswith(b"{") and (not more or _one_object(first) is None)
    whole = _one_object(content) if is_one else None
    if whole and (alone := rows_alone(whole)):
        return [Row(f"entry {number}", row) for number, row in enumerate(alone, start=1)]
    if whole and more:
        raise DataError(
            f"{path} is one JSON object over several lines; expected {expected}{_say_lists(whole)}"
        )
    is_list = content.lstrip().startswith(b"[")
    found = (_listed if is_list else _lines)(path, content, expected=expected)
    rows = []
    for place, values in found:
        if not isinstance(values, dict):
            kind = type(values).__name__
            raise DataError(f"{path}: {place} is a {kind}, no object; expected {expected}")
        rows.append(Row(place, values))
    if not rows:
        raise DataError(f"{path} is empty; expected {expected}")
    return rows


def read_text(path: Path, content: bytes, *, expected: str) -> bytes:
    """The content in UTF-8, once it is known to be text.

    Raises:
        DataError: saying what it is instead, and who reads that.
    """
    if kind := kind_of(content):
        raise DataError(f"{path} is {kind}; expected {expected}; {_way_out(kind, content)}")
    try:
        return as_utf8(content)
    except ValueError as error:
        raise DataError(f"{path} is no text: {error}; expected {expected}") from error


def _way_out(kind: str, content: bytes) -> str:
    if kind == INSPECT_LOG:
        return "read it with --from inspect_ai"
    if kind != PARQUET:
        return "write its rows as JSON lines or Parquet and read them with --from table"
    try:
        columns = list(pl.read_parquet_schema(io.BytesIO(content)))
    except (pl.exceptions.PolarsError, OSError):
        return "it is damaged: write it anew"
    for reader, known in _PARQUET_OF.items():
        if any(each <= set(columns) for each in known):
            return f"read it with --from {reader}"
    return f"it has {', '.join(columns)}; {as_table(columns)}"


def as_table(columns: Iterable[str]) -> str:
    """How to read a file with these columns as a table: with its names for ours, as far as they
    can be told."""
    names = list(columns)
    found = {
        ours: next((name for name in (ours, *also) if name in names), _UNTOLD)
        for ours, also in _ALSO_CALLED.items()
    }
    if found["problem"] == _UNTOLD != found["prompt"]:
        del found["problem"]
    regraded = found["correct"] == _UNTOLD not in (found["text"], found["gold"])
    needed = ("problem",) if regraded else ("problem", "correct")
    told = "".join(
        f" --column {ours}={theirs}"
        for ours, theirs in found.items()
        if theirs != ours and (theirs != _UNTOLD or ours in needed)
    )
    return f"read it with --from table{told}{' --regrade GRADER' if regraded else ''}"


def _lines(path: Path, content: bytes, *, expected: str) -> Iterator[tuple[str, Any]]:
    # Only a newline ends a line: JSON texts may hold the other separators that Python knows.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", parse_json(line)
        except ValueError as error:
            why = "" if isinstance(error, JSONDecodeError) else f": {error}"
            if number == 1 and b"," in line and not line.lstrip().startswith((b"{", b"[")):
                why = " (samples are read from JSON lines, JSON or Parquet, not from CSV)"
            raise DataError(
                f"{path}:{number} is not a JSON line{why}; expected {expected}"
            ) from error


def _listed(path: Path, content: bytes, *, expected: str) -> Iterator[tuple[str, Any]]:
    try:
        values = parse_json(content)
    except ValueError as error:
        raise DataError(
            f"{path} begins as a JSON list and is none ({error}); expected {expected}"
        ) from error
    for number, value in enumerate(values, start=1):
        yield f"entry {number}", value


def read_frame(path: Path, *, expected: str) -> pl.DataFrame:
    """A Parquet file as it is, or the rows of JSON as a frame.

    Raises:
        DataError: the file is neither, or has no row.
    """
    content = read_unpacked(path)
    if kind_of(content) == PARQUET:
        return _as_frame(path, content, expected=expected)
    return as_frame(path, [row.values for row in _json_rows(path, content, expected=expected)])


def as_frame(path: Path, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The rows as a frame whose columns have the types that their values have.

    Raises:
        DataError: a column's values are of types that do not go together.
    """
    try:
        return pl.DataFrame(rows, infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: the values of a column are of several types: {reason}") from error


def _as_frame(path: Path, content: bytes, *, expected: str) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(io.BytesIO(content))
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
                f"{', '.join(map(str, row.values)) or 'nothing'}. Expected {expected}; is --from "
                f"right? If another tool wrote it, {as_table(map(str, row.values))}"
            )


def mapped(path: Path, rows: Sequence[Row], column: str, *, field: str) -> str:
    """The column, once it is known to exist.

    Raises:
        DataError: no row has it; naming the columns there are and how to map one.
    """
    if column not in column_names(rows):
        values = {name: [row.values.get(name) for row in rows] for name in column_names(rows)}
        usable = verdict_names(values) if field == "correct" else []
        which = f", one of {', '.join(usable)}" if usable else ""
        raise DataError(
            f"{path} has no column {column!r} for {field}; it has {list_columns(rows)}; "
            f"map one with --column {field}=NAME{which}{say_rows(rows)}"
        )
    return column


def list_columns(rows: Sequence[Row]) -> str:
    """The columns for an error, those of objects by their parts: ``vars.question``."""
    return ", ".join(name_parts(row.values for row in rows))


def say_rows(rows: Sequence[Row]) -> str:
    """Where else the rows may be, if the file is a single object that holds lists."""
    alone = len(rows) == 1 and find_lists(rows[0].values)
    return f"; if its rows are in a list{_say_lists(rows[0].values)}" if alone else ""


def with_parts(rows: Sequence[Row], columns: Iterable[str]) -> list[Row]:
    """The rows with those of these columns that go into an object, such as ``vars.question``."""
    wanted = [column for column in columns if "." in column]
    return [Row(row.place, row.values | _parts(row.values, wanted)) for row in rows]


def _parts(values: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    found = {}
    for column in columns:
        with suppress(KeyError):
            found[column] = cell(values, column)
    return found


def map_columns(
    path: Path, rows: Sequence[Row], columns: Mapping[str, str]
) -> Callable[[Row, str], Any]:
    """Looks up our fields in a row, None where no column is mapped.

    Raises:
        DataError: no row has a column that is mapped.
    """
    full = with_parts(rows, columns.values())
    for field, column in columns.items():
        mapped(path, full, column, field=field)

    def get(row: Row, field: str) -> Any:
        column = columns.get(field, "")
        return row.values.get(column, _parts(row.values, [column]).get(column))

    return get


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
