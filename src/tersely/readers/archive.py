"""JSON members of a zip archive, also of one packed with Zstandard."""

import struct
import zipfile
from pathlib import Path
from typing import Any

from tersely.core import zstandard
from tersely.core.errors import DataError
from tersely.core.parsing import parse_json

# Python's own reader of zip archives knows this method from 3.14 on.
ZSTANDARD = 93
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class Archive:
    """An open zip archive of JSON files; use in a ``with`` block."""

    def __init__(self, path: Path, *, expected: str) -> None:
        """Opens it; ``expected`` says in an error what the file should have been.

        Raises:
            DataError: the file is no zip archive.
        """
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} is no zip archive; expected {expected}") from error

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def names(self) -> list[str]:
        """The members, each once, in the order of the archive."""
        return list(dict.fromkeys(self._zip.namelist()))

    def load(self, name: str) -> Any:
        """The member's JSON value.

        Raises:
            DataError: the member is damaged or is not JSON.
        """
        info = self._zip.getinfo(name)
        try:
            if info.compress_type == ZSTANDARD:
                return parse_json(zstandard.unpack(self._raw(info)))
            return parse_json(self._zip.read(info))
        except (ValueError, OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise DataError(f"{self._path}: {name} cannot be read: {error}") from error

    def _raw(self, info: zipfile.ZipInfo) -> bytes:
        """The member's bytes as they are packed."""
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
                raise zipfile.BadZipFile(f"no entry at byte {info.header_offset}")
            *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
            file.seek(name_bytes + extra_bytes, 1)
            return file.read(info.compress_size)
