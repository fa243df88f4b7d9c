"""Step logs of whoever trained: ours, TRL's, verl's, or a CSV with its columns named."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from tersely.core import jsonl
from tersely.core.contents import as_utf8, kind_of
from tersely.core.digests import check_step_log
from tersely.core.errors import ConfigError, DataError, no_such
from tersely.core.parsing import parse_json, parse_toml
from tersely.core.types import StepRecord
from tersely.dynamics.log import COLUMNS, StepLog, log_records, make_log
from tersely.readers.packing import read_unpacked
from tersely.readers.sheets import read_csv


class Writer(StrEnum):
    """Who wrote a step log."""

    TERSELY = "tersely"
    TRL = "trl"
    VERL = "verl"
    CSV = "csv"


# Their names to ours, also for the records of runs that they train for us. TRL 1.16's
# ``log_history``, where clipping is named by the loss; verl 0.9.1's metrics, whose mismatch of the
# sampler is of probabilities and so none of ours.
TRL_NAMES = {
    "completions/mean_length": "tokens_mean",
    "completions/clipped_ratio": "truncated_share",
    "entropy": "entropy_mean",
    "kl": "kl_mean",
    "reward": "reward_mean",
    "frac_reward_zero_std": "zero_signal_share",
    "sampling/sampling_logp_difference/mean": "sampler_mismatch",
    "clip_ratio/region_mean": "clip_share",
    "cispo_clip_ratio": "clip_share",
    "grad_norm": "grad_norm",
    "loss": "loss",
    "learning_rate": "learning_rate",
}
VERL_NAMES = {
    "response_length/mean": "tokens_mean",
    "response_length/clip_ratio": "truncated_share",
    "actor/entropy": "entropy_mean",
    "actor/kl_loss": "kl_mean",
    "critic/score/mean": "reward_mean",
    "actor/grad_norm": "grad_norm",
    "actor/pg_clipfrac": "clip_share",
    "actor/pg_loss": "loss",
    "actor/lr": "learning_rate",
}
_CONSOLE = re.compile(r"\bstep:(\d+) - (.*)")


def read_steps(path: Path, *, writer: Writer, columns: Mapping[str, str]) -> StepLog:
    """The log in a file, or in a run's folder.

    Args:
        columns: our name to the file's; for CSV all that are to be read, elsewhere further ones.
    Raises:
        ConfigError: there is no such file, or a column is no name of ours.
        DataError: the file holds no steps of this kind.
    """
    for name in columns:
        if name not in (*COLUMNS, "step"):
            raise ConfigError(no_such("column", name, ("step", *COLUMNS), of="a step log"))
    file = path / _default_file(writer) if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"no step log at {file}; give a file or a run folder")
    if writer is Writer.TERSELY:
        check_step_log(file.parent)
        return log_records(_our_records(file), staleness=_staleness(file.parent))
    theirs = {their: our for our, their in columns.items()}
    if writer is Writer.TRL:
        rows: Iterable[Mapping[str, Any]] = _trl_rows(file)
        names = {"step": "step", **TRL_NAMES, **theirs}
    elif writer is Writer.VERL:
        rows, names = _verl_rows(file), {"step": "step", **VERL_NAMES, **theirs}
    else:
        names = {"step": "step", **theirs}
        rows = read_csv(file, wanted=names)
    return _arranged(rows, names, file=file)


def _our_records(file: Path) -> list[StepRecord]:
    try:
        return jsonl.read(file, StepRecord)
    except DataError as error:
        others = ", ".join(writer for writer in Writer if writer is not Writer.TERSELY)
        raise DataError(f"{error}; for another tool's log say --from {others}") from error


def in_our_words(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """What a trainer logged of one update, by our names; ``names`` are its names to ours."""
    return {our: float(row[their]) for their, our in names.items() if row.get(their) is not None}


def _default_file(writer: Writer) -> str:
    return "trainer_state.json" if writer is Writer.TRL else "steps.jsonl"


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


def _trl_rows(file: Path) -> list[Mapping[str, Any]]:
    try:
        rows: list[Any] = list(parse_json(read_unpacked(file))["log_history"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is no trainer_state.json with a log_history: {error}") from error
    return [_entry(row, place=f"{file}: entry {n}") for n, row in enumerate(rows, start=1)]


def _verl_rows(file: Path) -> list[Mapping[str, Any]]:
    """File logger: ``{"step": n, "data": {...}}`` a line; console: ``step:n - name:value``."""
    rows: list[Mapping[str, Any]] = []
    content = read_unpacked(file)
    if kind := kind_of(content):
        raise DataError(f"{file} is {kind}, no log of verl's; give its metrics or console output")
    text = as_utf8(content).decode(errors="replace")
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if line.startswith("{"):
            try:
                found = parse_json(line)
            except ValueError as error:
                if number == len(lines) and not text.endswith("\n"):
                    # A run in progress, or one that was killed, is writing this line.
                    break
                raise DataError(f"{file}:{number} is not JSON: {error}") from error
            data = _entry(found.get("data", {}), place=f"{file}:{number}: data")
            rows.append({"step": found.get("step"), **data})
        elif match := _CONSOLE.search(line):
            pairs = (part.rpartition(":") for part in match[2].split(" - "))
            rows.append({"step": match[1], **{name.strip(): value for name, _, value in pairs}})
    return rows


def _entry(found: Any, *, place: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise DataError(f"{place} is a {type(found).__name__}, no object; correct it")
    return found


def _arranged(
    rows: Iterable[Mapping[str, Any]], names: Mapping[str, str], *, file: Path
) -> StepLog:
    every = list(rows)
    # A trainer's summary or evaluation stands beside a step and says nothing of it.
    rows = [row for row in every if _holds_a_step(row, names)]
    if not rows:
        seen = ", ".join(sorted({str(key) for row in every[:1] for key in row})) or "no rows"
        others = ", ".join(their for their, our in names.items() if our != "step")
        raise DataError(
            f"{file} has no row with {_name_of('step', names)} and one of the columns "
            f"{others or '(none named)'}; it has {seen}; name them with "
            "--column ours=theirs, for instance --column step=Step --column tokens_mean=length"
        )
    kept = {their: our for their, our in names.items() if any(their in row for row in rows)}
    arrays = {our: [_number(row.get(their)) for row in rows] for their, our in kept.items()}
    return make_log(arrays.pop("step"), arrays)


def _holds_a_step(row: Mapping[str, Any], names: Mapping[str, str]) -> bool:
    ours = {names[their] for their in row if their in names}
    return "step" in ours and len(ours) > 1


def _name_of(column: str, names: Mapping[str, str]) -> str:
    return " or ".join(their for their, our in names.items() if our == column)


def _number(value: Any) -> float:
    if isinstance(value, str):
        # Consoles print numpy's numbers with their type: np.float64(0.5).
        value = value.rpartition("(")[2].rstrip(")")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
