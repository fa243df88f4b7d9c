"""One run of a study, in a process of its own: trained, distilled into a result, cleared away."""

import multiprocessing
import os
import platform
import shutil
import signal
import threading
import time
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tersely.core.version import __version__
from tersely.flows.lint import find
from tersely.flows.lint.facts import gather
from tersely.flows.lint.pool import only_trained, read_pool
from tersely.flows.observer import Observer, Quiet
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.study.plan import StudyRun, recipe_of
from tersely.flows.study.pool import HELD_OUT, StudyPool
from tersely.flows.study.results import Raised, distil, result_file, write_result
from tersely.tasks.problems import digest, read_problems


class StudyFolders(NamedTuple):
    """Where things are: the pool, the base model's records, results, run folders, and among these
    what several arms without RL need."""

    pool: StudyPool
    records: Path
    results: Path
    runs: Path
    keep: bool

    def result(self, unit: StudyRun) -> Path:
        """The file that a unit's result is written to."""
        return result_file(self.results, unit.name)

    @property
    def stages(self) -> Path:
        """Samples and trained models of arms without RL."""
        return self.runs / "stages"

    def run(self, unit: StudyRun) -> Path:
        """The folder in which it is trained."""
        return self.runs / unit.name


_stop: Event | None = None
_working = threading.Lock()


def prepare(stop: Event) -> None:
    """Once in every process: the parent alone hears what is sent to the whole group."""
    global _stop
    _stop = stop
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    # One bar for all runs is enough.
    logging.disable_progress_bar()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process of a pool waits for work for ever, also where its parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    with _working:
        os._exit(1)


def do(unit: StudyRun, bench: StudyFolders) -> bool:
    """Trains a unit, or goes on with it; whether it is finished.

    Raises:
        TerselyError: the recipe cannot be trained.
    """
    with _working:
        return _do(unit, bench)


def _do(unit: StudyRun, bench: StudyFolders) -> bool:
    assert _stop is not None
    stop, parent = _stop, os.getppid()
    observer = Quiet(wants_stop=lambda: stop.is_set() or os.getppid() != parent)
    if observer.wants_stop():
        return False
    recipe = recipe_of(unit, train=bench.pool.file(unit.pool), test=bench.pool.file(HELD_OUT))
    folder = bench.run(unit)
    began = time.monotonic()
    finished, spent = _run(unit, recipe, bench, observer=observer)
    if not finished:
        return False
    result = distil(
        folder,
        unit=unit.name,
        seed=unit.seed,
        staleness=recipe.learner.staleness,
        pool=digest(read_problems(bench.pool.file(unit.pool))),
        problems=bench.pool.held_out(),
        lint=_lint(recipe, bench) if spent is None else [],
        seconds=time.monotonic() - began,
        facts=_facts(),
        spent=spent,
    )
    write_result(bench.result(unit), result)
    if not bench.keep:
        shutil.rmtree(folder)
    return True


def _run(
    unit: StudyRun, recipe: Recipe, bench: StudyFolders, *, observer: Observer
) -> tuple[bool, int | None]:
    """Whether the run is finished, and of one that is no RL what it spent, in tokens."""
    folder = bench.run(unit)
    if unit.method is None:
        from tersely.flows.train.loop import train

        resume = (folder / "manifest.json").is_file()
        return train(recipe, folder, resume=resume, observer=observer).finished, None
    from tersely.flows.study.offline import run_offline
    from tersely.flows.trl.offline import StopAsked

    try:
        return True, run_offline(unit.method, recipe, folder, bench.stages, observer=observer)
    except StopAsked:
        return False, None


def _lint(recipe: Recipe, bench: StudyFolders) -> list[Raised]:
    """What lint finds in the recipe and the base model's rollouts, before the run."""
    trained = {problem.id for problem in read_problems(Path(recipe.problems.train))}
    whole = read_pool(bench.records, recipe)
    mine = whole.rows(np.array([problem.id in trained for problem in whole.problems]))
    found = find(gather(recipe, only_trained(mine, recipe)))
    return [Raised(name=each.name, severity=each.severity.value) for each in found]


def _facts() -> dict[str, str]:
    return {
        "tersely": __version__,
        "torch": version("torch"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
