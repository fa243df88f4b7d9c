"""Every reward trains on the lab: twenty steps without an error, at the smallest size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tersely import rewards

SCRIPT = Path(__file__).parent / "train_every_reward.py"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewards")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=900
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["name"]: row for row in rows}, done.stderr


@pytest.mark.parametrize("name", rewards.available())
def test_a_reward_trains_for_twenty_steps(name, outcomes):
    rows, messages = outcomes
    assert name in rows, messages[-3000:]
    row = rows[name]
    assert row["finished"]
    assert row["steps"] == 20
    assert row["finite rewards"]
    assert row["finite losses"]
    assert row["steps with a signal"] >= 1
