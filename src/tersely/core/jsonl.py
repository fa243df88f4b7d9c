"""Records as JSON lines: append one, read all, repair a torn last line.

A field whose metadata says ``stored: False`` is left out.

A line is ``{"schema": 1, field: value, ...}``. A NaN is stored as ``null``, an infinity as
``"inf"`` or ``"-inf"``. A line counts as written when its newline is.
"""

import json
import math
import operator
import os
import re
import types
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from tersely.core import zstandard
from tersely.core.contents import kind_of
from tersely.core.errors import DataError
from tersely.core.parsing import parse_json
from tersely.core.storage import replacing, writing

SCHEMA = 1

Convert = Callable[[Any], Any]
T = TypeVar("T")


class _Codec(NamedTuple):
    encode: Convert
    decode: Convert


class _Form(NamedTuple):
    codecs: dict[str, _Codec]
    required: tuple[str, ...]


def append(path: Path, record: object) -> None:
    """Adds one record as one line in a single write.

    Raises:
        DataError: if the file's last line has no newline, or a value does not fit its field.
        StorageError: there is no room for the line; the file is then as it was.
    """
    line = _line(record, path=path)
    with writing(path), path.open("a+b", buffering=0) as file:
        end_bytes = file.tell()
        if end_bytes > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                raise DataError(
                    f"{path}: the last line is torn; take it away or write the file anew"
                )
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            # The disk is full: better no line than a part of one.
            os.truncate(file.fileno(), end_bytes)
            raise


def write(path: Path, records: Iterable[object]) -> None:
    """Writes all records as the whole file, which is replaced at once or not at all; packed with
    Zstandard where its name ends in ``.zst``.

    Raises:
        DataError: if a value does not fit its field; the file is then as it was.
    """
    lines = (_line(record, path=path) for record in records)
    packed = path.suffix == zstandard.ENDING
    with (
        replacing(path) as scratch,
        zstandard.open_to_pack(scratch) if packed else scratch.open("wb") as file,
    ):
        file.writelines(lines)


def as_lines(records: Iterable[object], *, path: Path) -> bytes:
    """What ``write`` would write into ``path``, not packed."""
    return b"".join(_line(record, path=path) for record in records)


def read(path: Path, type_: type[T]) -> list[T]:
    """All records of a file, in order; an empty file is an empty list. It may be packed with
    Zstandard, whatever it is called.

    A field that has a default may be absent; any other absent or unknown key is an error.

    Raises:
        DataError: naming file, line and key, for anything that is not such a record.
    """
    content = _unpacked(path, path.read_bytes())
    if kind := kind_of(content):
        raise DataError(f"{path} is {kind}, no JSON lines; unpack it or give another file")
    *lines, tail = content.split(b"\n")
    if tail:
        raise DataError(
            f"{path}:{len(lines) + 1}: the last line is torn; take it away or write the file anew"
        )
    return parse(lines, type_, name=str(path))


def _unpacked(path: Path, content: bytes) -> bytes:
    if not content.startswith(zstandard.START):
        return content
    try:
        return zstandard.unpack(content)
    except ValueError as error:
        raise DataError(
            f"{path} is packed with Zstandard and damaged: {error}; restore it, or take it away"
        ) from error


def parse(lines: Iterable[bytes], type_: type[T], *, name: str) -> list[T]:
    """The records of whole lines.

    Raises:
        DataError: as ``read`` does; ``name`` is the file to name.
    """
    return [
        _record(_parsed(line, where=f"{name}:{number}"), type_, where=f"{name}:{number}")
        for number, line in enumerate(lines, start=1)
    ]


def encode(record: object, *, where: str) -> dict[str, Any]:
    """The record's fields as JSON has them.

    Raises:
        DataError: naming ``where`` and the field, if a value does not fit.
    """
    payload: dict[str, Any] = {}
    for name, codec in _form(cast(Hashable, type(record))).codecs.items():
        value = getattr(record, name)
        try:
            payload[name] = codec.encode(value)
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}: cannot store {name}={value!r}: {error}") from error
    return payload


def name_type(type_: type) -> str:
    """What messages call a record: ``EvalRecord`` is an *eval record*."""
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", type_.__name__).lower()


def decode(payload: Mapping[str, Any], type_: type[T], *, where: str) -> T:
    """The record that ``encode`` gave these fields of.

    Raises:
        DataError: naming ``where`` and the key, for anything that is not such a record.
    """
    form = _form(cast(Hashable, type_))
    for key in payload:
        if key not in form.codecs:
            raise DataError(f"{where}: unknown key {key!r} for {name_type(type_)}")
    for key in form.required:
        if key not in payload:
            raise DataError(f"{where}: missing key {key!r} of {name_type(type_)}")
    values = {}
    for key, value in payload.items():
        try:
            values[key] = form.codecs[key].decode(value)
        except (TypeError, ValueError, DataError) as error:
            raise DataError(f"{where}: {key}: {error}") from error
    return type_(**values)


def _line(record: object, *, path: Path) -> bytes:
    payload = {"schema": SCHEMA, **encode(record, where=str(path))}
    return (json.dumps(payload, allow_nan=False, separators=(",", ":")) + "\n").encode()


def repair_torn_tail(path: Path) -> int:
    """Drops a last line that was cut off while being written; returns the bytes dropped.

    A last line that is whole but for its newline gets the newline and 0 is returned: no proper
    prefix of a JSON object is itself one.

    Raises:
        DataError: naming the line, if any earlier line is not a JSON object.
    """
    content = path.read_bytes()
    *lines, tail = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        _parsed(line, where=f"{path}:{number}")
    if not tail:
        return 0
    try:
        _parsed(tail, where=str(path))
    except DataError:
        os.truncate(path, len(content) - len(tail))
        return len(tail)
    with path.open("ab") as file:
        file.write(b"\n")
    return 0


def _parsed(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        value = parse_json(line, parse_constant=_refuse_constant)
    except ValueError as error:
        raise DataError(f"{where}: not a JSON line: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value


def _record(payload: dict[str, Any], type_: type[T], *, where: str) -> T:
    schema = payload.pop("schema", None)
    if schema != SCHEMA or isinstance(schema, bool):
        raise DataError(
            f"{where}: schema {schema!r}, but this version of tersely reads schema {SCHEMA}"
        )
    return decode(payload, type_, where=where)


@cache
def _form(hashable: Hashable) -> _Form:
    type_: Any = hashable
    hints = typing.get_type_hints(type_)
    stored = [each for each in fields(type_) if each.metadata.get("stored", True)]
    return _Form(
        codecs={field.name: _codec(hints[field.name]) for field in stored},
        required=tuple(
            field.name
            for field in stored
            if field.default is MISSING and field.default_factory is MISSING
        ),
    )


def _codec(hint: Any) -> _Codec:
    """The pair of conversions for one annotation; a TypeError if we have none."""
    if hint is float:
        return _Codec(_encode_float, _decode_float)
    if hint is int:
        return _Codec(_whole, _whole)
    if hint is bool or hint is str:
        return _Codec(*(_exactly(hint),) * 2)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _Codec(lambda value: hint(value).value, hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(_codec(arguments[0]))
    if origin is dict and arguments[0] is str:
        return _table(_codec(arguments[1]))
    if isinstance(hint, type) and is_dataclass(hint):
        return _part(hint)
    if origin is types.UnionType and len(arguments) == 2 and arguments[1] is type(None):
        return _optional(_codec(arguments[0]))
    raise TypeError(f"no JSON form for a field of type {hint}")


def _sequence(item: _Codec) -> _Codec:
    def decode(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, got {value!r}")
        return tuple(item.decode(each) for each in value)

    return _Codec(lambda value: [item.encode(each) for each in value], decode)


def _table(item: _Codec) -> _Codec:
    def decode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, got {value!r}")
        return {_exactly(str)(key): item.decode(each) for key, each in value.items()}

    return _Codec(lambda value: {key: item.encode(each) for key, each in value.items()}, decode)


def _part(type_: type) -> _Codec:
    def take_apart(value: Any) -> dict[str, Any]:
        return encode(value, where=name_type(type_))

    def put_together(value: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, got {value!r}")
        return decode(value, type_, where=name_type(type_))

    return _Codec(take_apart, put_together)


def _optional(inner: _Codec) -> _Codec:
    def encode(value: Any) -> Any:
        if value is None:
            return None
        encoded = inner.encode(value)
        if encoded is None:
            raise ValueError("NaN in an optional field would be read back as None; store None")
        return encoded

    return _Codec(encode, lambda value: None if value is None else inner.decode(value))


def _encode_float(value: Any) -> float | str | None:
    if isinstance(value, bool | str):
        raise TypeError(f"expected a number, got {value!r}")
    number = float(value)
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else str(number)


def _decode_float(value: Any) -> float:
    if value is None:
        return math.nan
    if value in ("inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, null, 'inf' or '-inf', got {value!r}")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(f"expected a whole number, got {value!r}")
    return operator.index(value)


def _exactly(type_: type) -> Convert:
    def check(value: Any) -> Any:
        if not isinstance(value, type_):
            raise TypeError(f"expected {type_.__name__}, got {value!r}")
        return value

    return check


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
