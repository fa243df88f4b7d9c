"""Workers against a grader that does whatever its text says."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from tersely.core.errors import GradingError
from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.workers import UNGRADED, GradingTask, Worker, WorkerPool

GRADER = """
import os, subprocess, sys, time
from tersely.core.types import Grade, Verdict

seen = []

def grade(text, answer):
    seen.append(text)
    if text == "sleep":
        time.sleep(60)
    if text == "one long call":
        9 ** 9 ** 8
    if text == "memory":
        "x" * (4 * 1024**3)
    if text == "recursion":
        grade(text, answer)
    if text == "exit":
        os._exit(0)
    if text == "print":
        print("noise")
        sys.stderr.write("noise")
    if text == "child":
        child = subprocess.Popen(["sleep", "60"])
        open(answer, "w").write(str(child.pid))
        time.sleep(60)
    return Verdict(grade=Grade.CORRECT if text == answer else Grade.WRONG, extracted=str(len(seen)))
"""


def wait_until(claim: Callable[[], bool], *, seconds: float) -> bool:
    ends_at = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.02)
    return True


def is_gone(pid: int) -> bool:
    """Neither running nor a zombie of ours."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z" and os.getppid() != pid
    except FileNotFoundError:
        return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("graders")
    (folder / "obedient.py").write_text(GRADER)
    (folder / "broken.py").write_text("import no_such_library")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), before]))
    yield folder
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def worker(folder: Path) -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


def ask(
    worker: Worker | WorkerPool, text: str, *, answer: str = "7", limit_s: float = 5.0
) -> Verdict:
    return worker.grade(GradingTask("obedient", text, answer, limit_s))


def test_a_worker_lives_from_answer_to_answer(worker: Worker) -> None:
    assert ask(worker, "7") == Verdict(grade=Grade.CORRECT, extracted="1")
    pid = worker.pid
    assert ask(worker, "8") == Verdict(grade=Grade.WRONG, extracted="2")
    assert ask(worker, "print").grade is Grade.WRONG
    assert worker.pid == pid


@pytest.mark.parametrize("text", ["sleep", "one long call"])
def test_an_answer_costs_at_most_its_limit(worker: Worker, text: str) -> None:
    ask(worker, "7")
    pid = worker.pid
    assert pid is not None
    start = time.monotonic()
    assert ask(worker, text, limit_s=0.3) == UNGRADED
    assert time.monotonic() - start < 1.3
    assert is_gone(pid)
    assert ask(worker, "7") == Verdict(grade=Grade.CORRECT, extracted="1")


@pytest.mark.parametrize("text", ["memory", "recursion", "exit"])
def test_an_answer_that_fails_is_ungraded_and_leaves_nothing_behind(
    worker: Worker, text: str
) -> None:
    assert ask(worker, text) == UNGRADED
    # A new process: it has seen nothing yet.
    assert ask(worker, "7") == Verdict(grade=Grade.CORRECT, extracted="1")


def test_texts_of_any_kind_reach_the_grader(worker: Worker) -> None:
    for text in ["\udc80\ud800", "a\0b\r\n\u2028c", "7" * 1_000_000, ""]:
        assert ask(worker, text, answer=text).grade is Grade.CORRECT


def test_what_a_killed_worker_started_is_killed_with_it(worker: Worker, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    assert ask(worker, "child", answer=str(note), limit_s=1.0) == UNGRADED
    child = int(note.read_text())
    assert wait_until(lambda: is_gone(child), seconds=5)


def test_a_worker_that_was_killed_between_answers_is_replaced(worker: Worker) -> None:
    ask(worker, "7")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert ask(worker, "7", limit_s=5.0) == UNGRADED
    assert ask(worker, "7").grade is Grade.CORRECT


def test_a_grader_that_cannot_be_loaded_is_an_error_that_says_why(worker: Worker) -> None:
    with pytest.raises(GradingError, match=r"worker for broken did not start.*no_such_library"):
        worker.grade(GradingTask("broken", "7", "7"))
    assert worker.pid is None


def test_an_interrupted_answer_is_not_taken_for_the_next_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = WorkerPool(workers=1)
    ask(pool, "7")
    with monkeypatch.context() as patch:
        patch.setattr("tersely.tasks.grading.workers.json.loads", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            ask(pool, "8")
    assert not pool.pids()
    assert ask(pool, "7") == Verdict(grade=Grade.CORRECT, extracted="1")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_threads_share_the_workers(folder: Path) -> None:
    pool = WorkerPool(workers=2)
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(lambda number: ask(pool, str(number)), range(40)))
    assert [v.grade is Grade.CORRECT for v in verdicts] == [n == 7 for n in range(40)]
    pids = pool.pids()
    assert 1 <= len(pids) <= 2
    del pool
    assert all(is_gone(pid) for pid in pids)


def test_one_answer_after_another_starts_one_worker(folder: Path) -> None:
    pool = WorkerPool(workers=4)
    for _ in range(5):
        ask(pool, "7")
    assert len(pool.pids()) == 1


def test_a_forked_process_has_workers_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tersely.tasks.grading import workers

    # Those that other tests started do not know this test's grader.
    monkeypatch.setattr(workers, "_pools", {})
    assert ask(workers.pool(), "7").grade is Grade.CORRECT
    before = workers.pool().pids()
    child = os.fork()
    if child == 0:
        right = ask(workers.pool(), "7").extracted == "1" and workers.pool().pids() != before
        for worker in workers.pool()._all:
            worker.stop()
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert ask(workers.pool(), "7").grade is Grade.CORRECT
    assert workers.pool().pids() == before


PARENT = """
import sys, threading
from tersely.tasks.grading.workers import GradingTask, WorkerPool
pool = WorkerPool(workers=1)
pool.grade(GradingTask("obedient", "7", "7"))
print(pool.pids()[0], flush=True)
if sys.argv[1] != "idle":
    threading.Thread(
        target=pool.grade, args=(GradingTask("obedient", sys.argv[1], "7", 3.0),), daemon=True
    ).start()
    print("asked", flush=True)
sys.stdin.read() if sys.argv[2] == "kill" else None
"""


@pytest.mark.parametrize("end", ["kill", "exit"])
@pytest.mark.parametrize("doing", ["idle", "sleep", "one long call"])
def test_a_worker_dies_with_its_parent(folder: Path, doing: str, end: str) -> None:
    if (doing, end) in (("sleep", "exit"), ("one long call", "exit")):
        pytest.skip("an interpreter that exits waits for nothing but its atexit calls")
    with subprocess.Popen(
        [sys.executable, "-c", dedent(PARENT), doing, end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if doing != "idle":
            parent.stdout.readline()
        if end == "kill":
            parent.kill()
        parent.wait()
    # A call that never gives the interpreter back is ended by the kernel's alarm.
    assert wait_until(lambda: is_gone(pid), seconds=8)


def test_stopping_twice_or_before_the_start_is_nothing(folder: Path) -> None:
    worker = Worker()
    worker.stop()
    ask(worker, "7")
    worker.stop()
    worker.stop()
    assert threading.active_count() >= 1
