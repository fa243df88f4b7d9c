"""A sandbox while it lives: what goes in and comes out, its limits in time and size, its end."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from tersely.core.errors import GradingError
from tersely.tasks.sandbox import seccomp
from tersely.tasks.sandbox.commands import (
    SCRATCH,
    Isolation,
    Limits,
    Numbers,
    Start,
    command,
    unused_user,
)

# Starting an interpreter on a machine that is busy with other things; no part of wall_s.
START_LIMIT_S = 60.0
_LOOK_S = 0.05
_PART_BYTES = 1 << 16
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    # The order of a set must not change a verdict from one run to the next.
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class End(StrEnum):
    """How a program ended: by itself, by an error, or at one of its limits."""

    DONE = "done"
    FAILED = "failed"
    TIME = "time"
    MEMORY = "memory"
    FILES = "files"
    OUTPUT = "output"


class ProgramOutcome(NamedTuple):
    """How a program ended and what it had written to standard output by then."""

    end: End
    stdout: bytes


class Stopped(Exception):
    """The code in a cell ended, or was ended at a limit, before it answered."""

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self.end = end


def _in_memory(name: str, content: bytes) -> int:
    file = os.memfd_create(name)
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file


class SandboxedProcess:
    """One sandboxed process with all that it starts. Use it in a ``with`` block: at the end of the
    block every one of those processes is gone."""

    def __init__(
        self,
        source: str,
        *,
        isolation: Isolation,
        mode: str,
        limits: Limits,
        stdin: bytes | None = None,
        function: str = "",
    ) -> None:
        self._limits = limits
        self._received = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._first: int | None = None
        uid = None if isolation is Isolation.NONE else unused_user()
        self._start = Start(isolation, mode, limits, function, uid)
        self._folder = None
        if isolation is Isolation.NONE:
            self._folder = tempfile.mkdtemp(prefix="tersely-program-")
        self._open: list[int] = []
        try:
            self._launch(source, stdin)
            self._await_start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> "SandboxedProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, source: str, stdin: bytes | None) -> None:
        def kept(*files: int) -> int:
            self._open += files
            return files[0]

        code = kept(_in_memory("source", source.encode(errors="replace")))
        self._ready, ready = os.pipe()
        info = os.dup(ready)
        kept(self._ready, ready, info)
        filter_code = seccomp.program()
        refused = None if filter_code is None else kept(_in_memory("filter", filter_code))
        if stdin is None:
            here, there = (end.detach() for end in socket.socketpair())
            self._out = kept(here, there)
            ends = (there, subprocess.DEVNULL)
        else:
            self._out, write = os.pipe()
            kept(self._out, write)
            if self._start.uid is not None:
                os.fchown(write, self._start.uid, -1)
            ends = (kept(_in_memory("stdin", stdin)), write)
        os.set_blocking(self._out, False)
        numbers = Numbers(code, ready, info, refused)
        given = [number for number in numbers if number is not None]
        self._launched = time.monotonic()
        self._process = subprocess.Popen(
            command(self._start, numbers),
            stdin=ends[0],
            stdout=ends[1],
            stderr=subprocess.DEVNULL,
            pass_fds=given,
            env=_ENVIRONMENT | ({"HOME": self._folder} if self._folder else {}),
            cwd=self._folder,
            start_new_session=True,
        )
        for file in {*given, *ends} - {subprocess.DEVNULL}:
            self._open.remove(file)
            os.close(file)

    def _await_start(self) -> None:
        """Reads the number of the first process inside, then that the code is about to run."""
        ends_at, said = time.monotonic() + START_LIMIT_S, b""
        while not said.endswith(b"ready\n"):
            if not _wait(self._ready, select.POLLIN, limit_s=ends_at - time.monotonic()):
                raise GradingError(f"no sandbox within {START_LIMIT_S:g} s; is the machine busy?")
            part = os.read(self._ready, _PART_BYTES)
            if not part:
                raise GradingError(f"a {self._start.isolation} sandbox did not start")
            said += part
            self._note_first(said)
        self._started = time.monotonic()

    def _note_first(self, said: bytes) -> None:
        """A handle on the sandbox's first process: when that is gone, so are all others."""
        assert self._process is not None
        text = said.removesuffix(b"ready\n")
        if self._first is not None or not text.rstrip().endswith(b"}"):
            return
        pid = int(json.loads(text)["child-pid"])
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        if _parent_of(pid) == self._process.pid:
            self._first = handle
        else:
            os.close(handle)

    def ask(self, line: bytes, *, ends_at: float) -> bytes:
        """Sends a line, if any, and returns the line that comes back.

        Raises:
            Stopped: none came before ``ends_at`` of the monotonic clock, or within the limits.
        """
        return self._exchange(line, ends_at=ends_at, one_line=True)

    def finish(self) -> ProgramOutcome:
        """Waits for the program's own end, at most until a limit."""
        assert self._process is not None
        ends_at = self._started + self._limits.wall_s
        try:
            stdout = self._exchange(b"", ends_at=ends_at, one_line=False)
            # It may have closed its standard output and go on.
            while (code := self._process.poll()) is None:
                self._check_limits(ends_at)
                time.sleep(0.001)
        except Stopped as stopped:
            return ProgramOutcome(stopped.end, self._received)
        if self._used_its_time(code):
            return ProgramOutcome(End.TIME, stdout)
        return ProgramOutcome(End.FAILED if code else End.DONE, stdout)

    def _used_its_time(self, code: int) -> bool:
        """Whether the kernel ended it for its processor time: by a signal of its own, or if that
        was ignored by the one that ends everything, which no single thread can have earlier."""
        number = -code if code < 0 else code - 128
        elapsed_s = time.monotonic() - self._launched
        return number == signal.SIGXCPU or (
            number == signal.SIGKILL and elapsed_s >= self._limits.cpu_s
        )

    def _check_limits(self, ends_at: float) -> None:
        if time.monotonic() >= ends_at:
            raise Stopped(End.TIME)
        if len(self._received) > self._limits.output_bytes:
            raise Stopped(End.OUTPUT)
        assert self._process is not None
        if _resident_bytes(self._process.pid) > self._limits.memory_bytes:
            raise Stopped(End.MEMORY)
        if _scratch_files(self._process.pid) > self._limits.scratch_files:
            raise Stopped(End.FILES)

    def _exchange(self, message: bytes, *, ends_at: float, one_line: bool) -> bytes:
        left = memoryview(message)
        looked_at = 0.0
        while True:
            if one_line and b"\n" in self._received:
                line, _, self._received = self._received.partition(b"\n")
                return line
            now = time.monotonic()
            over = len(self._received) > self._limits.output_bytes
            if now >= ends_at or over or now - looked_at >= _LOOK_S:
                self._check_limits(ends_at)
                looked_at = now
            wanted = select.POLLIN | (select.POLLOUT if left else 0)
            ready = _wait(self._out, wanted, limit_s=min(_LOOK_S, ends_at - now))
            try:
                if ready & select.POLLOUT:
                    left = left[os.write(self._out, left[:_PART_BYTES]) :]
                if ready & ~select.POLLOUT and not self._read_part():
                    if one_line:
                        raise Stopped(End.FAILED)
                    return self._received
            except (BrokenPipeError, ConnectionResetError):
                raise Stopped(End.FAILED) from None

    def _read_part(self) -> bool:
        part = os.read(self._out, _PART_BYTES)
        self._received += part
        return bool(part)

    def stop(self) -> None:
        """Kills everything in the cell and waits until it is gone."""
        process = self._process
        if self._first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            _wait(self._first, select.POLLIN)
            os.close(self._first)
            self._first = None
        if process is not None:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for file in self._open:
            os.close(file)
        self._open.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _wait(file: int, events: int, *, limit_s: float | None = None) -> int:
    """Which of the events are there, or an end or error of the file; 0 after ``limit_s``."""
    poll = select.poll()
    poll.register(file, events)
    found = poll.poll(None if limit_s is None else max(0.0, limit_s) * 1000)
    return found[0][1] if found else 0


def _parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _family(pid: int) -> Iterator[Path]:
    """The folders in /proc of a process and of all that descend from it."""
    waiting = [pid]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        yield folder
        with suppress(OSError):
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())


def _resident_bytes(pid: int) -> int:
    """The memory of a process and of all that descend from it; shared pages count each time."""
    total = 0
    for folder in _family(pid):
        with suppress(OSError):
            total += int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES
    return total


def _scratch_files(pid: int) -> int:
    """The files, folders and links in a sandbox's scratch folder; 0 where it has none of its own.

    Bubblewrap bounds a tmpfs in bytes only, and an empty file has none: its inode takes memory of
    the kernel that no other limit counts.
    """
    with suppress(OSError):
        ours = os.stat(SCRATCH).st_dev
        for folder in _family(pid):
            with suppress(OSError):
                scratch = f"{folder}/root{SCRATCH}"
                if os.stat(scratch).st_dev != ours:
                    found = os.statvfs(scratch)
                    return found.f_files - found.f_ffree
    return 0
