"""A training log as its tool wrote it: rows under the tool's own names, one set a run."""

import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NamedTuple

from tersely.core.contents import as_utf8, kind_of
from tersely.core.errors import DataError, shortened
from tersely.core.parsing import parse_json
from tersely.readers.packing import read_unpacked
from tersely.readers.sheets import cells_of, read_csv

_SQLITE = b"SQLite format 3\x00"
# A name and its value in a dict as Python prints it.
_PAIR = re.compile(r"'([^']+)': *([^,{}]*)")
# JSON may hold the other characters at which Python ends a line, U+2028 for one; a progress bar's
# line is ended by the first of these.
_LINE_END = re.compile(r"\r?\n|\r")
# What makes a console write in colours.
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_GIVE_ROWS = "give rows of a step each, as JSON lines, a JSON list or CSV"
# Columns that say whose row it is, and those of a table with a row a value.
RUNS = ("run", "run_id", "Run ID", "run_uuid", "run_name", "Run", "Run Name", "Name")
KEYS = ("metric", "metric_key", "key", "tag", "Metric", "Key")
VALUES = ("value", "Value")
# The columns of one scalar that TensorBoard's page downloads, as CSV or as lists in JSON.
ONE_TAG = ("Wall time", "Step", "Value")
# W&B's chart: "run - metric", with the least and the most of each point beside it.
_DASH, _ENDS = " - ", ("__MIN", "__MAX", "__STDERR", "__STDDEV")
_MOST_NAMED = 12


class LoggedRun(NamedTuple):
    """One run of a log.

    Args:
        name: by which ``--run`` chooses it.
        rows: in the order in which they were written, each with its step.
        notes: what is to be said of it, a sentence each.
    """

    name: str
    rows: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()


def read_text(file: Path, *, give: str) -> str:
    """The file's text, without colours.

    Args:
        give: what to give instead of a file that holds none.
    Raises:
        DataError: it is empty, or no text.
    """
    content = read_unpacked(file)
    if kind := kind_of(content):
        raise DataError(f"{file} is {kind}, no text; {give}")
    text = as_utf8(content).decode(errors="replace")
    if not text.strip():
        raise DataError(f"{file} is empty; {give}")
    return _COLOUR.sub("", text) if "\x1b" in text else text


def entry(found: Any, *, place: str) -> Mapping[str, Any]:
    """The object that stands at a place of a log."""
    if not isinstance(found, dict):
        raise DataError(f"{place} is a {type(found).__name__}, no object; correct it")
    return found


def json_lines(file: Path, text: str, *, start: str = "{") -> Iterator[tuple[str, Any]]:
    """Each line that begins so as what it holds, each other line as None beside its text.

    Raises:
        DataError: a line is not JSON, the last one aside: a run in progress is writing it.
    """
    lines = _LINE_END.split(text.removesuffix("\n"))
    for number, line in enumerate(lines, start=1):
        if not line.startswith(start):
            yield line, None
            continue
        try:
            yield line, entry(parse_json(line), place=f"{file}:{number}")
        except ValueError as error:
            torn = isinstance(error, JSONDecodeError)
            if torn and number == len(lines) and not text.endswith("\n"):
                return
            raise DataError(f"{file}:{number} is not JSON: {error}") from error


def printed_pairs(printed: str) -> dict[str, str]:
    """A dict as Python prints it, its values as text; its numbers may be nan, or quoted."""
    return {name: value.strip(" '") for name, value in _PAIR.findall(printed)}


def gather(points: Iterable[tuple[float, str, Any]]) -> list[Mapping[str, Any]]:
    """Rows from single values, each with its step and name: one row a step, in their order."""
    rows: dict[float, dict[str, Any]] = {}
    for step, name, value in points:
        rows.setdefault(step, {"step": step})[name] = value
    return [rows[step] for step in sorted(rows)]


def open_database(file: Path, *, needs: Collection[str], give: str) -> sqlite3.Connection:
    """A connection that cannot write; a database that its tool has open is read all the same.

    Args:
        needs: tables that the tool makes.
        give: what to give instead of another file.
    Raises:
        DataError: it is no SQLite file, or has not these tables.
    """
    if not _is_database(file):
        kind = kind_of(file.read_bytes()) or "no SQLite database"
        raise DataError(f"{file} is {kind}; {give}")
    if lacking := sorted({*needs} - tables(file)):
        raise DataError(f"{file} is an SQLite database without the table {lacking[0]!r}; {give}")
    return _connect(file)


def tables(file: Path) -> set[str]:
    """The names of an SQLite file's tables; none of a file that is no database or damaged."""
    if not _is_database(file):
        return set()
    try:
        with closing(_connect(file)) as database:
            return {name for (name,) in database.execute("select name from sqlite_master")}
    except sqlite3.DatabaseError:
        return set()


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)


def _is_database(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_SQLITE)) == _SQLITE


def listed(names: Sequence[str]) -> str:
    """The names in a row, the first of many."""
    rest = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + rest


def read_json(file: Path) -> list[LoggedRun]:
    """The rows of the file.

    Raises:
        DataError: it holds no rows.
    """
    text = read_text(file, give=_GIVE_ROWS)
    try:
        whole = parse_json(text)
    except ValueError as error:
        rows = [found for _, found in json_lines(file, text) if found is not None]
        if not rows:
            raise DataError(f"{file} is not JSON: {error}; {_GIVE_ROWS}") from error
        return [LoggedRun(file.name, rows)]
    if isinstance(whole, dict) and isinstance(whole.get("history"), list):
        whole = whole["history"]
    if isinstance(whole, dict):
        return [LoggedRun(file.name, _from_columns(whole))]
    if not isinstance(whole, list):
        raise DataError(f"{file} is {shortened(str(whole))!r}, no list of rows; {_GIVE_ROWS}")
    # W&B's scan of a history may hold each row as text.
    rows = [_parsed(row) if isinstance(row, str) else row for row in whole]
    if rows and all(isinstance(row, list) and len(row) == len(ONE_TAG) for row in rows):
        rows = [dict(zip(ONE_TAG, row, strict=True)) for row in rows]
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
    names, data = columns.get("columns"), columns.get("data")
    if isinstance(names, list) and isinstance(data, list):  # its orient="split"
        whole = [row for row in data if isinstance(row, list)]
        return [dict(zip(map(str, names), row, strict=False)) for row in whole]
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


def read_table(file: Path, *, is_known: Callable[[str], bool]) -> list[LoggedRun]:
    """The rows of a CSV file.

    Args:
        is_known: whether a column's name says something to us; such columns hold numbers.
    """
    wanted = {
        name
        for name in _header(file)
        if is_known(name) or is_known(_metric(name)) or name in (*RUNS, *VALUES)
    }
    return split_runs(read_csv(file, wanted=wanted), name=file.name)


def split_runs(rows: Sequence[Mapping[str, Any]], *, name: str) -> list[LoggedRun]:
    """The rows by run, if they say whose they are; tables with a row a value made wide."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    # Of a chart, only the steps have a name without a run's.
    if len(names) > 1 and sum(_DASH not in key for key in names) <= 1:
        return _split_chart(rows, names)
    who = next((key for key in RUNS if key in names and _several(rows, key)), None)
    by_run: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_run.setdefault(name if who is None else str(row.get(who)), []).append(row)
    found = [LoggedRun(run, _widened(its, names)) for run, its in by_run.items()]
    return found or [LoggedRun(name, [])]


def _header(file: Path) -> Iterable[str]:
    """Each name of the first lines, whatever separates them; nothing of what is no text."""
    content = read_unpacked(file)
    if kind_of(content):
        return ()
    lines = as_utf8(content).decode(errors="replace").splitlines()[:2]
    cells = [
        cell for line in lines for by in ",;\t" for cell in cells_of(line, separator=by, file=file)
    ]
    return dict.fromkeys(each for cell in cells for each in (cell, cell.strip()))


def _metric(name: str) -> str:
    run, _, metric = name.rpartition(_DASH)
    return metric if run and not metric.endswith(_ENDS) else ""


def _several(rows: Iterable[Mapping[str, Any]], key: str) -> bool:
    return len({row.get(key) for row in rows} - {None, ""}) > 1


def _split_chart(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[LoggedRun]:
    shared = [name for name in names if _DASH not in name]
    runs: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        if metric := _metric(name):
            runs.setdefault(name[: -len(_DASH + metric)], []).append((name, metric))
    return [
        LoggedRun(
            run,
            [
                {
                    **{name: row.get(name) for name in shared},
                    **{metric: row.get(name) for name, metric in columns},
                }
                for row in rows
                if any(row.get(name) not in (None, "") for name, _ in columns)
            ],
        )
        for run, columns in runs.items()
    ]


def _widened(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> Sequence[Mapping[str, Any]]:
    """A row a step from a row a value; other tables as they are."""
    key = next((name for name in KEYS if name in names), None)
    value = next((name for name in VALUES if name in names), None)
    step = next((name for name in ("step", "Step") if name in names), None)
    if key is None or value is None or step is None:
        return rows
    points = ((str(row.get(step)), str(row.get(key)), row.get(value)) for row in rows)
    return gather(
        (float(at), name, what) for at, name, what in points if at.replace(".", "", 1).isdigit()
    )
