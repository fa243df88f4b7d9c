"""What every reward gives to a group of one and to an all-wrong group, worked out by hand."""

from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from tersely.core.types import GroupView
from tersely.rewards import available, load

# 40 tokens, target 80, cap 200, weight 0.5, reference 80 tokens and half right, with thinking.
ALONE = GroupView(
    correct_G=np.array([True]),
    tokens_G=np.array([40]),
    finished_G=np.array([True]),
    formatted_G=np.array([True]),
    target_tokens=80.0,
    cap_tokens=200.0,
    weight=0.5,
    reference_tokens=80.0,
    reference_accuracy=0.5,
    thought_G=np.array([True]),
    thinking_G=np.array([30]),
)
# The same, with two wrong answers of 40 and 80 tokens.
WRONG = ALONE._replace(
    correct_G=np.array([False, False]),
    tokens_G=np.array([40, 80]),
    finished_G=np.array([True, True]),
    formatted_G=np.array([True, True]),
    thought_G=np.array([True, True]),
    thinking_G=np.array([30, 50]),
)

# Reward of the one right rollout; rewards of the two wrong ones. A reward that is not in this table
# has a file of tests by its name, with its own ``DEGENERATE``.
DEGENERATE: dict[str, tuple[float, list[float]]] = {
    "correctness": (1, [0, 0]),
    "truncation": (1, [0, 0]),
    "thinkprune": (1, [0, 0]),
    "on_policy_sft": (1, [0, 0]),
    "kimi": (1, [0, -0.2]),  # alone s = 0; else 0.5 and -0.5, times 0.4
    "kimi_correct_only": (1, [0, 0]),
    "laser": (1.4, [0, 0]),
    "laser_printed": (1.4, [0, 0.4]),  # 80 is not below the target
    "laser_d": (1.5, [-0.5, -0.5]),
    "laser_de": (1.5, [-0.5, -0.5]),  # 80 is within the target
    "l1_exact": (0.988, [-0.012, 0]),  # 0.0003 * 40 off
    "l1_max": (0.512, [0, 0]),  # 0.0003 * 40 + 0.5
    "l1_max_code": (0.506, [0, 0]),  # (0.012 + 1) / 2
    "shorterbetter": (2, [-0.02, -0.02]),  # 20 from the mean of 60
    "o1_pruner": (2, [0, -1]),  # 80 / L - 1 = 1, 0; plus or minus 2 * 0.5
    "rloo_lp": (0.95, [0, 0]),  # z = 0: half of 0.1 off
    "cosine": (0.904508, [-0.904508, -0.654508]),  # (1 + cos 36 or 72 deg) / 2
    "cosine_trl": (0.952254, [-0.952254, -0.827254]),  # half of that plus 0.5
    "soft_overlong": (1, [-1, -1]),
    "alp": (1 - 4e-6, [-2e-6, -4e-6]),  # 1e-7 * 40; 1e-7 / 2 * 40 and 80
    "hapo": (1.707107, [0, 0]),  # cos 45 deg; wrong: no more than 0
    "a_dlp": (-19, [-20, -40]),  # 0.5 a token
    "grpo_lead": (1, [-1, -1]),
    "smartthinker": (1, [0, 0]),
    "gr3": (1 / 1.33, [0, 0]),
    "lazy_penalty": (1.25, [0, 0]),  # gate 0.5, s = 0.5
    "drpo": (1, [0, 0]),
    "adaptthink": (0.5, [-0.5, -0.5]),
}


@pytest.mark.parametrize("name", available())
def test_a_group_of_one_and_an_all_wrong_group_are_as_documented(name: str) -> None:
    own = Path(__file__).with_name(f"test_{name}.py")
    alone, wrong = DEGENERATE[name] if name in DEGENERATE else run_path(str(own))["DEGENERATE"]
    np.testing.assert_allclose(load(name)(ALONE), [alone], rtol=1e-6)
    np.testing.assert_allclose(load(name)(WRONG), wrong, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", available())
def test_right_answers_of_one_length_get_one_reward(name: str) -> None:
    thrice = ALONE._replace(
        **{key: np.repeat(value, 3) for key, value in ALONE._asdict().items() if "_G" in key}
    )
    reward_G = load(name)(thrice)
    # alp charges by the share solved, drpo divides 1 among the right ones: same group, same pay.
    assert np.ptp(reward_G) == pytest.approx(0, abs=1e-12)
