"""Files packed with xz, gzip, bzip2 or Zstandard, known by their first bytes, not by their name."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl

from tersely.core.errors import DataError

ENDINGS = (".xz", ".gz", ".bz2", ".zst")
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_BY_START: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\xfd7zXZ\x00": ("xz", lzma.decompress),
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    _ZSTANDARD: ("Zstandard", lambda packed: unpack_zstandard(packed).encode()),
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
            except pl.exceptions.PolarsError as error:
                reason = str(error).splitlines()[0]
                raise DataError(f"{path} is packed with {kind} and damaged: {reason}") from error
    return content


def plain_stem(path: Path) -> str:
    """The file's name without its ending, and without that of what packed it."""
    inner = path.with_suffix("") if path.suffix in ENDINGS else path
    return inner.stem


def unpack_zstandard(packed: bytes) -> str:
    """Zstandard frames as text, which is JSON: no line of it holds a raw control character.

    Python reads them from 3.14 on, polars on every version.
    """
    frame = pl.read_csv(
        packed, has_header=False, separator="\x01", quote_char=None, schema={"line": pl.String}
    )
    return "\n".join(frame["line"].fill_null(""))
