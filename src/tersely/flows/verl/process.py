"""verl's process: started, watched to its end, and asked why it ended.

verl writes to a file, which is passed on to stderr. So the file outlives whoever started the run.
"""

import codecs
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tersely.flows.verl.settings import CHECKPOINTS

MAIN = "verl.trainer.main_ppo"
POLL_S, GRACE_S = 2.0, 30.0
_TAIL_BYTES, _SAID_CHARS = 1 << 18, 200
# Ray's colours, and the process that a line is of.
_DECORATION = re.compile(r"\x1b\[[0-9;]*m|^\([\w:.]+ (pid=\d+)[^)]*\) ?", re.MULTILINE)
_ERROR = re.compile(r"^(?:[A-Za-z_][\w]*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b.*$", re.M)
# What an end of verl's looks like in its output, and what it means; the first that is found.
_MEANINGS = {
    r"OutOfMemoryError|out of memory|Ray memory monitor": (
        "memory ran out in a process of verl's; lower learner.micro_batch_tokens or verl's "
        "gpu_memory_utilization, or use more machines"
    ),
    r"Address already in use|EADDRINUSE|Failed to bind|errno: 98": (
        "a port that it wanted is taken by another program"
    ),
    r"InvalidAuthToken|AuthenticationError": (
        "Ray refuses its token; set RAY_AUTH_MODE as it was where Ray was started"
    ),
    r"Failed to connect to GCS|GCS (?:server )?(?:is )?(?:dead|down|unavailable)|lost connection "
    r"to the? ?GCS|raylet.{0,40}(?:died|dead|exited)|NodeDiedError|Could not find any running Ray|"
    r"Failed to connect to Ray cluster|local raylet": (
        "Ray is gone, or was not there; see that it runs (ray status)"
    ),
    r"ActorDiedError|ActorUnavailableError|WorkerCrashedError|worker process has died|"
    r"died unexpectedly": "a process of verl's died",
}


class HangError(Exception):
    """verl writes nothing any more."""


def command(overrides: Sequence[str]) -> list[str]:
    """What starts verl."""
    return [sys.executable, "-m", MAIN, *overrides]


def follow(
    started: Sequence[str],
    folder: Path,
    look: Callable[[], None],
    *,
    environment: Mapping[str, str],
    log: Path,
    stall_s: float,
) -> int:
    """Starts verl, calls ``look`` again and again until it ends, and returns its exit code.

    Args:
        log: where its output goes.
        stall_s: seconds without a change below ``folder`` but for the output, after which it hangs.
    Raises:
        HangError: it hangs.
    """
    # A session of its own: Ctrl-C reaches verl once, from here.
    with (
        log.open("wb") as out,
        log.open("rb") as told,
        subprocess.Popen(
            started,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        ) as process,
    ):
        # A letter of several bytes may be half written.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

        def tick() -> None:
            sys.stderr.write(decoder.decode(told.read()))
            look()

        try:
            _watch(process, folder, tick, stall_s=stall_s)
        finally:
            _end(process)
            sys.stderr.write(decoder.decode(told.read(), final=True))
    look()
    return process.returncode


def _watch(
    process: "subprocess.Popen[bytes]", folder: Path, tick: Callable[[], None], *, stall_s: float
) -> None:
    """Calls ``tick`` until the process ends; HangError if nothing is written for too long."""
    seen, changed = -1, time.monotonic()
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=POLL_S)
        tick()
        if (now := _written(folder)) != seen:
            seen, changed = now, time.monotonic()
        if time.monotonic() - changed > stall_s:
            raise HangError(
                f"verl hangs: for {stall_s:g} s it has written no rollout, record or checkpoint; "
                "if its steps take longer, set --stall-s higher"
            )


def _written(folder: Path) -> int:
    """Bytes of what verl's processes write, their output left out."""
    total = 0
    for file in (*folder.glob("verl/*/*.jsonl"), *folder.glob(f"{CHECKPOINTS}/**/*")):
        with contextlib.suppress(FileNotFoundError):  # verl deletes old checkpoints
            total += file.stat().st_size
    return total + sum(file.stat().st_size for file in folder.glob("verl/metrics-*.jsonl"))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Has verl, if it still runs, shut Ray down and leave; kills what is left of its group."""
    try:
        if process.poll() is None:
            # It may end by itself before it is told to.
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signal.SIGINT)
                process.wait(timeout=GRACE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def reason(log: Path) -> str:
    """Why verl ended, in one line, by what it wrote last; empty if it does not say."""
    with log.open("rb") as content:
        content.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = _DECORATION.sub("", content.read().decode(errors="replace"))
    errors = _ERROR.findall(text)
    said = " ".join(errors[-1].split())[:_SAID_CHARS] if errors else ""
    for pattern, meaning in _MEANINGS.items():
        if re.search(pattern, "\n".join(errors) or text):
            return f"{meaning} ({said})" if said else meaning
    return said
