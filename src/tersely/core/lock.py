"""One process at a time writes to a folder; the next one is told who does.

The operating system holds the lock and lets go of it when its owner ends, however it ends. Where a
drive cannot lock (some network drives), the library keeps the owner's host and process id in the
lock file instead: then a lock of a dead process on this machine is taken over as well, and that of
another machine stands until somebody deletes it. Readers never lock.
"""

import errno
import json
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from tersely.core.errors import ConfigError, TerselyWarning
from tersely.core.storage import write_atomically, writing

# What drives answer that have no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
LOCK_FILE, OWNER_FILE = ".lock", ".lock.json"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Holds the folder, which is made if need be, for writing.

    Folders that were made here and in which nothing was written are removed at the end.

    Raises:
        ConfigError: another process holds it; says which one, since when, and what to do.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE, blocking=False)
    try:
        _acquire(lock, folder)
        _take_over(folder)
        yield
    finally:
        if lock.is_locked:
            (folder / OWNER_FILE).unlink(missing_ok=True)
            # While it is held: whoever opened the file before sees that it is gone.
            (folder / LOCK_FILE).unlink(missing_ok=True)
            lock.release()
        with suppress(OSError):
            for each in made:
                each.rmdir()


def _acquire(lock: BaseFileLock, folder: Path) -> None:
    try:
        with writing(folder / LOCK_FILE):
            lock.acquire()
    except Timeout:
        raise ConfigError(_tell_held(folder)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"the drive of {folder} cannot lock ({error.strerror}): see that no other process "
            "writes to it",
            TerselyWarning,
            stacklevel=5,
        )


def contents(folder: Path) -> list[str]:
    """The names of what a folder holds, without locks and what a cut-off write left behind."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir())
    return sorted(n for n in names if n not in (LOCK_FILE, OWNER_FILE) and not n.endswith(".tmp"))


def _take_over(folder: Path) -> None:
    """Writes down who holds the folder now, and warns where its last owner was another machine."""
    last, host = _read_owner(folder), socket.gethostname()
    if last.get("host", host) != host:
        warnings.warn(
            f"{folder} was held by {_tell_owner(last)}, which did not end in order; its lock is "
            "gone, so this process goes on. If that one is still running, stop this one: the drive "
            "does not share locks between machines",
            TerselyWarning,
            stacklevel=4,
        )
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    owner = {"pid": os.getpid(), "host": host, "since": since}
    write_atomically(folder / OWNER_FILE, json.dumps(owner) + "\n")


def _tell_held(folder: Path) -> str:
    return (
        f"{folder} is being written by {_tell_owner(_read_owner(folder))}; wait for it or stop it, "
        "or choose another folder (where that process does not exist any more, delete "
        f"{folder / LOCK_FILE})"
    )


def _tell_owner(owner: dict[str, object]) -> str:
    if not owner:
        return "another process"
    return f"process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}"


def _read_owner(folder: Path) -> dict[str, object]:
    try:
        owner = json.loads((folder / OWNER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}
