"""Rewards whose rule on lengths can never act in groups of some size say so."""

import numpy as np
import pytest

from tersely import rewards
from tersely.core.types import GroupView

CAP = 40


def groups(samples, *, rng):
    """Random lengths and verdicts, and the extremes: all short but one, all right but some."""
    for _ in range(300):
        tokens_G = rng.integers(1, CAP + 1, samples)
        if rng.random() < 0.5:
            tokens_G = np.where(np.arange(samples) < rng.integers(1, samples + 1), 1, CAP)
        right_G = rng.random(samples) < rng.choice([0.5, 0.9, 1.0])
        finished_G = np.ones(samples, dtype=bool)
        yield GroupView(right_G, tokens_G, finished_G, finished_G, cap_tokens=CAP)
    outlier_G = np.r_[np.ones(samples - 1, dtype=int), CAP]
    all_G = np.ones(samples, dtype=bool)
    yield GroupView(all_G, outlier_G, all_G, all_G, cap_tokens=CAP)


def heeds_length(name, settings, samples):
    """Whether two right rollouts of a group are ever paid differently."""
    reward, rng = rewards.load(name), np.random.default_rng(0)
    paid = [
        np.unique(np.round(reward(g, **settings)[g.right_G], 9)) for g in groups(samples, rng=rng)
    ]
    return any(len(each) > 1 for each in paid)


SETTINGS = [
    ("dot", {}),
    ("dot", {"deviations": 1.0, "margin_tokens": 1}),
    ("dot", {"deviations": 1.0, "margin_tokens": 12}),
    ("dot", {"deviations": 2.0, "margin_tokens": 40}),
    ("smartthinker", {}),
    ("lazy_penalty", {"tolerance_tokens": 38}),
    ("lazy_penalty", {"tolerance_tokens": 39}),
    ("grpo_lead", {"from_tokens": 20}),
    ("grpo_lead", {"from_tokens": 40}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
@pytest.mark.parametrize("samples", [2, 3, 4, 8, 10, 11, 16, 32])
def test_a_reward_is_idle_just_where_no_group_makes_its_rule_act(name, settings, samples) -> None:
    settings = rewards.typed(name, settings)
    said = rewards.idle(name, settings, samples=samples, cap_tokens=CAP)
    assert bool(said) is not heeds_length(name, settings, samples), said


@pytest.mark.parametrize("name", rewards.available())
def test_every_other_reward_heeds_length_or_says_nothing(name) -> None:
    assert rewards.idle(name, {}, samples=32, cap_tokens=32768) == ""
