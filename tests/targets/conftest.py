"""Groups and runs for the tests of targets.

Each target has a file of tests here by its name, and in it ``SETTINGS``: what a small recipe, of
a cap of 40 tokens, would give it. The laws take them from there, and so does the test that trains
everything; a new target needs no word elsewhere.
"""

import json
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tersely.core.types import GroupView
from tersely.targets import load


@cache
def settings_of(name):
    return runpy.run_path(str(Path(__file__).with_name(f"test_{name}.py")))["SETTINGS"]


def make_group(lengths, right, *, problem="p", finished=None):
    tokens_G = np.array(lengths)
    return GroupView(
        correct_G=np.array(right, dtype=bool),
        tokens_G=tokens_G,
        finished_G=np.ones(len(lengths), bool) if finished is None else np.array(finished, bool),
        formatted_G=np.ones(len(lengths), bool),
        effort="high",
        problem=problem,
    )


def run_steps(name, steps, *, state=None, **settings):
    """The targets of each step, and the last state; the state goes through JSON each time."""
    state, targets = state or {}, []
    for groups in steps:
        target = load(name)(state, groups, **{**settings_of(name), **settings})
        targets.append(target)
        state = json.loads(json.dumps(target.state))
    return targets, state


@pytest.fixture
def settings():
    return settings_of


@pytest.fixture
def group():
    return make_group


@pytest.fixture
def run():
    return run_steps
