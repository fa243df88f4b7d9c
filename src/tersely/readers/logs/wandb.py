"""Weights & Biases: offline folders, a ``.wandb`` file, or a history as JSON; its CSV is read
with the others."""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.core.extras import refuse_absent
from tersely.core.parsing import parse_json
from tersely.readers.logged import LoggedRun, read_json

_GIVE = "give a run's folder, its .wandb file, or its history as JSON or CSV"
_FILE_START = b":W&B"
# LevelDB's log: blocks of 32 KiB, in which a record is whole or goes on in the next.
_BLOCK, _HEAD, _FULL, _LAST = 32768, 7, 1, 4


def looks_like(path: Path) -> bool:
    """A ``.wandb`` file, a folder with them, or JSON rows that have ``_step``."""
    if path.is_dir():
        return bool(_files(path))
    if path.suffix == ".wandb":
        return True
    with path.open("rb") as content:
        head = content.read(1 << 16)
    return head.lstrip()[:1] in (b"{", b"[") and b'"_step"' in head


def wandb(path: Path) -> list[LoggedRun]:
    """The history of each run.

    Raises:
        ConfigError: a ``.wandb`` file, and wandb is not installed.
        DataError: there is no history in it.
    """
    files = _files(path)
    if path.is_dir() and not files:
        raise DataError(f"{path} holds no run-ID.wandb; {_GIVE}")
    if not files:
        return read_json(path)
    refuse_absent("wandb", what=f"reading {files[0].name}", extra="track")
    runs = [_read_file(file) for file in files]
    if not any(run.rows for run in runs):
        raise DataError(f"{path}: nothing was logged to {files[0].name}; {_GIVE}")
    return [run for run in runs if run.rows]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".wandb" else []
    found = [file for p in ("", "*run-*/", "wandb/*run-*/") for file in path.glob(f"{p}*.wandb")]
    # wandb/latest-run is a link to one of them.
    return sorted({file.resolve() for file in found})


def _read_file(file: Path) -> LoggedRun:
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    name, rows = file.stem, []
    content = file.read_bytes()
    if not content.startswith(_FILE_START):
        raise DataError(f"{file} is no file of Weights & Biases; {_GIVE}")
    for written in _records(content):
        record = Record()
        try:
            record.ParseFromString(written)
        except DecodeError as error:
            raise DataError(f"{file} is damaged: {error}; {_GIVE}") from error
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name = record.run.display_name or name
        elif kind == "history":
            rows.append(_row(record.history))
    return LoggedRun(name, rows)


def _records(content: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log; a last one that is being written is left out."""
    at, parts = _HEAD, b""
    while at + _HEAD <= len(content):
        left = _BLOCK - at % _BLOCK
        if left < _HEAD:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, at)
        at += _HEAD + size
        if at > len(content) or not kind:
            return
        parts += content[at - size : at]
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""


def _row(history: Any) -> Mapping[str, Any]:
    row = {"_step": history.step.num}
    for item in history.item:
        name = ".".join(item.nested_key) or item.key
        try:
            value = parse_json(item.value_json)
        except ValueError:
            continue
        if isinstance(value, int | float | str):
            row[name] = value
    return row
