"""Step logs of whoever trained: ours, other trainers', trackers', or tables of any columns."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from tersely.core import jsonl
from tersely.core.contents import PARQUET, as_utf8, kind_of
from tersely.core.digests import check_step_log
from tersely.core.errors import ConfigError, DataError, no_such, shortened
from tersely.core.parsing import parse_json, parse_toml
from tersely.core.types import EvalRecord, StepRecord
from tersely.dynamics.log import StepLog, log_records
from tersely.metrics.budgets import Protocol, score
from tersely.metrics.records import tabulate
from tersely.readers.arranging import arrange
from tersely.readers.bounds import check_bounds
from tersely.readers.logged import LoggedRun, listed, read_json, read_table, split_runs
from tersely.readers.lognames import CALLS, STEPS, check_columns, is_known
from tersely.readers.logs import LogTool, tools
from tersely.readers.packing import read_unpacked

STEPS_FILE = "steps.jsonl"
_OURS = {"step", "cap_tokens", "sampled_tokens"}
_ONLY_FOLDERS_OF = ("trl", "wandb", "tensorboard", "mlflow", "trackio")
# Asked one after another whose file it is; JSON with ``_step`` may be anybody's.
_TEXT_OF = ("verl", "slime", "trl", "wandb")
_TRACKERS = ("wandb", "tensorboard", "mlflow", "trackio")


class Writer(StrEnum):
    """Who wrote a step log: we, a tool of ``readers/logs``, or anybody as JSON or CSV."""

    TERSELY = "tersely"
    TRL = "trl"
    VERL = "verl"
    OPENRLHF = "openrlhf"
    NEMO_RL = "nemo_rl"
    PRIME_RL = "prime_rl"
    SLIME = "slime"
    SKYRL = "skyrl"
    AREAL = "areal"
    ROLL = "roll"
    OPEN_INSTRUCT = "open_instruct"
    WANDB = "wandb"
    TENSORBOARD = "tensorboard"
    TRACKIO = "trackio"
    MLFLOW = "mlflow"
    JSON = "json"
    CSV = "csv"


def read_steps(
    path: Path,
    *,
    writer: Writer | None = None,
    columns: Mapping[str, str],
    run: str | None = None,
) -> StepLog:
    """The log in a file or a folder.

    Args:
        writer: who wrote it; None tells it by the file.
        columns: our name to the file's, where the file does not bear ours or those of its writer.
        run: which one, where there are several.
    Raises:
        ConfigError: there is no such file or run, a column is no name of ours, or what reads it
            is not installed.
        DataError: the file holds no steps of this kind.
    """
    check_columns(columns)
    if not path.exists():
        raise ConfigError(f"no step log at {path}; give a file or a run folder")
    if writer is not None:
        return _read(path, writer, columns, run)
    found = recognise(path)
    try:
        log = _read(path, found, columns, run)
    except DataError as error:
        raise DataError(f"{error} (read as --from {found})") from error
    if found is Writer.TERSELY:
        return log
    return log._replace(notes=(f"Read as --from {found}.", *log.notes))


def recognise(path: Path) -> Writer:
    """Who wrote the log at this place.

    Raises:
        DataError: it is no log that is known.
    """
    if path.is_dir():
        if (path / STEPS_FILE).is_file() or (path / "manifest.json").is_file():
            return _of_steps_file(path / STEPS_FILE)
        for name in _ONLY_FOLDERS_OF:
            if _is_of(tools()[name], path):
                return Writer(name)
        raise DataError(_say_contents(path))
    if path.name == STEPS_FILE:
        return _of_steps_file(path)
    content = read_unpacked(path)
    if not content.strip():
        raise DataError(f"{path} is empty; {_GIVE}")
    is_text = kind_of(content) is None
    for name in _TEXT_OF if is_text else _TRACKERS:
        if _is_of(tools()[name], path):
            return Writer(name)
    return _of_text(path)


def _is_of(tool: LogTool, path: Path) -> bool:
    return tool.looks_like is not None and tool.looks_like(path)


def _of_steps_file(file: Path) -> Writer:
    """Ours if its first line is a whole record of ours, or if it is not there."""
    if not file.is_file():
        return Writer.TERSELY
    with file.open("rb") as lines:
        line = lines.readline()
    try:
        known = set(parse_json(line))
    except (ValueError, TypeError):
        # What is packed or in UTF-16 is never ours.
        return Writer.TERSELY if file.name == STEPS_FILE else Writer.JSON
    return Writer.TERSELY if known >= _OURS else Writer.JSON


def _of_text(path: Path) -> Writer:
    content = read_unpacked(path)
    kind = kind_of(content)
    if kind == PARQUET:
        return Writer.CSV
    if kind:
        raise DataError(f"{path} is {kind}, no step log; {_GIVE}")
    text = as_utf8(content).decode(errors="replace").lstrip()
    first = text.partition("\n")[0]
    if text[0] in "{[":
        return _of_steps_file(path) if text[0] == "{" else Writer.JSON
    if any(separator in first for separator in ",;\t"):
        return Writer.CSV
    raise DataError(
        f"{path} is no step log that is known: it begins with {shortened(first)!r}; {_GIVE}"
    )


_GIVE = (
    "give a run folder, trainer_state.json, a trainer's console output, a tracker's folder, or "
    "its export as CSV or JSON"
)


def _say_contents(folder: Path) -> str:
    inside = sorted(folder.iterdir())
    runs = [each.name for each in inside if (each / STEPS_FILE).is_file()]
    if runs:
        return f"{folder} holds {len(runs)} run folders ({listed(runs)}); give one of them"
    names = [each.name for each in inside]
    seen = listed(names) or "it is empty"
    return f"{folder} is no run folder and holds no step log that is known ({seen}); {_GIVE}"


def _read(path: Path, writer: Writer, columns: Mapping[str, str], run: str | None) -> StepLog:
    if writer is Writer.TERSELY:
        if run not in (None, "1", path.resolve().name):
            raise ConfigError(f"{path} holds one run; leave out --run {run}")
        return _read_ours(path)
    file = path / STEPS_FILE if path.is_dir() and writer in (Writer.JSON, Writer.CSV) else path
    if path.is_dir() and writer is Writer.VERL:
        file = path / STEPS_FILE
    if not file.exists():
        raise ConfigError(f"no step log at {file}; give a file or a run folder")
    runs = _runs(file, writer, columns)
    names = writer if tools().get(writer) and tools()[writer].names else None
    steps = {columns.get("step"), *STEPS, *CALLS}
    if len(runs) == 1 or not any(steps & row.keys() for each in runs for row in each.rows):
        # Its rows may be of several that were written one after another; a table of runs without
        # steps is refused.
        return arrange(runs[0], columns, file=file, tool=names, chosen=run)
    found = _choose(runs, run, path=path)
    return arrange(found, columns, file=file, tool=names, chosen=None, alone=False)


def _runs(path: Path, writer: Writer, columns: Mapping[str, str]) -> list[LoggedRun]:
    tool = tools().get(writer)
    if tool is not None and tool.read is not None and not _is_elsewhere(tool, path):
        return tool.read(path)
    if tool is not None:
        # A trainer without a log of its own: wherever it logs to.
        inner = recognise(path)
        if inner is Writer.TERSELY:
            raise DataError(f"{path} is a log of tersely's own; leave out --from {writer}")
        return _runs(path, inner, columns)
    if writer is Writer.JSON:
        (found,) = read_json(path)
        return split_runs(found.rows, name=found.name)
    return read_table(path, is_known=lambda name: is_known(name) or name in columns.values())


def _is_elsewhere(tool: LogTool, path: Path) -> bool:
    """slime logs to trackers beside its console, and of trackers people have CSV."""
    return (
        ".csv" in path.suffixes
        if tool.name in _TRACKERS
        else (tool.name == Writer.SLIME and not _is_of(tool, path))
    )


def _choose(runs: Sequence[LoggedRun], run: str | None, *, path: Path) -> LoggedRun:
    """The run of that name among several.

    Raises:
        ConfigError: there is none of that name, or none is named.
    """
    names = [each.name for each in runs]
    if run is None:
        raise ConfigError(
            f"{path} holds {len(runs)} runs ({listed(names)}); choose one with --run {names[-1]!r}"
        )
    fitting = [each for each in runs if each.name == run]
    if len(fitting) > 1:
        raise ConfigError(
            f"{path} holds {len(fitting)} runs that are called {run!r}; give one's own folder"
        )
    if not fitting:
        raise ConfigError(no_such("run", run, names, of=str(path)))
    return fitting[0]


def _read_ours(path: Path) -> StepLog:
    file = path / STEPS_FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"no step log at {file}; give a file or a run folder")
    check_step_log(file.parent)
    log = log_records(_our_records(file), staleness=_staleness(file.parent))
    check_bounds(log, {}, file=file)
    return _with_evaluations(log, file.parent / "eval")


def _our_records(file: Path) -> list[StepRecord]:
    try:
        return jsonl.read(file, StepRecord)
    except DataError as error:
        others = ", ".join(writer for writer in Writer if writer is not Writer.TERSELY)
        raise DataError(f"{error}; for another tool's log say --from {others}") from error


def _with_evaluations(log: StepLog, folder: Path) -> StepLog:
    """The log with the accuracy of the run's evaluations at its largest budget, at their steps:
    one after n steps stands at the n-th."""
    held_N = np.full(log.step_N.shape, np.nan)
    for file in sorted(folder.glob("step-*.jsonl")) if log.step_N.size else ():
        done = file.stem.removeprefix("step-")
        records = jsonl.read(file, EvalRecord) if done.isdigit() else []
        if not records:
            continue
        table = tabulate(records)
        at = score(table, budgets_B=np.array([table.reach_tokens]), protocol=Protocol.FINISHED)
        place = max(int(np.searchsorted(log.step_N, int(done) - 1, side="right")) - 1, 0)
        held_N[place] = float(at.accuracy_B[0])
    if not np.isfinite(held_N).any():
        return log
    return log._replace(columns={**log.columns, "eval_accuracy": held_N})


def in_our_words(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """What a trainer logged of one update, by our names; ``names`` are its names to ours."""
    return {our: float(row[their]) for their, our in names.items() if row.get(their) is not None}


def _staleness(folder: Path) -> float:
    """S of the recipe beside the log; NaN where there is none."""
    recipe = folder / "recipe.toml"
    if not recipe.is_file():
        return float("nan")
    try:
        return float(parse_toml(recipe.read_bytes())["learner"]["staleness"])
    except KeyError:
        return float("nan")
    except (ValueError, TypeError) as error:
        raise DataError(f"{recipe} is damaged: {error}; restore it or take it away") from error
