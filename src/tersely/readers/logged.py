"""A training log as its tool wrote it: rows under the tool's own names, one set a run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tersely.core.contents import as_utf8, kind_of
from tersely.core.errors import DataError
from tersely.core.parsing import parse_json
from tersely.readers.packing import read_unpacked


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
    """The file's text.

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
    return text


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
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.startswith(start):
            yield line, None
            continue
        try:
            yield line, entry(parse_json(line), place=f"{file}:{number}")
        except ValueError as error:
            if number == len(lines) and not text.endswith("\n"):
                return
            raise DataError(f"{file}:{number} is not JSON: {error}") from error


def gather(points: Iterable[tuple[float, str, Any]]) -> list[Mapping[str, Any]]:
    """Rows from single values, each with its step and name: one row a step, in their order."""
    rows: dict[float, dict[str, Any]] = {}
    for step, name, value in points:
        rows.setdefault(step, {"step": step})[name] = value
    return [rows[step] for step in sorted(rows)]
