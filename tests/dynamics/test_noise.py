"""The noise of a column, and moves beyond it."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from series import autoregression

from tersely.dynamics.log import make_log
from tersely.dynamics.noise import ERRORS, NoisyColumn, NoisyLog


def column(value_K: np.ndarray, **more: float) -> NoisyColumn:
    return NoisyColumn(np.arange(float(len(value_K))), np.asarray(value_K, dtype=float), **more)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_noise_and_correlation_of_an_autoregression_are_found_under_a_trend(rho: float) -> None:
    rng = np.random.default_rng(0)
    found = [column(autoregression(rng, rho, 400) + 0.02 * np.arange(400)) for _ in range(50)]
    assert np.mean([one.noise for one in found]) == pytest.approx(1.0, rel=0.1)
    assert np.mean([one.correlation for one in found]) == pytest.approx(rho, abs=0.1)
    # Var of the mean of n neighbours: (1 + rho) / (1 - rho) / n, and rho is believed to be 1.5
    # standard errors, of 1 / sqrt(390) each, larger.
    unsure = rho + 1.5 / np.sqrt(390)
    wanted = np.sqrt((1 + unsure) / (1 - unsure) / 40)
    assert np.mean([one.error(40) for one in found]) == pytest.approx(wanted, rel=0.15)


def test_the_unit_of_a_column_does_not_matter() -> None:
    value_K = np.random.default_rng(1).normal(10, 1, 100) - np.repeat([0.0, 4.0], 50)
    small, large = column(value_K), column(1000 * value_K)
    assert large.noise == pytest.approx(1000 * small.noise)
    assert large.correlation == pytest.approx(small.correlation)
    first, second = small.fell(lambda b, a: a < b), large.fell(lambda b, a: a < b)
    assert first is not None
    assert second is not None
    assert second.before == pytest.approx(1000 * first.before)


def test_a_move_needs_its_size_and_its_standard_errors() -> None:
    rng = np.random.default_rng(2)
    value_K = np.repeat([0.6, 0.5], 60) + rng.normal(0, 0.02, 120)
    found = column(value_K).fell(lambda before, after: after <= 0.9 * before)
    assert found is not None
    assert found.before - found.after >= ERRORS * found.error
    assert column(value_K).fell(lambda before, after: after <= 0.7 * before) is None
    assert column(value_K).rose(lambda before, after: True) is None
    noisy = np.repeat([0.6, 0.5], 60) + rng.normal(0, 0.3, 120)
    assert column(noisy).fell(lambda before, after: after <= 0.9 * before) is None


def test_what_does_not_move_hardly_ever_moves() -> None:
    rng = np.random.default_rng(3)
    for rho in (0.0, 0.5):
        moved = 0
        for _ in range(40):
            whole = autoregression(rng, rho, 200)
            looks = (column(whole[:count]) for count in range(30, 201, 20))
            moved += any(
                one.fell(lambda b, a: True) or one.rose(lambda b, a: True) for one in looks
            )
        assert moved <= 3


def test_a_share_of_few_rollouts_has_binomial_noise_at_least() -> None:
    steady = {"accuracy": np.full(40, 0.5), "rollouts": np.full(40, 100.0)}
    accuracy = NoisyLog(make_log(range(40), steady)).get("accuracy")
    # sqrt(0.5 x 0.5 / 100)
    assert accuracy is not None
    assert accuracy.noise == pytest.approx(0.05, rel=1e-3)
    # No share of rollouts, and above 1 where its log is wrong.
    odd = {"clip_share": np.full(40, 1.2), "rollouts": np.full(40, 100.0)}
    clip = NoisyLog(make_log(range(40), odd)).get("clip_share")
    assert clip is not None
    assert clip.noise == 0


def test_wild_records_are_drawn_in_and_a_column_of_one_value_has_no_noise() -> None:
    value_K = np.random.default_rng(4).normal(1, 0.01, 60)
    value_K[30] = 50
    wild = column(value_K)
    assert wild.tame_K.max() < 1.1
    assert wild.noise == pytest.approx(0.01, rel=0.4)
    assert column(np.full(50, 0.3)).noise == 0
    assert column(np.full(50, 0.3)).fell(lambda b, a: True) is None


def test_a_column_over_anothers_move_is_of_the_same_steps() -> None:
    log = NoisyLog(
        make_log(
            range(80),
            {
                "accuracy": np.repeat([0.8, 0.4], 40),
                "eval_accuracy": np.where(
                    np.arange(80) % 10 == 5, np.repeat([0.7, 0.3], 40), np.nan
                ),
            },
        )
    )
    accuracy, held_out = log.get("accuracy"), log.get("eval_accuracy")
    assert accuracy is not None
    assert held_out is not None
    move = accuracy.fell(lambda b, a: b - a > 0.2)
    assert move is not None
    assert (move.before, move.after) == pytest.approx((0.8, 0.4))
    change = held_out.over(move)
    assert change is not None
    assert (change.before, change.after) == pytest.approx((0.7, 0.3))
    assert log.get("kl_mean") is None


def test_a_fall_that_has_just_begun_does_not_hide_in_its_own_noise() -> None:
    value_K = 0.6 + np.random.default_rng(5).normal(0, 0.03, 60)
    before = column(value_K[:52])
    value_K[52:] -= 0.04 * np.arange(1, 9)
    fallen = column(value_K)
    assert fallen.noise == pytest.approx(before.noise, rel=0.1)
    assert fallen.error(10) == pytest.approx(before.error(10), rel=0.1)
    # Of the last three records it is 9 of 0.017 already after five.
    early = column(value_K[:57]).fell(lambda b, a: b - a > 0.1, shortest=(10, 2))
    assert early is not None
    assert early.lately >= 52


def test_what_ten_records_do_not_show_a_hundred_do() -> None:
    rng = np.random.default_rng(6)
    hundred, ten = [], []
    for _ in range(20):
        value_K = np.repeat([0.6, 0.56], 100) + rng.normal(0, 0.05, 200)
        # 4 points are 5.7 standard errors of 0.05 x sqrt(2 / 100), and 2.4 of 0.05 x sqrt(1 / 10).
        hundred.append(column(value_K).fell(lambda b, a: True, from_start=True) is not None)
        ten.append(column(value_K[:110]).fell(lambda b, a: True, from_start=True) is not None)
    assert sum(hundred) >= 17
    assert sum(ten) <= 4
