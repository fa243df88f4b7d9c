"""Files packed with xz, gzip, bzip2 or Zstandard, known by their first bytes, not by their name."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

from tersely.core import zstandard
from tersely.core.errors import DataError

ENDINGS = (".xz", ".gz", ".bz2", zstandard.ENDING)
_BY_START: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\xfd7zXZ\x00": ("xz", lzma.decompress),
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    zstandard.START: ("Zstandard", zstandard.unpack),
}


def read_unpacked(path: Path) -> bytes:
    """What the file holds, unpacked if it is packed.

    Raises:
        DataError: it is packed and damaged.
    """
    content = path.read_bytes()
    for start, (kind, unpack) in _BY_START.items():
        if content.startswith(start):
            try:
                return unpack(content)
            except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
                raise DataError(f"{path} is packed with {kind} and damaged: {error}") from error
    return content


def plain_stem(path: Path) -> str:
    """The file's name without its ending, and without that of what packed it."""
    inner = path.with_suffix("") if path.suffix in ENDINGS else path
    return inner.stem
