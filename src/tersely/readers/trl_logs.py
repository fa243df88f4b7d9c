"""TRL's steps: of trainer_state.json, of the lines that it prints, and ms-swift's JSON lines."""

import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from tersely.core.contents import as_utf8, kind_of
from tersely.core.errors import DataError
from tersely.core.parsing import parse_json
from tersely.readers.packing import read_unpacked

_GIVE = (
    "give trainer_state.json of a checkpoint, the console output with its lines "
    "{'loss': ..., 'reward': ...}, or ms-swift's logging.jsonl"
)
# A dict as Python prints it, perhaps behind a progress bar; its numbers may be nan, or quoted.
_PRINTED = re.compile(r"\{'[^{}]*\}")
_PAIR = re.compile(r"'([^']+)': *([^,{}]*)")
_OF = "global_step/max_steps"
# Summaries and evaluations are printed like a step.
_NO_STEP = ("train_runtime", "eval_")
COUNTED = (
    "The printed lines do not say their step: they are counted from 1, which is right where every "
    "step was printed (logging_steps = 1)."
)


def read_trl(
    file: Path, *, known: Container[str]
) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    """The logged rows by TRL's names, each with its step, and what is to be said of them.

    Args:
        known: names by which a printed dict is known as a step's: it has two of them.
    Raises:
        DataError: the file holds nothing that TRL or ms-swift logs.
    """
    content = read_unpacked(file)
    if kind := kind_of(content):
        raise DataError(f"{file} is {kind}, no text; {_GIVE}")
    text = as_utf8(content).decode(errors="replace")
    try:
        whole = parse_json(text)
    except ValueError as error:
        rows = list(_lines(file, text))
        if not rows:
            raise DataError(
                f"{file} is no trainer_state.json with a log_history: {error}; {_GIVE}"
            ) from error
        return _counted(rows, known)
    if isinstance(whole, dict) and "log_history" not in whole and _OF in whole:
        return _counted([whole], known)
    try:
        history = list(whole["log_history"])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{file} is no trainer_state.json with a log_history: {error}; {_GIVE}"
        ) from error
    return [entry(row, place=f"{file}: entry {n}") for n, row in enumerate(history, start=1)], ()


def entry(found: Any, *, place: str) -> Mapping[str, Any]:
    """The object that stands at a place of a log."""
    if not isinstance(found, dict):
        raise DataError(f"{place} is a {type(found).__name__}, no object; correct it")
    return found


def _lines(file: Path, text: str) -> Iterator[dict[str, Any]]:
    """The rows of a file of lines, each JSON or a printed dict; other lines say nothing."""
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if line.startswith('{"'):
            try:
                yield dict(entry(parse_json(line), place=f"{file}:{number}"))
            except ValueError as error:
                if number == len(lines) and not text.endswith("\n"):
                    # A run in progress, or one that was killed, is writing this line.
                    return
                raise DataError(f"{file}:{number} is not JSON: {error}") from error
        for printed in _PRINTED.findall(line):
            yield {name: value.strip(" '") for name, value in _PAIR.findall(printed)}


def _counted(
    rows: list[dict[str, Any]], known: Container[str]
) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    """The rows with a step: the one that they name, else, where none does, their number."""
    named = [{**row, "step": str(row[_OF]).partition("/")[0]} for row in rows if _OF in row]
    named = named or [row for row in rows if "step" in row]
    if named:
        return list(named), ()
    steps = [
        row
        for row in rows
        if sum(name in known for name in row) > 1
        and not any(name.startswith(_NO_STEP) for name in row)
    ]
    counted = [{"step": number, **row} for number, row in enumerate(steps, start=1)]
    if not counted:
        return list(rows), ()
    return list(counted), (COUNTED,)
