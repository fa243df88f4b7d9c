"""Texts that take long to make and never change, kept for the next command of the same user."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from tersely.core.errors import StorageError
from tersely.core.storage import write_atomically


def cached(name: str, make: Callable[[], str]) -> str:
    """The text that ``make`` gives, from the user's cache where it stands there whole.

    Args:
        name: of the file; it names every version that the text depends on.
    """
    found = kept(name)
    if found is not None:
        return found
    text = make()
    # Without a home, or room in it, the next command makes it again; and so where two commands
    # wrote at once, since the text has to fit its digest.
    with contextlib.suppress(OSError, StorageError):
        file = cache_folder() / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, f"{_digest(text)}\n{text}")
    return text


def kept(name: str) -> str | None:
    """The text of that name that the cache holds whole, else None."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        digest, _, text = (cache_folder() / name).read_bytes().decode("utf-8").partition("\n")
        if digest == _digest(text):
            return text
    return None


def cache_folder() -> Path:
    """Where programs of this user keep what they can make again.

    Raises:
        FileNotFoundError: this user has no home.
    """
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(folder):
        raise FileNotFoundError(f"no folder for caches: {folder}")
    return Path(folder) / "tersely"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
