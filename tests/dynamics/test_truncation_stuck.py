"""Nearly every rollout cut: at its thresholds, and silent on the runs of the lab."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tersely.dynamics.alarms import first_alarms, standing_alarms
from tersely.dynamics.log import StepLog, make_log

LAB_RUNS = Path(__file__).parents[2] / "docs" / "data" / "lab-runs.csv"
NAME = "truncation stuck"


def cut(share_N: np.ndarray) -> StepLog:
    return make_log(range(len(share_N)), {"truncated_share": share_N})


def names(log: StepLog) -> list[str]:
    return [alarm.name for alarm in standing_alarms(log)]


def test_a_run_that_is_cut_from_its_first_step_on_is_named_at_the_first_look() -> None:
    (alarm,) = first_alarms(cut(np.full(60, 0.97)))
    assert (alarm.name, alarm.step) == (NAME, 29)
    assert alarm.evidence.startswith("97.0% of the last rollouts were cut at the cap, 97.0% at")


@pytest.mark.parametrize(
    ("share_N", "expected"),
    [
        (np.full(40, 0.8), [NAME]),
        (np.full(40, 0.79), []),
        # Medians of 20 at 0, 10 and 20: 0.98 at most, 0.94 and 0.92 lately, 4 and 6 points below.
        (np.r_[np.full(20, 0.98), np.full(20, 0.94)], [NAME]),
        (np.r_[np.full(20, 0.98), np.full(20, 0.92)], []),
        # A rise that ends there is told as both.
        (np.r_[np.full(30, 0.2), np.full(30, 0.95)], ["truncation rising", NAME]),
    ],
)
def test_by_hand(share_N: np.ndarray, expected: list[str]) -> None:
    assert names(cut(share_N)) == expected


def test_no_run_of_the_lab_raises_it_not_even_where_the_cap_is_the_target() -> None:
    runs = defaultdict(list)
    with LAB_RUNS.open(newline="") as lines:
        for row in csv.DictReader(lines):
            runs[row["arm"]].append(float(row["truncated_share"]))
    assert max(runs["cap-is-target"]) > 0.6
    for shares in runs.values():
        assert NAME not in {alarm.name for alarm in first_alarms(cut(np.array(shares)))}
