"""Worker processes for slow graders: killed at a time limit, restarted, ended with their parent.

A worker lives from answer to answer and is started when first needed. Each is a fresh interpreter
(no fork: the parent may have threads of torch) in a session of its own, so that killing its group
takes whatever it started along.
"""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO, NamedTuple

from tersely.core.errors import GradingError
from tersely.core.types import Grade, Verdict

LIMIT_S = 5.0
MEMORY_BYTES = 2 * 1024**3
# Starting Python and importing sympy, on a machine that is busy with other things.
START_LIMIT_S = 120.0
MOST_WORKERS = 16
# A process that reads no request at all is no process any more.
_SEND_LIMIT_S = 5.0
UNGRADED = Verdict(grade=Grade.UNGRADED)
_SOURCE = Path(__file__).parents[3]


class GradingTask(NamedTuple):
    """A text for ``grade(text, answer)`` of a module, and how many seconds that may take."""

    module: str
    text: str
    answer: str
    limit_s: float = LIMIT_S


class _Gone(Exception):
    """The worker died or ran over its time."""


class Worker:
    """One process, started at its first task and again after each that it did not survive."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._errors: IO[bytes] | None = None
        self._prepared: set[str] = set()
        # What the process was asked to prepare and has not said to be ready.
        self._begun: str | None = None

    @property
    def pid(self) -> int | None:
        """The process's id; None while there is none."""
        return self._process.pid if self._process else None

    def grade(self, task: GradingTask) -> Verdict:
        """The module's verdict; UNGRADED if it took too long, too much memory, or failed.

        Raises:
            GradingError: no worker can be started, or the module cannot be loaded in one.
        """
        self._prepare(task.module)
        request = {
            "module": task.module,
            "text": task.text,
            "answer": task.answer,
            "limit_s": task.limit_s,
        }
        try:
            reply = self._ask(request, limit_s=task.limit_s)
        except _Gone:
            self.stop()
            # The next task does not wait for all of the start.
            self._begin(task.module)
            return UNGRADED
        return Verdict(grade=Grade(reply["grade"]), extracted=reply["extracted"])

    def stop(self) -> None:
        """Kills the process with all that it started, and waits until it is gone."""
        if self._process is None:
            return
        # Not reaped yet, so the group's number is still its own.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._channel is not None
        assert self._errors is not None
        self._channel.close()
        self._errors.close()
        self._process = self._channel = self._errors = self._begun = None
        self._prepared.clear()

    def _prepare(self, module: str) -> None:
        if module in self._prepared:
            return
        try:
            while module not in self._prepared:
                if self._begun is None:
                    self._begin(module)
                self._receive(limit_s=START_LIMIT_S)
                self._prepared.add(self._begun or module)
                self._begun = None
        except _Gone as error:
            said = self._last_words()
            self.stop()
            raise GradingError(
                f"a worker for {module} did not start within {START_LIMIT_S:g} s: {said}"
            ) from error

    def _begin(self, module: str) -> None:
        """Has a process prepare the module, without waiting until it has."""
        if self._process is None:
            self._start()
        self._begun = module
        # A process that is gone is noticed where its reply is awaited.
        with contextlib.suppress(_Gone):
            self._send({"module": module})

    def _start(self) -> None:
        here, there = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed by stop
        # -P: a file of the working directory must not stand in for a library. One thread of BLAS:
        # each takes address space, and nothing here multiplies matrices.
        command = [sys.executable, "-P", "-m", "tersely.tasks.grading.worker"]
        path = os.pathsep.join(filter(None, [str(_SOURCE), os.environ.get("PYTHONPATH")]))
        with there:
            self._process = subprocess.Popen(
                [*command, str(there.fileno()), str(MEMORY_BYTES), str(os.getpid())],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
                # One order of hashes: what sympy makes of a text hangs on it.
                env=os.environ
                | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            )
        self._channel = here

    def _ask(self, request: dict[str, object], *, limit_s: float) -> dict[str, str]:
        self._send(request)
        return self._receive(limit_s=limit_s)

    def _send(self, request: dict[str, object]) -> None:
        assert self._channel is not None
        try:
            self._channel.settimeout(_SEND_LIMIT_S)
            self._channel.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise _Gone from error

    def _receive(self, *, limit_s: float) -> dict[str, str]:
        assert self._channel is not None
        ends_at = time.monotonic() + limit_s
        reply = b""
        try:
            while not reply.endswith(b"\n"):
                left_s = ends_at - time.monotonic()
                if left_s <= 0:
                    raise _Gone
                self._channel.settimeout(left_s)
                part = self._channel.recv(1 << 16)
                if not part:
                    raise _Gone
                reply += part
        except OSError as error:
            raise _Gone from error
        answered: dict[str, str] = json.loads(reply)
        return answered

    def _last_words(self) -> str:
        assert self._errors is not None
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class WorkerPool:
    """As many workers as there are processors; any thread may use them."""

    def __init__(self, *, workers: int | None = None) -> None:
        self.size = workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)
        self._all = [Worker() for _ in range(self.size)]
        # The last one back is the first to go out again: what one can do starts no second.
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self._all:
            self._idle.put(worker)
        weakref.finalize(self, _stop_all, self._all, os.getpid())

    def grade(self, task: GradingTask) -> Verdict:
        """Waits for a worker and grades in it; see ``Worker.grade``."""
        worker = self._idle.get()
        try:
            return worker.grade(task)
        except BaseException:
            # An interrupt between question and answer must not leave the answer to the next task.
            worker.stop()
            raise
        finally:
            self._idle.put(worker)

    def pids(self) -> list[int]:
        """The ids of the processes that run now."""
        return [pid for worker in self._all if (pid := worker.pid) is not None]


def _stop_all(workers: list[Worker], owner: int) -> None:
    """A process that was forked off has no say over the workers of the one that started them."""
    if os.getpid() == owner:
        for worker in workers:
            worker.stop()


_pools: dict[int, WorkerPool] = {}


def pool() -> WorkerPool:
    """This process's workers."""
    owner = os.getpid()
    return _pools.get(owner) or _pools.setdefault(owner, WorkerPool())
