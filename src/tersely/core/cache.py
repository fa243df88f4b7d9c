"""Texts that take long to make and never change, kept for the next command of the same user."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cached(name: str, make: Callable[[], str]) -> str:
    """The text that ``make`` gives, from the user's cache where it stands there whole.

    Args:
        name: of the file; it names every version that the text depends on.
    """
    file = _folder() / name
    with contextlib.suppress(OSError, UnicodeDecodeError):
        digest, _, text = file.read_bytes().decode("utf-8").partition("\n")
        if digest == _digest(text):
            return text
    text = make()
    # Without a home, or room in it, the next command makes it again.
    with contextlib.suppress(OSError, RuntimeError):
        _keep(file, f"{_digest(text)}\n{text}")
    return text


def _folder() -> Path:
    """Where programs of this user keep what they can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "tersely"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _keep(file: Path, text: str) -> None:
    """Whole or not at all, also where two commands write it at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as writer:
            writer.write(text)
        os.replace(scratch, file)
    except BaseException:
        os.unlink(scratch)
        raise
