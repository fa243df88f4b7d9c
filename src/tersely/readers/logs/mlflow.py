"""MLflow's stores: the folder ``mlruns`` or ``mlflow.db``; its CSV is read with the others."""

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.readers.logged import LoggedRun, gather, open_database, tables

_RUN = "meta.yaml"
_TABLES = {"metrics", "runs", "latest_metrics"}
_GIVE = "give the folder mlruns, a run in it, or mlflow.db"


def looks_like(path: Path) -> bool:
    """A database with its tables, or a folder of runs or one run's folder."""
    if path.is_file():
        return tables(path) >= _TABLES
    return bool(_folders(path))


def mlflow(path: Path) -> list[LoggedRun]:
    """Each run that logged a metric.

    Raises:
        DataError: there is none.
    """
    if path.is_file():
        runs = _stored(path)
    else:
        runs = [LoggedRun(_name(folder), gather(_points(folder))) for folder in _folders(path)]
    runs = [run for run in runs if run.rows]
    if not runs:
        raise DataError(f"{path} holds no run with metrics; {_GIVE}")
    return runs


def _folders(path: Path) -> list[Path]:
    """Folders of runs: this one, those of an experiment, or of every experiment."""
    found = [f.parent.parent for p in ("", "*/", "*/*/") for f in path.glob(f"{p}metrics/*")]
    return sorted({folder for folder in found if (folder / _RUN).is_file()})


def _name(folder: Path) -> str:
    named = folder / "tags" / "mlflow.runName"
    return named.read_text(encoding="utf-8").strip() if named.is_file() else folder.name


def _points(folder: Path) -> Iterator[tuple[float, str, Any]]:
    metrics = folder / "metrics"
    for file in sorted(metrics.rglob("*")):
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            parts = line.split()
            if len(parts) == 3:
                yield float(parts[2]), str(file.relative_to(metrics)), parts[1]


def _stored(file: Path) -> list[LoggedRun]:
    with closing(open_database(file, needs=_TABLES, give=_GIVE)) as database:
        runs = list(database.execute("select run_uuid, name from runs"))
        return [LoggedRun(name or uuid, gather(_values(database, uuid))) for uuid, name in runs]


def _values(database: Any, uuid: str) -> Iterator[tuple[float, str, Any]]:
    asked = "select step, key, value, is_nan from metrics where run_uuid = ? order by timestamp"
    for step, key, value, is_nan in database.execute(asked, (uuid,)):
        yield step, key, math.nan if is_nan else value
