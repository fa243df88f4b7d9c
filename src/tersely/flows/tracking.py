"""A run's figures, sent to trackers while it goes, by a process of their own for each.

Such a process reads what the run folder holds when it is told that there is more, so a tracker that
raises, hangs or is slow neither stops the run nor changes it. What it has sent is kept in the
folder, and a run that goes on is sent from there.
"""

import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import NamedTuple

from tersely.core.errors import TerselyError, TerselyWarning
from tersely.core.types import EvalRecord, StepRecord, StepTiming
from tersely.dynamics.alarms import Alarm
from tersely.flows.observer import Observer
from tersely.flows.recipe.recipe import RECIPE_FILE, read_recipe
from tersely.trackers import Ending

MODULE = "tersely.flows.tracking_process"
TRACK = "track"
# What a tracker gets to begin a run, and to send what is left at its end.
START_S, END_S = 120.0, 120.0
MOST_CHARS = 300
MORE = b"more\n"
WHY = "left out: "


class Follower(NamedTuple):
    """The process of one tracker."""

    name: str
    process: "subprocess.Popen[bytes]"
    folder: Path
    begun_s: float

    @property
    def log(self) -> Path:
        """What it and the tracker's client print."""
        return self.folder / TRACK / f"{self.name}.txt"

    @property
    def started(self) -> bool:
        """Whether the tracker has taken the run."""
        file = self.folder / TRACK / f"{self.name}.pid"
        return file.is_file() and file.read_text(encoding="utf-8") == str(self.process.pid)

    def tell(self, line: bytes) -> None:
        """Says that there is more, or how the run ended; one that does not listen is left alone."""
        assert self.process.stdin is not None
        with suppress(OSError):
            os.write(self.process.stdin.fileno(), line)

    def forget(self) -> None:
        """Ends it, if it goes on, and closes what it is told through."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def last_line(self) -> str:
        """Why it ended, in the line that says so, or else in its last one."""
        lines: list[str] = []
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        why = [line.removeprefix(WHY) for line in said if line.startswith(WHY)]
        return (why or said or [f"exit code {self.process.returncode}"])[-1][:MOST_CHARS]


class Tracking:
    """An observer that has trackers follow a run, and passes every event on.

    They begin with the first event, when the folder is there, and end with the block.

    Args:
        folder: of the run; its recipe says to which trackers.
        environment: of their processes; None: this one's.
    """

    def __init__(
        self, folder: Path, observer: Observer, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder, self._observer, self._environment = folder, observer, environment
        self._followers: list[Follower] | None = None

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        failed = kind is not None and issubclass(kind, TerselyError)
        ending = Ending.FAILED if failed else Ending.STOPPED if kind else Ending.FINISHED
        until_s = monotonic() + END_S
        for each in self._followers or ():
            each.tell(f"{ending.value}\n".encode())
        for each in tuple(self._followers or ()):
            self._see_off(each, until_s)

    def on_sampling(self, what: str, total: int, done: int) -> None:
        self._observer.on_sampling(what, total, done)
        self._tell()

    def on_sample(self, record: EvalRecord | None) -> None:
        self._observer.on_sample(record)

    def on_step(self, record: StepRecord, timing: StepTiming, *, steps: int) -> None:
        self._observer.on_step(record, timing, steps=steps)
        self._tell()

    def on_evaluation(self, step: int, records: Sequence[EvalRecord]) -> None:
        self._observer.on_evaluation(step, records)
        self._tell()

    def on_alarm(self, alarm: Alarm) -> None:
        self._observer.on_alarm(alarm)
        self._tell()

    def wants_stop(self) -> bool:
        return self._observer.wants_stop()

    def _tell(self) -> None:
        if self._followers is None:
            self._begin()
        for each in tuple(self._followers or ()):
            if each.process.poll() is not None:
                self._leave_out(each, each.last_line())
            elif monotonic() - each.begun_s > START_S and not each.started:
                self._leave_out(each, f"it did not begin within {START_S:.0f} s")
            else:
                each.tell(MORE)

    def _begin(self) -> None:
        """Starts the trackers of the folder's recipe."""
        self._followers = []
        for name in read_recipe(self._folder / RECIPE_FILE).trackers:
            try:
                self._followers.append(_follow(name, self._folder, environment=self._environment))
            except OSError as error:  # no room for its log, or no more processes
                _warn(name, f"it could not be started ({error})")

    def _see_off(self, follower: Follower, until_s: float) -> None:
        try:
            code = follower.process.wait(timeout=max(0.0, until_s - monotonic()))
        except subprocess.TimeoutExpired:
            self._leave_out(follower, f"it was still sending {END_S:.0f} s after the run's end")
            return
        except KeyboardInterrupt:
            follower.forget()
            raise
        follower.forget()
        if code:
            self._leave_out(follower, follower.last_line())

    def _leave_out(self, follower: Follower, reason: str) -> None:
        assert self._followers is not None
        self._followers.remove(follower)
        follower.forget()
        _warn(follower.name, f"{reason} (all of it in {follower.log})")


def _warn(name: str, reason: str) -> None:
    warnings.warn(
        f"{name} is left out from here on: {reason}; the run's own records are whole, and --resume "
        "sends what is missing",
        TerselyWarning,
        stacklevel=2,
    )


def _follow(name: str, folder: Path, *, environment: Mapping[str, str] | None) -> Follower:
    (folder / TRACK).mkdir(exist_ok=True)
    with (folder / TRACK / f"{name}.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            # An interrupt is the run's: it sends what is there when it is told of the end.
            start_new_session=True,
        )
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    return Follower(name, process, folder, monotonic())
