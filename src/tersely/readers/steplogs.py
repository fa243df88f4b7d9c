"""Step logs of whoever trained: ours, TRL's, verl's, or a CSV with its columns named."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from tersely.core import jsonl
from tersely.core.contents import as_utf8, kind_of
from tersely.core.digests import check_step_log
from tersely.core.errors import ConfigError, DataError, no_such, shortened
from tersely.core.parsing import parse_json, parse_toml
from tersely.core.types import StepRecord
from tersely.dynamics.log import COLUMNS, StepLog, log_records, make_log
from tersely.readers.packing import read_unpacked
from tersely.readers.sheets import read_csv
from tersely.readers.trl_logs import entry, read_trl


class Writer(StrEnum):
    """Who wrote a step log."""

    TERSELY = "tersely"
    TRL = "trl"
    VERL = "verl"
    CSV = "csv"


# Their names to ours, also for the records of runs that they train for us. TRL 1.16's
# ``log_history``, where clipping is named by the loss, and below it the names of TRL before 0.18
# and of ms-swift; verl 0.9.1's metrics, whose mismatch of the sampler is of probabilities and so
# none of ours.
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
    "completion_length": "tokens_mean",
    "mean_completion_length": "tokens_mean",
    "clipped_completions_ratio": "truncated_share",
    "entropy/mean": "entropy_mean",
    "clip_ratio": "clip_share",
    **{f"tersely/{name}": name for name in COLUMNS},
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
# Words in other tools' names for what most alarms need.
HINTS = {
    "accuracy": ("acc", "correct", "reward", "score"),
    "tokens_mean": ("length", "tokens"),
    "entropy_mean": ("entropy",),
}
MOST_LISTED = 12
# How tools write a value that is not there.
BLANK = ("", "nan", "-nan", "+nan", "none", "null", "na", "n/a", "<na>", "-", "–")
SLACK = 1e-6
_CONSOLE = re.compile(r"\bstep:(\d+) - (.*)")


def read_steps(path: Path, *, writer: Writer, columns: Mapping[str, str]) -> StepLog:
    """The log in a file, or in a run's folder.

    Args:
        columns: our name to the file's, where the file does not bear ours or those of its writer.
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
        log = log_records(_our_records(file), staleness=_staleness(file.parent))
        _check_bounds(log, {}, file=file)
        return log
    names = _names(writer, columns)
    notes: tuple[str, ...] = ()
    if writer is Writer.TRL:
        rows, notes = read_trl(file, known=names)
    else:
        rows = _verl_rows(file) if writer is Writer.VERL else read_csv(file, wanted=names)
    rows = list(rows)
    _check_named(rows, columns, file=file)
    return _arranged(rows, names, file=file, notes=notes)


def _check_named(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, file: Path
) -> None:
    """Refuses a column that the user named where it is not there, or holds what is no number."""
    for our, their in columns.items():
        named = f"--column {our}={their}"
        if rows and not any(their in row for row in rows):
            raise DataError(
                f"{file} has no column {their!r}; it has "
                f"{_listed(list(dict.fromkeys(str(key) for row in rows for key in row)))}; "
                f"correct {named}"
            )
        for number, row in enumerate(rows, start=1):
            value = row.get(their)
            text = "" if value is None else str(value).strip()
            if text.lower() not in BLANK and math.isnan(_number(value)):
                raise DataError(
                    f"{file}: row {number} has {shortened(text)!r} in column {their!r}, which is "
                    f"no number; write it as 0.5 or 50%, leave it empty, or leave out {named}"
                )


def _names(writer: Writer, columns: Mapping[str, str]) -> dict[str, str]:
    """The file's names to ours, the user's first; a column of theirs takes the place of all others
    of that name."""
    known = {Writer.TRL: TRL_NAMES, Writer.VERL: VERL_NAMES}.get(writer, {})
    every = {"step": "step", **{name: name for name in COLUMNS}, **known}
    mapped = {their: our for our, their in columns.items()}
    rest = {t: our for t, our in every.items() if our not in columns and t not in mapped}
    return {**mapped, **rest}


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
            data = entry(found.get("data", {}), place=f"{file}:{number}: data")
            rows.append({"step": found.get("step"), **data})
        elif match := _CONSOLE.search(line):
            pairs = (part.rpartition(":") for part in match[2].split(" - "))
            rows.append({"step": match[1], **{name.strip(): value for name, _, value in pairs}})
    if not rows and lines and re.search(r"[,;\t]", lines[0]) and "step" in lines[0].lower():
        raise DataError(f"{file} is CSV, no log of verl's; read it with --from csv")
    return rows


def _arranged(
    rows: Iterable[Mapping[str, Any]],
    names: Mapping[str, str],
    *,
    file: Path,
    notes: tuple[str, ...] = (),
) -> StepLog:
    every = list(rows)
    # A trainer's summary or evaluation stands beside a step and says nothing of it.
    rows = [row for row in every if _holds_a_step(row, names)]
    keys = list(dict.fromkeys(str(key) for row in every for key in row))
    if not rows:
        raise DataError(
            f"{file} has no row with a step and a column that is known; it has "
            f"{_listed(keys) or 'no rows'}; name them with --column ours=theirs, for instance "
            "--column step=Step --column tokens_mean=length"
        )
    sources: dict[str, list[str]] = {}
    for their, our in names.items():
        if their in keys:
            sources.setdefault(our, []).append(their)
    arrays = {our: [_first_known(row, theirs) for row in rows] for our, theirs in sources.items()}
    log = make_log(arrays.pop("step"), arrays)
    _check_bounds(log, sources, file=file)
    unread = [key for key in keys if key not in names and _has_number(rows, key)]
    return log._replace(notes=(*notes, *log.notes, *_say_unread(unread, set(sources))))


def _first_known(row: Mapping[str, Any], theirs: Iterable[str]) -> float:
    values = (_number(row[their]) for their in theirs if their in row)
    return next((value for value in values if not math.isnan(value)), math.nan)


def _has_number(rows: Iterable[Mapping[str, Any]], key: str) -> bool:
    return any(math.isfinite(_number(row.get(key))) for row in rows)


def _listed(keys: Sequence[str]) -> str:
    rest = f" and {len(keys) - MOST_LISTED} more" if len(keys) > MOST_LISTED else ""
    return ", ".join(keys[:MOST_LISTED]) + rest


def _say_unread(unread: Sequence[str], known: Collection[str]) -> list[str]:
    """What else the file has, where it lacks what the alarms read most."""
    lacking = [name for name in HINTS if name not in known]
    for name in lacking:
        near = [key for key in unread if any(word in key.lower() for word in HINTS[name])]
        if near:
            return [
                f"Not read: {_listed(near)}; where one of them is {name}, say for instance "
                f"--column {name}={near[0]}."
            ]
    return [f"Not read: {_listed(unread)}."] if unread and lacking else []


def _check_bounds(log: StepLog, sources: Mapping[str, Sequence[str]], *, file: Path) -> None:
    """Refuses a share outside 0 to 1 and a length below 0, which no step can have."""
    for name, values_N in log.columns.items():
        share = name == "accuracy" or name.endswith("_share")
        if not share and "tokens" not in name:
            continue
        # Sums of rounded numbers may stand a little above 1.
        (bad_K,) = np.nonzero((values_N < -SLACK) | (share & (values_N > 1 + SLACK)))
        if not bad_K.size:
            continue
        value, step = values_N[bad_K[0]], log.step_N[bad_K[0]]
        theirs = " or ".join(sources.get(name, [name]))
        of = "" if theirs == name else f" (column {theirs})"
        bound = "a share from 0 to 1" if share else "a number of tokens, at least 0"
        fix = "divide the column by 100 if it is in percent" if share else "correct the column"
        raise DataError(
            f"{file}: {name}{of} is {value:g} at step {step:.0f}, and must be {bound}; {fix}"
        )


def _holds_a_step(row: Mapping[str, Any], names: Mapping[str, str]) -> bool:
    ours = {names[their]: row[their] for their in row if their in names}
    return len(ours) > 1 and math.isfinite(_number(ours.get("step")))


def _number(value: Any) -> float:
    if isinstance(value, str):
        # Consoles print numpy's numbers with their type: np.float64(0.5).
        value = value.rpartition("(")[2].rstrip(") ")
        if value.endswith("%"):
            return _number(value[:-1]) / 100
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
