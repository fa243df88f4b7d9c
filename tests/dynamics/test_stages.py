import numpy as np
import pytest

from tersely.dynamics.decay import DecayShape
from tersely.dynamics.stages import estimate_stages


def decay(step_N, *, plateau=60.0, drop=140.0, tau=25.0, noise=0.0):
    rng = np.random.default_rng(3)
    return plateau + drop * np.exp(-step_N / tau) + noise * rng.standard_normal(step_N.size)


def test_an_exact_decay_is_recovered():
    # 5% of the drop remains at t = tau ln 20 = 25 * 2.9957 = 74.89.
    step_N = np.arange(200.0)
    stages = estimate_stages(step_N, decay(step_N))
    assert stages.stage_end_step == pytest.approx(74.89, abs=0.05)
    assert stages.tau_steps == pytest.approx(25.0, rel=1e-3)
    assert stages.plateau_tokens == pytest.approx(60.0, rel=1e-3)
    assert stages.initial_tokens == pytest.approx(200.0, rel=1e-3)
    assert stages.r_squared == pytest.approx(1.0, abs=1e-6)


def test_a_noisy_decay_with_gaps_is_recovered_within_its_noise():
    step_N = np.arange(200.0)
    tokens_N = decay(step_N, noise=8.0)
    tokens_N[::9] = np.nan
    stages = estimate_stages(step_N, tokens_N)
    assert stages.stage_end_step == pytest.approx(74.9, rel=0.15)
    assert stages.plateau_tokens == pytest.approx(60.0, abs=3.0)
    # noise variance 64 against a signal variance of about 1,000
    assert 0.85 < stages.r_squared < 0.99


def test_steps_are_counted_from_the_first_one_and_in_any_order():
    step_N = np.arange(200.0)
    tokens_N = decay(step_N)
    shuffle_N = np.random.default_rng(0).permutation(200)
    moved = estimate_stages(step_N[shuffle_N] + 40.0, tokens_N[shuffle_N])
    assert moved.stage_end_step == pytest.approx(114.89, abs=0.05)


def test_the_unit_of_length_does_not_matter():
    step_N = np.arange(200.0)
    short = estimate_stages(step_N, decay(step_N, noise=5.0))
    long = estimate_stages(step_N, 100.0 * decay(step_N, noise=5.0))
    assert long.stage_end_step == pytest.approx(short.stage_end_step, rel=1e-3)
    assert long.plateau_tokens == pytest.approx(100.0 * short.plateau_tokens, rel=1e-3)


@pytest.mark.parametrize(
    "tokens_N",
    [
        np.full(50, 80.0),
        80.0 + np.random.default_rng(0).standard_normal(50),
        np.linspace(50.0, 90.0, 50),
        decay(np.arange(50.0), plateau=90.0, drop=15.0, tau=8.0),
        decay(np.arange(50.0), tau=500.0),
        np.full(50, np.nan),
        np.zeros(50),
    ],
    ids=["flat", "noise", "rising", "fell 14%", "barely begun", "undefined", "zero"],
)
def test_a_run_whose_length_did_not_fall_has_no_stages(tokens_N):
    assert np.isnan(estimate_stages(np.arange(50.0), tokens_N)[:7]).all()


def test_too_few_steps_give_no_stages():
    step_N = np.arange(7.0)
    assert estimate_stages(step_N, decay(step_N, tau=2.0)).shape is DecayShape.UNKNOWN
    assert np.isnan(estimate_stages(step_N, decay(step_N, tau=2.0))[:7]).all()
    assert np.isnan(estimate_stages(np.zeros(0), np.zeros(0))[:7]).all()


def test_a_decay_still_under_way_ends_past_the_last_step():
    step_N = np.arange(40.0)
    stages = estimate_stages(step_N, decay(step_N))
    assert stages.stage_end_step > step_N.max()
    assert stages.stage_end_step == pytest.approx(74.89, rel=0.02)
