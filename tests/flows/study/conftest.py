"""A study of seconds: three arms on few lab problems."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import children
import pytest

from tersely.flows.study import schedule
from tersely.flows.study.plan import NamedStudy, base_settings, read_study

# In little: 96 prompts, 8 held-out problems, three steps of the model whose answers are short.
SMALL = {
    "model.path": "lab-v1",
    "problems.train_limit": 96,
    "problems.test_limit": 8,
    "problems.band": [1.0, 4.0],
    "sampling.prompts_per_step": 2,
    "sampling.samples_per_prompt": 4,
    "sampling.cap_tokens": 64,
    "target.tokens": 30,
    "learner.steps": 3,
    "evaluation.every_steps": 2,
    "evaluation.samples": 4,
    "evaluation.budgets": [16, 32, 64],
    "checkpoint.every_steps": 1,
}
STUDY = """
title = "Small"
question = "Does anything happen?"
paper = "ours"

[arms.plain]
says = "as it is"

[arms.hard]
says = "on hard prompts"
pool = "hard"

[arms.same]
says = "the same once more"
set.reward = { name = "truncation" }

[[claims]]
says = "an arm is like itself"
paper = "by construction"
statistic = "accuracy"
of = { arm = "same" }
against = { arm = "plain" }
within = 0.01

[[claims]]
says = "lengths fall by half"
paper = "nowhere"
statistic = "tokens"
of = { arm = "plain" }
against = { arm = "plain", moment = 0.0 }
relative = true
below = -0.5
"""


@pytest.fixture(scope="session")
def small_set() -> dict[str, object]:
    """What the small study sets."""
    return SMALL


@pytest.fixture(scope="session")
def study_text() -> str:
    """The small study's file."""
    return STUDY


@pytest.fixture(scope="module")
def forked_workers() -> Iterator[None]:
    """Runs begin in processes that have torch already; test_run holds those that load it."""
    forked = SimpleNamespace(get_context=lambda _: children.FORKED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "multiprocessing", forked)
        yield


@pytest.fixture
def small() -> dict[str, object]:
    """The settings of the base."""
    return base_settings(SMALL.items())


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(STUDY)
    return file


@pytest.fixture
def study(study_file: Path) -> NamedStudy:
    return NamedStudy("small", read_study(study_file))
