"""Which tool wrote a file or a folder, told by what it holds."""

import io
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tersely.core.contents import INSPECT_LOG, PARQUET, as_utf8, kind_of
from tersely.core.errors import ConfigError, DataError, no_such
from tersely.core.parsing import parse_json
from tersely.readers import formats, steplogs
from tersely.readers.evaluations import OURS, RECORDS_FILE
from tersely.readers.folders import TABLES, ask_for_one, files_like
from tersely.readers.packing import read_unpacked
from tersely.readers.steplogs import Writer
from tersely.readers.sweeps import is_sweep

STEPS_FILE, STATE_FILE = "steps.jsonl", "trainer_state.json"
TABLE = "table"
# What tools call the files in their output folders.
PATTERNS = (
    *(RECORDS_FILE, STEPS_FILE, STATE_FILE, "*.eval", "samples_*.jsonl", "details_*.parquet"),
    *("completions_*.parquet", "[0-9]*.jsonl", "step-*.jsonl"),
)
_RECORD = frozenset({"run", "problem", "sample", "grade", "tokens"})


class Holds(StrEnum):
    """What a file is of: the samples of an evaluation, or the steps of a training run."""

    SAMPLES = "samples"
    STEPS = "steps"


class Recognised(NamedTuple):
    """A file, what it holds, and the reader of it."""

    path: Path
    holds: Holds
    source: str


def sources() -> list[str]:
    """Every name that a tool has here."""
    return sorted({OURS, *formats.available(), *Writer})


def recognise(path: Path, *, source: str | None = None) -> Recognised:
    """What is at a path.

    Args:
        source: the tool that wrote it, where that is known; it is not looked for then.
    Raises:
        ConfigError: there is nothing, a sweep, or several files; or no such source.
        DataError: the file is of no kind that is known.
    """
    if source is not None and source not in sources():
        raise ConfigError(no_such("source", source, sources()))
    if not path.exists():
        raise ConfigError(f"there is no {path}; give a file or a folder of evaluations or steps")
    if path.is_dir():
        return _in_folder(path, source=source)
    if source is None:
        return Recognised(path, *_look(path))
    if source not in list(Writer) or (source == OURS and _look(path)[0] is Holds.SAMPLES):
        return Recognised(path, Holds.SAMPLES, source)
    if source not in (OURS, *formats.available()):
        return Recognised(path, Holds.STEPS, source)
    # Of these tools both are known.
    keys = _keys(path, _content(path))
    samples = source in formats.available() and _has(keys, formats.marks_of(source))
    return Recognised(path, Holds.SAMPLES if samples else Holds.STEPS, source)


def is_evaluation(path: Path) -> bool:
    """Whether a tool is known to write samples so; of a table, a row may be anything."""
    try:
        _, holds, source = recognise(path)
    except (ConfigError, DataError):
        return False
    return holds is Holds.SAMPLES and source != TABLE


def _in_folder(folder: Path, *, source: str | None) -> Recognised:
    if is_sweep(folder):
        raise ConfigError(f"{folder} is a sweep; give one of its levels, which are folders in it")
    for name, holds, who in (
        (STEPS_FILE, Holds.STEPS, Writer.TERSELY),
        (RECORDS_FILE, Holds.SAMPLES, OURS),
    ):
        if (folder / name).is_file() and source in (None, who):
            # Our readers check a folder as a whole.
            return Recognised(folder, holds, str(who))
    if writer := _log_writer(folder, source):
        return Recognised(folder, Holds.STEPS, writer)
    found = sorted(files_like(folder, PATTERNS))
    if not found:
        tables = sorted(files_like(folder, TABLES))
        found = [file for file in tables if not _is_settings(file)] or tables
    if len(found) == 1:
        return recognise(found[0], source=source)
    raise ConfigError(ask_for_one(folder, found))


def _is_settings(file: Path) -> bool:
    """Whether JSON holds no rows and nothing that a tool is known by: a config beside a table."""
    if ".json" not in file.suffixes:
        return False
    try:
        whole = parse_json(read_unpacked(file).strip())
        if isinstance(whole, list):
            return not (whole and isinstance(whole[0], dict))
        return _look(file) == (Holds.SAMPLES, TABLE)
    except DataError:
        return True
    except ValueError:  # JSON lines
        return False


def _look(path: Path) -> tuple[Holds, str]:
    content = _content(path)
    if not content.strip():
        raise DataError(f"{path} is empty; give a file that holds samples or steps")
    kind = kind_of(content)
    if kind == INSPECT_LOG:
        return Holds.SAMPLES, "inspect_ai"
    keys = _keys(path, content)
    if keys.keys() >= _RECORD:
        return Holds.SAMPLES, OURS
    for reader in formats.available():
        if _has(keys, formats.marks_of(reader)):
            return Holds.SAMPLES, reader
    steps = any("step" in str(key).lower() for key in keys) or "log_history" in keys
    if keys and (not steps or keys.keys() & {"problem", "prompt"}):
        return Holds.SAMPLES, TABLE
    # Anybody's CSV or JSON is of steps only if it says so.
    named = steps or b"step" in content.partition(b"\n")[0].lower()
    writer = _log_writer(path, None)
    if writer and (named or writer not in (Writer.CSV, Writer.JSON)):
        return Holds.STEPS, writer
    if kind not in (None, PARQUET):
        raise DataError(
            f"{path} is {kind}, which is not read; write samples as JSON lines or Parquet, and "
            "steps as CSV"
        )
    raise DataError(
        f"{path} is of no kind that is known (samples are JSON lines, JSON or Parquet, a CSV is of "
        f"steps and has a column step); name the tool that wrote it with source, one of "
        f"{', '.join(sources())}"
    )


def _log_writer(path: Path, source: str | None) -> str | None:
    """Who wrote the steps there; None if there are none, or of another than ``source``."""
    try:
        writer = steplogs.recognise(path)
    except DataError:
        return None
    return str(writer) if source in (None, writer) else None


def _has(keys: Mapping[str, Any], marks: Iterable[frozenset[str]]) -> bool:
    return any(mark <= keys.keys() for mark in marks)


def _content(path: Path) -> bytes:
    """What the file holds, unpacked and text in UTF-8; of JSON lines the first line."""
    with path.open("rb") as file:
        head = file.read(8192)
        if head.startswith(b"{") and b"\n" in head and _an_object(head.partition(b"\n")[0]):
            return head.partition(b"\n")[0]
    content = read_unpacked(path)
    try:
        return content if kind_of(content) else as_utf8(content)
    except ValueError as error:
        raise DataError(f"{path} is no text: {error}; save it as UTF-8") from error


def _keys(path: Path, content: bytes) -> Mapping[str, Any]:
    """The keys of the first row with its values, or the columns of a Parquet file."""
    kind = kind_of(content)
    if kind == PARQUET:
        try:
            return dict.fromkeys(pl.read_parquet_schema(io.BytesIO(content)))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{path} cannot be read as Parquet; write it anew") from error
    text = b"" if kind else content.strip()
    return _an_object(text.partition(b"\n")[0]) or _an_object(text)


def _an_object(text: bytes) -> dict[str, Any]:
    """The object that the text is, or the first of the list; empty if it is neither."""
    try:
        found = parse_json(text)
    except ValueError:
        return {}
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, dict) else {}
