"""Runs the runs of studies side by side in processes; they can be stopped and continued."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.synchronize import Event
from typing import NamedTuple

from tersely.core.errors import EngineError, TerselyError
from tersely.flows.study.plan import StudyRun
from tersely.flows.study.progress import StudyProgress
from tersely.flows.study.results import finished_units
from tersely.flows.study.work import StudyFolders, do, prepare

POLL_S = 1.0


class Failed(NamedTuple):
    """A run that could not be trained, and why."""

    unit: StudyRun
    why: str


def missing(units: Sequence[StudyRun], bench: StudyFolders) -> list[StudyRun]:
    """The units whose results are not there."""
    finished = finished_units(bench.results)
    return [unit for unit in units if unit.name not in finished]


def run_units(
    units: Sequence[StudyRun], bench: StudyFolders, *, jobs: int, observer: StudyProgress
) -> list[Failed]:
    """Trains the units that have no result yet, ``jobs`` at a time, in their order.

    A unit that fails is reported and the others go on. Where the observer wants to stop, all runs
    save and end after their step.

    Raises:
        EngineError: the process of a run was killed.
    """
    left = missing(units, bench)
    done = 0
    failed: list[Failed] = []
    with _executor(jobs) as (executor, stop):
        waiting = {executor.submit(do, unit, bench): unit for unit in left}
        while waiting:
            ended, _ = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
            for future in ended:
                unit = waiting.pop(future)
                try:
                    if future.result():
                        done += 1
                        observer.on_result(unit)
                except BrokenProcessPool as error:
                    # Nobody hands out work any more, and they hear no SIGTERM.
                    _kill_workers()
                    if observer.wants_stop():
                        return failed
                    raise EngineError(_describe_killed(jobs)) from error
                except TerselyError as error:
                    failed.append(Failed(unit, str(error)))
            if observer.wants_stop():
                stop.set()
            observer.on_progress(done, _steps(left, bench))
    return failed


def _describe_killed(jobs: int) -> str:
    fewer = f"with --jobs {jobs - 1}" if jobs > 1 else "with a lower sampling.rows"
    return (
        f"the process of a run was killed, as systems do when memory runs out ({jobs} side by "
        f"side); give the command again {fewer}: runs go on from their last checkpoint"
    )


@contextmanager
def _executor(jobs: int) -> Iterator[tuple[ProcessPoolExecutor, Event]]:
    """The processes, and what asks them to stop."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=prepare, initargs=(stop,)
    ) as executor:
        try:
            yield executor, stop
        except KeyboardInterrupt:
            # Asked twice: what the runs have done since their last checkpoint is lost.
            _kill_workers()
            raise
        except BaseException:
            stop.set()
            executor.shutdown(cancel_futures=True)
            raise


def _kill_workers() -> None:
    for worker in active_children():
        worker.kill()


def _steps(units: Sequence[StudyRun], bench: StudyFolders) -> float:
    """The share of their steps that unfinished runs have done, summed."""
    total = 0.0
    for unit in units:
        file = bench.run(unit) / "steps.jsonl"
        if file.is_file() and not bench.result(unit).is_file():
            total += file.read_bytes().count(b"\n") / unit.settings["learner"]["steps"]
    return total
