"""Long logs: a look costs the same at every length, and finds the alarms where they are."""

import numpy as np
import pytest

from tersely.dynamics import alarms
from tersely.dynamics.alarms import first_alarms, rules, standing_alarms
from tersely.dynamics.log import StepLog, make_log
from tersely.dynamics.noise import NoisyLog
from tersely.dynamics.stages import estimate_stages
from tersely.dynamics.thinning import WHOLE, Beginnings, kept_of

RULES = {rule.name: rule for rule in rules()}


def healthy(steps: int, *, seed: int = 0, **columns: np.ndarray) -> StepLog:
    rng = np.random.default_rng(seed)
    t_N = np.arange(steps)
    fall_N = 1 - np.exp(-t_N / 60)
    made = {
        "accuracy": rng.binomial(256, 0.5 + 0.2 * fall_N) / 256,
        "tokens_mean": (900 - 600 * fall_N) * np.exp(rng.normal(0, 0.05, steps)),
        "entropy_mean": (0.6 - 0.3 * fall_N) * np.exp(rng.normal(0, 0.05, steps)),
        "kl_mean": 0.02 * np.exp(rng.normal(0, 0.15, steps)),
        "eval_accuracy": np.where(t_N % 25 == 0, 0.6 + rng.normal(0, 0.01, steps), np.nan),
        "loss": rng.normal(0, 0.01, steps),
    }
    return make_log(t_N, {**made, **columns})


def without(log: StepLog, name: str) -> StepLog:
    return log._replace(columns={n: v for n, v in log.columns.items() if n != name})


def test_a_beginning_is_whole_while_short_and_keeps_its_ends_when_long() -> None:
    log = healthy(50_000)
    beginnings = Beginnings(log)
    short = beginnings.until(WHOLE)
    assert short.step_N.size == WHOLE
    long = beginnings.until(40_000)
    assert long.step_N.size < 3 * WHOLE
    assert (long.step_N[:256] == np.arange(256)).all()
    assert (long.step_N[-512:] == np.arange(39_488, 40_000)).all()
    assert (np.diff(long.step_N) > 0).all()
    # Evaluations are rare: their first and last are there, too.
    known = np.isfinite(long.columns["eval_accuracy"])
    assert {0, 25, 50, 39_950, 39_975} <= set(long.step_N[known])
    assert kept_of(10_000).size <= WHOLE


def test_the_looks_at_a_long_log_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def count(_: object, count: int, among: list) -> list:
        looks.append(count)
        return []

    monkeypatch.setattr(alarms, "_standing", count)
    found = {}
    for steps in (1_000, 10_000, 100_000):
        looks.clear()
        first_alarms(make_log(range(steps), {"tokens_mean": np.ones(steps)}))
        assert looks[-1] == steps
        assert max(np.diff(looks)) <= 80
        found[steps] = len(looks)
    assert found[10_000] < 3 * found[1_000]
    assert found[100_000] < 8 * found[1_000]


def test_a_fault_late_in_a_long_log_is_found_where_the_whole_log_shows_it() -> None:
    lost_N = np.clip((np.arange(6_000) - 4_500) / 200, 0, 1)
    rng = np.random.default_rng(1)
    log = healthy(6_000, accuracy=rng.binomial(256, 0.7 - 0.5 * lost_N) / 256)
    log = without(log, "eval_accuracy")
    (alarm,) = (each for each in first_alarms(log) if each.name == "reasoning collapse")
    rule = RULES["reasoning collapse"]
    counts = range(4_500, 4_700)
    whole = next(c for c in counts if rule.look(NoisyLog(log.until(c))) is not None)
    # The best of fewer earlier windows is a little lower.
    assert abs(alarm.step - (whole - 1)) <= 20
    assert alarm.name in {each.name for each in standing_alarms(log)}


def test_what_lasts_a_few_records_of_a_long_log_is_found_at_its_record() -> None:
    kl_N = 0.02 * np.exp(np.random.default_rng(2).normal(0, 0.15, 9_000))
    kl_N[7_003] = 4.0
    loss_N = np.full(9_000, 0.1)
    loss_N[6_001:6_012] = np.nan
    found = {a.name: a.step for a in first_alarms(healthy(9_000, kl_mean=kl_N, loss=loss_N))}
    # A curve without gaps that has no value for 5 records.
    assert found == {"kl spike": 7_003, "curve ended": 6_005}


def test_alarms_are_those_of_a_look_at_every_fifth_record_and_back() -> None:
    """The definition, which a search must not change: as it was before there were long logs."""
    lost_N = np.clip((np.arange(300) - 100) / 150, 0, 1)
    rng = np.random.default_rng(3)
    log = without(healthy(300, accuracy=rng.binomial(64, 0.7 - 0.5 * lost_N) / 64), "eval_accuracy")
    found: dict[str, int] = {}
    for count in (*range(1, 301, 5), 300):
        new = {alarm.name for alarm in standing_alarms(log.until(count))} - found.keys()
        for earlier in range(max(1, count - 4), count + 1) if new else ():
            for alarm in standing_alarms(log.until(earlier)):
                found.setdefault(alarm.name, alarm.step)
    assert found
    assert {alarm.name: alarm.step for alarm in first_alarms(log)} == found


def test_a_log_that_grew_is_looked_at_from_there_on() -> None:
    entropy_N = np.where(np.arange(200) < 120, 0.5, 3.0) * np.exp(
        np.random.default_rng(4).normal(0, 0.05, 200)
    )
    log = make_log(range(200), {"entropy_mean": entropy_N})
    (whole,) = first_alarms(log)
    assert first_alarms(log.until(110)) == []
    assert first_alarms(log, since=110) == [whole]
    assert first_alarms(log, since=200) == []


def test_stages_of_a_long_log_are_those_of_its_beginning() -> None:
    log = healthy(30_000)
    long = estimate_stages(log.step_N, log.columns["tokens_mean"])
    short = estimate_stages(log.step_N[:600], log.columns["tokens_mean"][:600])
    assert long.tau_steps == pytest.approx(60, rel=0.1)
    assert long.stage_end_step == pytest.approx(short.stage_end_step, rel=0.1)
