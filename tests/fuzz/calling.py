"""The command line called in this process, and what must hold however it is called."""

import faulthandler
import os
import signal
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import settings
from typer.testing import CliRunner

import tersely.engines.models  # noqa: F401  (slow to load, and so none of an example's time)
from tersely.cli import app
from tersely.core.errors import TerselyWarning

# Far above what a busy machine makes of a second or two.
DEADLINE_S = 60
MOST_NOTICES = 40
OURS = "tersely"
# TERSELY_FUZZ_TALLY=1 counts instead of failing: exit codes, and what broke where, once each.
TALLY = "TERSELY_FUZZ_TALLY" in os.environ
COUNTS: Counter[tuple[str, object]] = Counter()
BROKEN: dict[str, str] = {}


class _Hung(BaseException):
    """The command took too long; no handler of errors may take it for one of theirs."""


@contextmanager
def _deadline(words: tuple[str, ...]) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _Hung(f"no answer within {DEADLINE_S} s: tersely {' '.join(words)[:400]}")

    before = signal.signal(signal.SIGALRM, ring)
    # Code that does not come back to Python is ended with the place that it hangs at.
    faulthandler.dump_traceback_later(3 * DEADLINE_S, exit=True)
    signal.alarm(DEADLINE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def call(*given: object, kind: str = "call") -> str:
    """Calls tersely and gives what it said on stderr.

    No traceback leaves it, its exit code is 0, 1 or 2, what it refuses it refuses in one line,
    which is the last, and it ends in time. Warnings of libraries are none of a user's business.
    """
    words = tuple(str(word) for word in given)
    with _deadline(words), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("always", TerselyWarning)
        done = CliRunner().invoke(app, [*words])
    broken = _broken(done)
    COUNTS[kind, "broken" if broken else done.exit_code] += 1
    if broken:
        shown = f"tersely {' '.join(words)[:1000]}\n{broken}\n{done.stderr[-2000:]}"
        if not TALLY:
            pytest.fail(shown, pytrace=False)
        BROKEN.setdefault(broken.rstrip().splitlines()[-1][:60] + broken[-300:-60], shown)
    return done.stderr


def _broken(done: Result) -> str | None:
    """What does not hold, if anything."""
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        trace = [
            f for f in traceback.extract_tb(done.exception.__traceback__) if OURS in f.filename
        ]
        said = "".join(traceback.format_exception_only(done.exception))[-600:]
        return "a traceback\n" + "".join(traceback.format_list(trace[-6:])) + said
    if done.exit_code not in (0, 1, 2):
        return f"exit {done.exit_code}"
    lines = done.stderr.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error:")]
    usage = any(line.startswith("Usage:") for line in lines)
    if len(lines) > MOST_NOTICES and not usage:
        return f"{len(lines)} lines"
    if done.exit_code and not usage and errors != [len(lines) - 1]:
        return "the error is not the last line, and one"
    return "a traceback on stderr" if "Traceback" in done.stderr else None


def often(count: int) -> settings:
    """So many examples of a test, or as many as TERSELY_FUZZ says."""
    return settings(max_examples=int(os.environ.get("TERSELY_FUZZ", "0")) or count)


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder of one example's own."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as made:
        yield Path(made)
