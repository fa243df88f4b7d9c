"""Everything that a recipe may name trains on the lab for three steps, at the smallest size."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tersely import rewards

SCRIPT = Path(__file__).parent / "train_everything.py"
EVERYTHING = runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewards")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=900
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["name"]: row for row in rows}, done.stderr


@pytest.mark.parametrize("name", rewards.available())
def test_a_reward_trains(name, outcomes):
    rows, messages = outcomes
    assert name in rows, messages[-3000:]
    row = rows[name]
    assert row["finished"]
    assert row["steps"] == EVERYTHING["STEPS"]
    assert row["finite rewards"]
    assert row["finite losses"]
    assert row["steps with a signal"] >= 1


@pytest.mark.parametrize("name", EVERYTHING["SETTINGS"])
def test_a_setting_trains(name, outcomes):
    rows, messages = outcomes
    assert name in rows, messages[-3000:]
    row = rows[name]
    assert (row["finished"], row["steps"]) == (True, EVERYTHING["STEPS"])
    assert row["finite rewards"]
    assert row["finite losses"]


def test_groups_without_a_signal_are_counted_and_others_sampled_in_their_place(outcomes):
    rows, _ = outcomes
    assert rows["dropped groups"]["dropped groups"] > 0
    assert rows["dropped groups"]["prompts"] == [3, 3, 3]
    assert rows["refilled groups"]["refill rounds"] > 0
    assert sum(rows["refilled groups"]["prompts"]) > 9
    assert rows["loss ppo_clip"]["dropped groups"] == 0


def test_a_kl_is_reported_where_an_estimator_is_named(outcomes):
    rows, _ = outcomes
    assert len(rows["kl k1"]["kl"]) > 0
    assert rows["loss ppo_clip"]["kl"] == []


def test_budgets_of_prompts_differ(outcomes):
    # the mean over three prompts of budgets between 10 and 40
    rows, _ = outcomes
    assert len(rows["target prompt_budget"]["target tokens"]) > 1
