"""Logs as tables of others: spreadsheets, charts that W&B exports, MLflow's long tables."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tersely.core.contents import as_utf8, kind_of
from tersely.readers.logged import LoggedRun, gather
from tersely.readers.packing import read_unpacked
from tersely.readers.sheets import read_csv

# Columns that say whose row it is, and those of a table with a row a value.
RUNS = ("run", "run_id", "Run ID", "run_uuid", "run_name", "Run", "Run Name", "Name")
KEYS = ("metric", "metric_key", "key", "tag", "Metric", "Key")
VALUES = ("value", "Value")
# W&B's chart: "run - metric", with the least and the most of each point beside it.
_DASH, _ENDS = " - ", ("__MIN", "__MAX", "__STDERR", "__STDDEV")


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
        cell
        for line in lines
        for by in ",;\t"
        for cell in next(csv.reader([line], delimiter=by), [])
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
