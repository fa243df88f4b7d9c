"""Golden numbers of every reward on one group, worked out by hand, and where rewards part."""

from collections.abc import Mapping
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from tersely.core.types import GroupView
from tersely.rewards import available, load

# Rollout      a      b      c      d      e      f
# answer       right  right  right  wrong  wrong  read as right, but cut off: wrong
# tokens       40     80     120    60     160    200
# readable     yes    yes    yes    yes    no     yes
# thinking     none   50     90     none   160    150
# mean length 660 / 6 = 110; right lengths 40, 80, 120: mean 80, var 3200 / 3, std 32.66
GROUP = GroupView(
    correct_G=np.array([True, True, True, False, False, True]),
    tokens_G=np.array([40, 80, 120, 60, 160, 200]),
    finished_G=np.array([True, True, True, True, True, False]),
    formatted_G=np.array([True, True, True, True, False, True]),
    target_tokens=80.0,
    cap_tokens=200.0,
    weight=0.001,
    reference_tokens=100.0,
    reference_accuracy=0.5,
    thought_G=np.array([False, True, True, False, True, True]),
    thinking_G=np.array([0, 50, 90, 0, 160, 150]),
)

Case = tuple[Mapping[str, float], list[float]]
# A reward that is not in this table has a file of tests by its name, with its own ``GOLDEN``.
GOLDEN: dict[str, Case] = {
    # 1 if right.
    "correctness": ({}, [1, 1, 1, 0, 0, 0]),
    # ... and at most 80 tokens.
    "truncation": ({}, [1, 1, 0, 0, 0, 0]),
    "thinkprune": ({}, [1, 1, 0, 0, 0, 0]),
    "on_policy_sft": ({}, [1, 1, 0, 0, 0, 0]),
    # s = 0.5 - (L - 40) / 160: 0.5, 0.25, 0, 0.375, -0.25, -0.5; times 0.4; wrong: if below 0.
    "kimi": ({}, [1.2, 1.1, 1, 0, -0.1, -0.2]),
    "kimi_correct_only": ({}, [1.2, 1.1, 1, 0, 0, 0]),
    # 0.4 more below 80; b stands at 80, which is not below.
    "laser": ({}, [1.4, 1, 1, 0, 0, 0]),
    # ... and 0.4 for the wrong ones from 80 on.
    "laser_printed": ({}, [1.4, 1, 1, 0, 0.4, 0.4]),
    # 0.5 more up to 80; wrong -0.5, unreadable -1.
    "laser_d": ({}, [1.5, 1.5, 1, -0.5, -1, -0.5]),
    # ... and 0.5 for f, wrong, readable and long.
    "laser_de": ({}, [1.5, 1.5, 1, -0.5, -1, 0]),
    # 0.01 * |80 - L|: 0.4, 0, 0.4, 0.2, 0.8, 1.2.
    "l1_exact": ({"alpha": 0.01}, [0.6, 1, 0.6, -0.2, -0.8, -1.2]),
    # 0.01 * (80 - L) + 0.5: 0.9, 0.5, 0.1.
    "l1_max": ({"alpha": 0.01}, [0.9, 0.5, 0.1, 0, 0, 0]),
    # (0.01 * (80 - L) + 1) / 2: 1.4 / 2, 1 / 2, 0.6 / 2.
    "l1_max_code": ({"alpha": 0.01}, [0.7, 0.5, 0.3, 0, 0, 0]),
    # 0.001 * |L - 40|: 0, 0.04, 0.08, 0.02, 0.12, 0.16, off 2 or 0.
    "shorterbetter": ({}, [2, 1.96, 1.92, -0.02, -0.12, -0.16]),
    # 100 / L - 1: 3/2, 1/4, -1/6, 2/3, -3/8, -1/2; plus 2 * (c - 0.5) = +1 or -1.
    "o1_pruner": ({}, [5 / 2, 5 / 4, 5 / 6, -1 / 3, -11 / 8, -3 / 2]),
    # z = -1.224745, 0, 1.224745 (sqrt(3/2)); sigmoid 0.227104, 0.5, 0.772896; a tenth of it off.
    "rloo_lp": ({}, [0.977290, 0.95, 0.922710, 0, 0, 0]),
    # (1 + cos(0.9 deg * L)) / 2: cos 36, 72, 108, 54, 144 = 0.809017, 0.309017, -0.309017,
    # 0.587785, -0.809017, so 0.904508, 0.654508, 0.345492, 0.793893, 0.095492; minus if wrong.
    "cosine": ({}, [0.904508, 0.654508, 0.345492, -0.793893, -0.095492, 0]),
    # Half of each, plus 0.5, minus if wrong; f at the cap: share 0.
    "cosine_trl": ({}, [0.952254, 0.827254, 0.672746, -0.896946, -0.547746, -0.5]),
    # Ramp from 100 to 200: 0, 0, -0.2, 0, -0.6, -1, off 1 or -1.
    "soft_overlong": ({"buffer_share": 0.5}, [1, 1, 0.8, -1, -1.6, -2]),
    # 0.01 a token times 3 / 6 solved: 0.2, 0.4, 0.6, 0.3, 0.8, 1.
    "alp": ({"beta": 0.01}, [0.8, 0.6, 0.4, -0.3, -0.8, -1]),
    # cos of 45, 90, 135, 67.5, 180, 180 deg: 0.707107, 0, -0.707107 -> -0.7; wrong: 0, -1, -1.
    "hapo": ({}, [1.707107, 1, 0.3, 0, -1, -1]),
    # 0.001 a token.
    "a_dlp": ({}, [0.96, 0.92, 0.88, -0.06, -0.16, -0.2]),
    # exp(0.05 * 1.224745), 1, its inverse; wrong -1.
    "grpo_lead": ({}, [1.063151, 1, 0.940600, -1, -1, -1]),
    # All: mean 110, var 19000 / 6 = 9500 / 3. Peak (9500 * 80 - 3200 * 110) / 6300 = 1360 / 21.
    # Over it: 0, 320 / 21, 1160 / 21; mean over six 740 / 63; price 0.5 / (3480 - 740) * 63 =
    # 63 / 5480; off: 0, 24 / 137, 87 / 137. The last right one has the mean: 300 / 137 / 6.
    "smartthinker": ({}, [1, 113 / 137, 50 / 137, 0, 0, 0]),
    # 1 / (1 + 0.33 * L / 110) = 1 / (1 + 0.003 * L).
    "gr3": ({}, [1 / 1.12, 1 / 1.24, 1 / 1.36, 0, 0, 0]),
    # Right from 40 to 120, 30 tokens free: s = 0.5, 0.5 - 40/80, 0.5 - 80/80; gate 0.001.
    "lazy_penalty": ({"tolerance_tokens": 30}, [1.0005, 1, 0.9995, 0, 0, 0]),
    # L / 200 / 0.1 = 2, 4, 6, so 1, e^-2, e^-4 over 1.153651.
    "drpo": ({}, [0.866813, 0.117310, 0.015876, 0, 0, 0]),
    # c - 0.5, and 0.05 more for a and d.
    "adaptthink": ({}, [0.55, 0.5, 0.5, -0.45, -0.5, -0.5]),
}


@pytest.mark.parametrize("name", available())
def test_reward_of_the_group_is_the_one_worked_out_by_hand(name: str) -> None:
    own = Path(__file__).with_name(f"test_{name}.py")
    settings, expected = GOLDEN[name] if name in GOLDEN else run_path(str(own))["GOLDEN"]
    np.testing.assert_allclose(load(name)(GROUP, **settings), expected, atol=1.5e-6)


def right(*tokens: int) -> GroupView:
    """A group of right, finished rollouts with the rest of ``GROUP``."""
    everyone = np.ones(len(tokens), dtype=np.bool_)
    return GROUP._replace(
        correct_G=everyone,
        tokens_G=np.array(tokens),
        finished_G=everyone,
        formatted_G=everyone,
        thought_G=everyone,
        thinking_G=np.array(tokens),
    )


def test_l1_max_pays_full_slope_in_the_paper_and_half_in_the_code() -> None:
    # 0.0003 * (4096 - 2432) = 0.4992: 0.9992 printed, 1.4992 / 2 = 0.7496 coded.
    g = right(2432)._replace(target_tokens=4096.0)
    np.testing.assert_allclose(load("l1_max")(g), [0.9992])
    np.testing.assert_allclose(load("l1_max_code")(g), [0.7496])


def test_l1_max_stays_between_nothing_and_one() -> None:
    # 80 - L = 79, -80: printed clip(0.79 + 0.5), clip(-0.8 + 0.5); coded 1.79 / 2, 0.2 / 2.
    np.testing.assert_allclose(load("l1_max")(right(1, 160), alpha=0.01), [1, 0])
    np.testing.assert_allclose(load("l1_max_code")(right(1, 160), alpha=0.01), [0.895, 0.1])


def test_laser_excludes_its_target_and_laser_d_includes_it() -> None:
    g = right(79, 80, 81)
    assert load("laser")(g).tolist() == [1.4, 1, 1]
    assert load("laser_d")(g).tolist() == [1.5, 1.5, 1]


def test_laser_printed_pays_long_wrong_answers_what_laser_de_would_and_laser_d_would_not() -> None:
    wrong = right(80, 81)._replace(correct_G=np.array([False, False]))
    assert load("laser_printed")(wrong).tolist() == [0.4, 0.4]
    assert load("laser_de")(wrong).tolist() == [-0.5, 0]
    assert load("laser_d")(wrong).tolist() == [-0.5, -0.5]


def test_kimi_measures_length_against_wrong_and_cut_rollouts_too() -> None:
    # Among the right ones alone 120 would be the longest: 1 - 0.2.
    assert load("kimi")(GROUP)[2] == 1
    np.testing.assert_allclose(load("kimi")(right(40, 80, 120)), [1.2, 1, 0.8])


def test_shorterbetter_without_a_right_answer_asks_for_the_mean_length() -> None:
    # Mean of 40, 80, 180 is 100: 60, 20, 80 tokens away.
    g = right(40, 80, 180)._replace(correct_G=np.zeros(3, dtype=np.bool_))
    np.testing.assert_allclose(load("shorterbetter")(g), [-0.06, -0.02, -0.08])


def test_o1_pruner_clips_where_its_code_does() -> None:
    # 100 / L - 1 + 2 * 0.5: 100 and 1.5; wrong at 10,000: 0.01 - 1 - 1 = -1.99.
    g = right(1, 40, 10_000)._replace(correct_G=np.array([True, False, False]))
    np.testing.assert_allclose(load("o1_pruner")(g), [100, 0.5, -1.99])
    clipped_G = load("o1_pruner")(g, lowest=-1.0, highest=4.0)
    np.testing.assert_allclose(clipped_G, [4, 0.5, -1])


def test_cosine_treats_the_last_tokens_as_exceeding_and_trl_does_not() -> None:
    # 190 of 200: cos 171 deg = -0.987688, share 0.006156.
    g = right(190)
    np.testing.assert_allclose(load("cosine")(g, exceeded=-1.0), [0.006156], atol=1e-6)
    assert load("cosine")(g, exceeded=-1.0, margin_tokens=16).tolist() == [-1]
    np.testing.assert_allclose(load("cosine_trl")(g), [0.503078], atol=1e-6)


def test_cosine_does_not_climb_again_beyond_the_cap() -> None:
    assert load("cosine_trl")(right(300, 400)).tolist() == [0.5, 0.5]


def test_soft_overlong_is_free_up_to_the_buffer_and_floored_beyond_the_cap() -> None:
    # Buffer 0.2 * 200 = 40: free to 160, half at 180, all from 200.
    reward_G = load("soft_overlong")(right(160, 180, 200, 900))
    np.testing.assert_allclose(reward_G, [1, 0.5, 0, 0], atol=1e-12)


def test_hapo_without_history_is_plain_correctness() -> None:
    g = GROUP._replace(target_tokens=np.inf)
    assert load("hapo")(g).tolist() == [1, 1, 1, 0, 0, 0]


def test_alp_charges_solved_prompts_more_and_unsolved_ones_a_group_share() -> None:
    # Solved always: 0.01 * 100. Never, of two: 0.01 * 1 / 2 * 100.
    always = right(100, 100)
    never = always._replace(correct_G=np.zeros(2, dtype=np.bool_))
    np.testing.assert_allclose(load("alp")(always, beta=0.01), [0, 0])
    np.testing.assert_allclose(load("alp")(never, beta=0.01), [-0.5, -0.5])


def test_grpo_lead_leaves_groups_alone_whose_three_shortest_are_short() -> None:
    # 40, 60 and 80 average 60.
    assert load("grpo_lead")(GROUP, from_tokens=60).tolist() == [1, 1, 1, -1, -1, -1]
    assert load("grpo_lead")(GROUP, from_tokens=59)[0] > 1


def test_lazy_penalty_waits_for_its_gate_and_tolerates_a_little() -> None:
    g = right(40, 80, 120)
    closed, ajar = g._replace(weight=0.0), g._replace(weight=np.nan)
    assert load("lazy_penalty")(closed).tolist() == [1, 1, 1]
    assert load("lazy_penalty")(ajar, tolerance_tokens=40).tolist() == [1.5, 1.5, 0.5]
    assert load("lazy_penalty")(ajar, tolerance_tokens=39).tolist() == [1.5, 1, 0.5]
    with pytest.raises(ValueError, match="must lie in"):
        load("lazy_penalty")(g._replace(weight=1.5))


def test_smartthinker_leaves_the_worst_right_answer_at_the_mean() -> None:
    reward_G = load("smartthinker")(GROUP)
    np.testing.assert_allclose(reward_G[2], reward_G.mean())


def test_smartthinker_with_equally_wide_fits_takes_the_end_where_right_answers_are() -> None:
    # Right 7, 13: mean 10, var 9. With wrong 13, 15: mean 12, var (25 + 1 + 1 + 9) / 4 = 9, so
    # right answers are the shorter and 7 is best. Over it 0, 6, mean 1.5; price 0.5 / 4.5; off 6/9.
    # Right 11, 17 and wrong 9, 11, the mirror image: the longest, 17, is best.
    halves_G = np.array([True, True, False, False])
    shorter = right(7, 13, 13, 15)._replace(correct_G=halves_G)
    longer = right(11, 17, 9, 11)._replace(correct_G=halves_G)
    np.testing.assert_allclose(load("smartthinker")(shorter), [1, 1 / 3, 0, 0])
    assert load("smartthinker")(longer).tolist() == [1, 1, 0, 0]


def test_smartthinker_with_a_wider_fit_of_the_right_ones_takes_the_shortest() -> None:
    # Right 10, 50 (var 400); wrong 30, 30: all var 200. Over 10: 0, 40, mean 10; price 0.5 / 30.
    g = right(10, 50, 30, 30)._replace(correct_G=np.array([True, True, False, False]))
    np.testing.assert_allclose(load("smartthinker")(g), [1, 1 / 3, 0, 0])


def test_drpo_as_a_reward_puts_long_right_answers_below_the_mean() -> None:
    weight_G = load("drpo")(GROUP)
    np.testing.assert_allclose(weight_G.sum(), 1)
    assert 0 < weight_G[2] < weight_G.mean()
