"""trackio's database: ``PROJECT.db``, or the folder of several (``TRACKIO_DIR``)."""

from contextlib import closing
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.core.parsing import parse_json
from tersely.readers.logged import LoggedRun, open_database, tables

_TABLES = {"metrics", "configs"}
_GIVE = "give PROJECT.db of TRACKIO_DIR, or that folder"
_SPECIAL = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}


def looks_like(path: Path) -> bool:
    """An SQLite file with its tables, or a folder with such files."""
    return any(tables(file) >= _TABLES for file in _files(path))


def trackio(path: Path) -> list[LoggedRun]:
    """Each run of each project."""
    runs = []
    for file in _files(path):
        with closing(open_database(file, needs=_TABLES, give=_GIVE)) as database:
            runs += _runs(file, database)
    if not runs:
        raise DataError(f"{path} holds no run of trackio's; {_GIVE}")
    return runs


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("*.db"))


def _runs(file: Path, database: Any) -> list[LoggedRun]:
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    names = {column[1] for column in database.execute("pragma table_info(metrics)")}
    who = "run_id" if "run_id" in names else "run_name"
    asked = f"select {who}, run_name, step, metrics from metrics order by id"
    for key, name, step, metrics in database.execute(asked):
        values = {k: _SPECIAL.get(v, v) for k, v in parse_json(metrics).items() if _scalar(v)}
        rows.setdefault((key, name), []).append({**values, "step": step})
    several = [name for _, name in rows]
    return [
        LoggedRun(name if several.count(name) == 1 else f"{name} ({key[:8]})", found)
        for (key, name), found in rows.items()
    ]


def _scalar(value: Any) -> bool:
    return isinstance(value, int | float | str)
