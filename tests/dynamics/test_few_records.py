"""Logs of a few dozen records: what is lost in them is seen, and their noise is no loss."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from series import autoregression

from tersely.dynamics.alarms import Severity, first_alarms
from tersely.dynamics.log import StepLog, make_log


def moved(rows: int, start: int, length: int) -> np.ndarray:
    return np.clip((np.arange(rows) - start + 1) / length, 0, 1)


def errors(log: StepLog) -> set[str]:
    return {alarm.name for alarm in first_alarms(log) if alarm.severity is Severity.ERROR}


@pytest.mark.parametrize("stride", [1, 10])
@pytest.mark.parametrize("low", [4, 9, 14])
@pytest.mark.parametrize("length", [4, 6, 8, 10])
def test_a_fall_over_many_of_few_records_is_an_error(length: int, low: int, stride: int) -> None:
    rows = 12 + length + low
    for seed in range(3):
        rng = np.random.default_rng(seed)
        log = make_log(
            stride * np.arange(1, rows + 1),
            {
                "accuracy": 0.6 - 0.45 * moved(rows, 12, length) + rng.normal(0, 0.015, rows),
                "tokens_mean": rng.normal(4000, 40, rows),
            },
        )
        assert errors(log) == {"accuracy falling"}


@pytest.mark.parametrize("start", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("rows", [20, 25, 30, 40])
def test_an_entropy_that_explodes_over_a_quarter_of_few_records_is_one(
    rows: int, start: float
) -> None:
    noise_N = np.random.default_rng(0).normal(0, 0.04, rows)
    course_N = np.log(7) * moved(rows, int(start * rows), rows // 4)
    log = make_log(10 * np.arange(rows), {"entropy_mean": 0.4 * np.exp(course_N + noise_N)})
    assert errors(log) == {"entropy explosion"}


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_few_records_that_wander_raise_nothing(rho: float) -> None:
    raised = 0
    for seed in range(80):
        rng = np.random.default_rng([1, seed])
        rows = int(rng.integers(15, 61))
        done_N = 1 - np.exp(-rng.choice([0, 3]) * np.arange(rows) / rows)
        columns = {
            "accuracy": 0.5 + 0.15 * done_N + 0.05 * autoregression(rng, rho, rows),
            "tokens_mean": 4000
            * (1 - 0.6 * done_N)
            * np.exp(0.05 * autoregression(rng, rho, rows)),
            "entropy_mean": 0.5
            * (1 - 0.5 * done_N)
            * np.exp(0.08 * autoregression(rng, rho, rows)),
            "kl_mean": (0.002 + 0.05 * done_N) * np.exp(0.15 * autoregression(rng, rho, rows)),
        }
        raised += bool(first_alarms(make_log(int(rng.choice([1, 10])) * np.arange(rows), columns)))
    assert raised <= 1
