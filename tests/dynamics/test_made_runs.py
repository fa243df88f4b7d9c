"""A few of the made runs of ``bench/alarms.py``: healthy ones are silent, failing ones found."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tersely.dynamics.alarms import Severity, first_alarms, rules, standing_alarms
from tersely.dynamics.log import StepLog
from tersely.dynamics.noise import NoisyLog


def _bench() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "alarms.py"
    spec = spec_from_file_location("bench_alarms", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCH = _bench()
RULES = {rule.name: rule for rule in rules()}
# Not every made run of these shows what is wrong: a series of spikes may lie in steps that the log
# leaves out, and eight prompts may be too few. Of the others every one is found.
SOME = ("KL spikes", "coverage")


def log_of(make, kind: str, prompts: int, number: int, needs: tuple[str, ...]) -> StepLog:
    rng = np.random.default_rng([77, number, prompts, *map(ord, kind)])
    return BENCH.written(rng, make(rng, prompts), columns=BENCH.chosen(rng, needs))


@pytest.mark.parametrize("prompts", [8, 128])
@pytest.mark.parametrize("kind", BENCH.HEALTHY)
def test_healthy_runs_are_silent(kind: str, prompts: int) -> None:
    for number in range(2):
        log = log_of(BENCH.HEALTHY[kind], kind, prompts, number, BENCH.NEEDED.get(kind, ()))
        for count in {log.step_N.size // 2, log.step_N.size}:
            assert standing_alarms(log.until(count)) == []


@pytest.mark.parametrize("kind", BENCH.FAILING)
def test_each_kind_of_failure_is_found(kind: str) -> None:
    failure = BENCH.FAILING[kind]
    found = 0
    for number, prompts in enumerate((8, 32, 128)):
        log = log_of(failure.make, kind, prompts, number, failure.needs)
        counts = range(log.step_N.size, 20, -10)
        found += any(
            RULES[name].look(NoisyLog(log.until(count))) is not None
            for count in counts
            for name in failure.names
        )
    assert found >= (2 if kind in SOME else 3)


@pytest.mark.parametrize("kind", ["trap", "accuracy, same length", "reward hacking"])
def test_most_losses_that_can_be_seen_are_errors_before_half_of_them(kind: str) -> None:
    failure = BENCH.FAILING[kind]
    said = could = 0
    for number, prompts in enumerate([8, 16, 32, 64, 128] * 3):
        rng = np.random.default_rng([79, number, *map(ord, kind)])
        course = failure.make(rng, prompts)
        log = BENCH.written(rng, course, columns=BENCH.chosen(rng, failure.needs))
        at = BENCH.half_lost(course.means["accuracy"])
        if BENCH.could_be_seen(course, log, ("accuracy", "eval_accuracy"), at):
            alarms = first_alarms(log.until(int((log.step_N <= at).sum())))
            could, said = could + 1, said + any(a.severity is Severity.ERROR for a in alarms)
    assert could >= 7
    assert said >= 0.75 * could


def test_a_loss_in_128_prompts_is_an_error_before_half_of_it() -> None:
    early = 0
    for number in range(8):
        rng = np.random.default_rng([78, number])
        course = BENCH.base(rng, 128, steps=300)
        lost_N = BENCH.ramp(300, 60, 200, sharp=False)
        course = BENCH.put(course, accuracy=0.6 * (1 - 0.6 * lost_N))
        log = BENCH.written(rng, course, columns=["accuracy", "tokens_mean"])
        # Half of 0.6 x 0.6 is lost at step 160.
        (half,) = np.flatnonzero(log.step_N == log.step_N[log.step_N <= 160][-1])
        names = {alarm.name for alarm in standing_alarms(log.until(int(half) + 1))}
        early += bool(names & {"accuracy falling", "reasoning collapse"})
    assert early == 8
