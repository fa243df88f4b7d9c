"""Processes of their own that start in no time: forked from one that has torch and tersely loaded.

Each has an id, signals, limits and an end of its own, as ``python -m tersely`` has once all is
imported. They share one hash seed: what must not depend on it is held against an interpreter
started afresh, and so is what tersely imports.
"""

import atexit
import multiprocessing
import os
import runpy
import shutil
import sys
import tempfile
import time
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import tersely

TERSELY = Path(tersely.__file__).with_name("__main__.py")
# The same, with no file larger than so many bytes: a full disk.
LIMITED = Path(__file__).with_name("limited.py")
FORKED = multiprocessing.get_context("forkserver")
_COMMANDS = ("advise", "compare", "curate", "evaluate", "launch", "launch_verl", "lint", "study")
# Offline first, as every command begins: libraries ask when they are loaded.
FORKED.set_forkserver_preload(
    [
        "tersely.cli.offline",
        "torch",
        "tersely.flows.train.loop",
        *(f"tersely.cli.{name}" for name in _COMMANDS),
    ]
)


class Ended(NamedTuple):
    """What ``subprocess.run`` gives."""

    returncode: int | None
    stdout: str
    stderr: str


class Child(NamedTuple):
    """A process that was started, and the folder that its two streams are written to."""

    process: BaseProcess
    folder: Path

    @property
    def stderr(self) -> str:
        """What it has said so far."""
        file = self.folder / "stderr"
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    def wait_for(self, text: str) -> None:
        """Comes back once the process has said so on stderr."""
        until = time.monotonic() + 120
        while text not in self.stderr:
            assert self.process.is_alive(), self.stderr
            assert time.monotonic() < until, self.stderr
            time.sleep(0.01)

    def wait(self) -> Ended:
        """Comes back once the process has ended, and kills it where it does not."""
        self.process.join(300)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"still running after 300 s: {self.stderr[-2000:]}")
        stdout = (self.folder / "stdout").read_text(encoding="utf-8")
        return Ended(self.process.exitcode, stdout, self.stderr)


@cache
def _streams() -> str:
    """The folder of all children's streams, which goes when the tests end."""
    folder = tempfile.mkdtemp(prefix="children-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def start(script: Path, *words: object, env: dict[str, str] | None = None) -> Child:
    """The script as a process, with this process's working directory and environment."""
    folder = Path(tempfile.mkdtemp(dir=_streams()))
    given = (folder, os.getcwd(), {**os.environ, **(env or {})}, script, [str(w) for w in words])
    process = FORKED.Process(target=_become, args=given)
    process.start()
    return Child(process, folder)


def run(script: Path, *words: object, env: dict[str, str] | None = None) -> Ended:
    """The script, run to its end."""
    return start(script, *words, env=env).wait()


def _become(
    folder: Path, place: str, environment: dict[str, str], script: Path, words: list[str]
) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        with open(folder / name, "wb") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    os.chdir(place)
    sys.argv = [str(script), *words]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        atexit._run_exitfuncs()
