"""The command that starts a sandbox, for each way of isolating."""

import os
import secrets
import shutil
import sys
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

SCRATCH = "/tmp"
PACKAGES = "/packages"
# What competition programs import beyond the standard library, if it is installed here.
SHOWN_PACKAGES = ("numpy", "sortedcontainers")
_INSIDE = "/sandbox"
_SCRIPTS = ("child.py", "messages.py")
_HERE = Path(__file__).parent
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
_SETTINGS = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime")
_HIGHEST_USER = 0x7FFF_0000
_PENDING_SIGNALS = 1024


class Isolation(StrEnum):
    """How a program is kept apart from everything else."""

    BUBBLEWRAP = "bubblewrap"
    NONE = "none"


class Limits(NamedTuple):
    """What one run of a program may use.

    ``wall_s`` counts from the program's start, ``cpu_s`` for each of its processes; memory counts
    for each process as address space, and for all together as resident; ``file_bytes`` is one
    file, ``scratch_bytes`` all of them and ``scratch_files`` how many there may be, empty ones and
    folders too; ``output_bytes`` standard output.
    """

    wall_s: float = 10.0
    cpu_s: int = 6
    memory_bytes: int = 2 << 30
    processes: int = 16
    open_files: int = 64
    file_bytes: int = 16 << 20
    scratch_bytes: int = 64 << 20
    scratch_files: int = 10_000
    output_bytes: int = 8 << 20


class Numbers(NamedTuple):
    """The numbers of the files that the sandbox inherits."""

    source: int
    ready: int
    info: int
    filter: int | None


class Start(NamedTuple):
    """How a sandbox is to be started."""

    isolation: Isolation
    mode: str
    limits: Limits
    function: str
    uid: int | None


def unused_user() -> int | None:
    """A user number for root to become, so that limits of a user hold; None if we are not root,
    or are root of a container that has no other user."""
    if os.getuid() != 0:
        return None
    rows = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    first, count = max(((int(row[0]), int(row[2])) for row in rows), key=lambda row: row[1])
    if count < 1000:
        return None
    end = min(first + count, _HIGHEST_USER)
    return end - 1 - secrets.randbelow(min(count // 2, 1 << 24))


@cache
def interpreter() -> str:
    """The Python that runs the programs: our own interpreter, without its virtual environment."""
    return str(Path(sys.executable).resolve())


@cache
def readable() -> tuple[tuple[str, str], ...]:
    """What a program may read: the system's programs and libraries, this Python, few packages."""
    prefix = Path(sys.base_prefix).resolve()
    python = [prefix / part for part in ("bin", "lib", "lib64")]
    shown = [(str(p), str(p)) for p in map(Path, (*_SYSTEM, *_SETTINGS)) if p.exists()]
    if not prefix.is_relative_to("/usr"):
        shown += [(str(path), str(path)) for path in python if path.is_dir()]
    shown += [(str(folder), f"{PACKAGES}/{folder.name}") for folder in _package_folders()]
    return (*shown, *((str(_HERE / name), f"{_INSIDE}/{name}") for name in _SCRIPTS))


def command(start: Start, numbers: Numbers) -> list[str]:
    """The command line that runs ``child.py`` in a sandbox."""
    folder = _HERE if start.isolation is Isolation.NONE else Path(_INSIDE)
    runs = [
        *(interpreter(), "-s", "-S", "-P", "-B", "-X", "utf8", str(folder / "child.py")),
        *(start.mode, str(numbers.source), str(numbers.ready)),
        *("" if start.uid is None else str(start.uid), start.function),
        *(f"{name}={bound}" for name, bound in _resources(start).items()),
    ]
    return runs if start.isolation is Isolation.NONE else _bubblewrap(start, numbers, runs)


def _package_folders() -> list[Path]:
    """The folders of the packages shown, and of the libraries that a wheel puts beside them."""
    found = []
    for name in SHOWN_PACKAGES:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).resolve().parent
            found += [folder, folder.with_name(f"{name}.libs")]
    return [folder for folder in found if folder.is_dir()]


def _parents() -> list[str]:
    """The folders that the places of what is shown lie in, outer ones first."""
    found = {parent for _, place in readable() for parent in Path(place).parents}
    return sorted(map(str, found - {Path("/")}))


def _resources(start: Start) -> dict[str, int]:
    limits = start.limits
    bounds = {
        "RLIMIT_CPU": limits.cpu_s,
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_MEMLOCK": 0,
    }
    if start.isolation is Isolation.NONE:
        return bounds
    # These count all of a user's processes together, so the user must be the sandbox's own.
    # Timers are memory of the kernel; each takes one of the pending signals.
    return bounds | {"RLIMIT_NPROC": limits.processes, "RLIMIT_SIGPENDING": _PENDING_SIGNALS}


def _bubblewrap(start: Start, numbers: Numbers, runs: list[str]) -> list[str]:
    binary = shutil.which("bwrap")
    assert binary is not None
    words = [
        *(binary, "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup-try", "--die-with-parent", "--new-session"),
        *("--info-fd", str(numbers.info)),
    ]
    if start.uid is None:
        words += ["--unshare-user", "--cap-drop", "ALL"]
    else:
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    if numbers.filter is not None:
        words += ["--seccomp", str(numbers.filter)]
    for parent in _parents():
        words += ["--perms", "0755", "--dir", parent]
    for source, place in readable():
        link = os.path.islink(source)
        words += ["--symlink", os.readlink(source), place] if link else []
        words += [] if link else ["--ro-bind", source, place]
    words += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    words += ["--perms", "1777", "--size", str(start.limits.scratch_bytes), "--tmpfs", SCRATCH]
    return [*words, "--remount-ro", "/", "--chdir", SCRATCH, "--", *runs]
