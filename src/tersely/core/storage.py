"""Writing files where the disk may be full: whole or not at all, and the error names the file."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tersely.core.errors import StorageError

_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
# What libraries say that raise errors of their own: safetensors, polars, torch.
_SAID = ("No space left", "quota exceeded", "File too large", "inline_container.cc")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever is done within writes ``path``; a full disk is told in one line.

    Raises:
        StorageError: there is no room, or the device fails; names the file and how to go on.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if not is_storage_error(error):
            raise
        reason = getattr(error, "strerror", None) or "No space left on device"
        raise StorageError(
            f"cannot write {path}: {reason}, {_tell_free(path)}; what was written before is "
            "kept: make room there and give the same command again (train and launch with --resume)"
        ) from error


def is_storage_error(error: Exception) -> bool:
    """Whether it says that there is no room, or that the device fails."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _ERRNOS
    return any(said in str(error) for said in _SAID)


def write_atomically(path: Path, text: str) -> None:
    """The whole text or nothing, also when killed or when the machine goes down."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which takes its place at the end, or is removed.

    Raises:
        StorageError: there is no room; ``path`` is as it was.
    """
    scratch = path.with_name(path.name + ".tmp")
    with writing(path):
        try:
            yield scratch
            flush(scratch)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        scratch.replace(path)


def flush(path: Path) -> None:
    """Has a file or a folder's entries reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tell_free(path: Path) -> str:
    there = next(folder for folder in path.absolute().parents if folder.is_dir())
    return f"{shutil.disk_usage(there).free / 1e6:,.0f} MB free"
