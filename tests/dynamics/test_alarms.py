"""Alarms on the paper's curves, on made series, and each rule at its threshold."""

import csv
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tersely.core import lookup
from tersely.dynamics.alarms import (
    RECENT,
    START,
    Alarm,
    Severity,
    first_alarms,
    name_in_words,
    rules,
    standing_alarms,
)
from tersely.dynamics.log import COLUMNS, StepLog, make_log
from tersely.dynamics.noise import NoisyLog

CURVES = Path(__file__).parent / "fixtures" / "paper-curves.csv"
HEALTHY = (
    "truncation_easy_n8_lr16k_lt4k",
    "truncation_easy_n24_lr16k_lt4k",
    "truncation_easy_n24_lr4k_lt4k",
    "kimi_easy_n8_lr16k_lt4k",
    "mask_LC_n24_lr16k_lt4k",
    "staleness2_n24_lr4k_lt4k",
    "qwen3_0.6b_lr10k_lt10k",
)


@pytest.fixture(scope="module")
def curves() -> dict[str, StepLog]:
    rows = defaultdict(list)
    with CURVES.open(newline="") as lines:
        for row in csv.DictReader(lines):
            rows[row.pop("run")].append({k: float(v) if v else np.nan for k, v in row.items()})
    return {
        run: make_log(
            [row["step"] for row in found],
            {k: [row[k] for row in found] for k in found[0] if k not in ("step", "staleness")},
            staleness=found[0]["staleness"],
        )
        for run, found in rows.items()
    }


def every_fifth(log: StepLog) -> dict[str, int]:
    """First alarms, looked for at every fifth record only: the test's time."""
    found: dict[str, int] = {}
    for count in range(START + RECENT, log.step_N.size + 1, 5):
        for alarm in standing_alarms(log.until(count)):
            found.setdefault(alarm.name, alarm.step)
    return found


@pytest.mark.parametrize("run", HEALTHY)
def test_the_papers_healthy_runs_raise_nothing(run: str, curves: dict[str, StepLog]) -> None:
    assert every_fifth(curves[run]) == {}


def test_the_papers_trap_is_named_200_steps_before_entropy_spikes(curves) -> None:
    log = curves["mask_I_n24_lr16k_lt4k"]
    found = every_fifth(log)
    entropy_N = log.columns["entropy_mean"]
    spike = log.step_N[np.flatnonzero(entropy_N > 2.0)[0]]
    assert found["short is correct trap"] < 150
    assert spike - found["short is correct trap"] > 150
    assert found["entropy explosion"] > spike - 10


def test_the_drift_of_stale_updates_is_named_long_before_it_is_complete(curves) -> None:
    log = curves["staleness16_n24_lr4k_lt4k"]
    found = every_fifth(log)
    # Entropy ends at six times its start, half of that after step 600.
    assert found["staleness drift"] < 250
    assert found["entropy explosion"] < 350
    assert set(found) == {"staleness drift", "entropy explosion", "length rebound"}


def made(steps: int = 60, *, staleness: float = 1.0, **columns) -> StepLog:
    """A log of constant columns, or of lines between two values."""
    values = {
        name: np.linspace(*v, steps) if isinstance(v, tuple) else np.full(steps, float(v))
        for name, v in columns.items()
    }
    return make_log(range(steps), values, staleness=staleness)


def names(log: StepLog) -> set[str]:
    return {alarm.name for alarm in standing_alarms(log)}


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"accuracy": (0.6, 0.3), "tokens_mean": (100, 40)}, "reasoning collapse"),
        (
            {"tokens_mean": (100, 20), "entropy_mean": (1, 0.2), "positive_share": (0.6, 0.4)},
            "short is correct trap",
        ),
        ({"entropy_mean": (0.5, 3)}, "entropy explosion"),
        ({"entropy_mean": (1, 0.0), "accuracy": 0.5}, "entropy collapse"),
        ({"tokens_mean": 150, "positive_share": 0.05}, "positive share starvation"),
        ({"truncated_share": (0.0, 0.3)}, "truncation rising"),
        ({"unparsed_share": (0.0, 0.2), "ungraded_share": 0.0}, "grader failures"),
        ({"sampler_mismatch": (0.001, 0.3)}, "sampler mismatch"),
        ({"sampler_mismatch": 1.4}, "sampler mismatch"),
        ({"accuracy": (0.6, 0.3), "tokens_mean": 100}, "accuracy falling"),
        ({"accuracy": (0.8, 0.68), "reward_mean": (0.3, 0.8)}, "reward hacking"),
        ({"accuracy": (0.5, 0.8), "eval_accuracy": (0.5, 0.3)}, "held out falling"),
        ({"tokens_mean": (100, 5)}, "length collapse"),
        ({"looping_share": (0.0, 0.4)}, "looping"),
        ({"looping_share": 0.4}, "looping"),
        ({"zero_signal_share": 0.9}, "nothing learned"),
        ({"grad_norm": 0.0, "tokens_mean": 100}, "nothing learned"),
        ({"learning_rate": 0.0}, "nothing learned"),
        ({"clip_share": 0.98}, "clipping"),
        ({"unparsed_share": 0.7}, "grader failures"),
    ],
)
def test_each_rule_sees_what_it_is_for_and_nothing_else(columns, name) -> None:
    assert names(made(240, **columns)) == {name}


def test_rules_that_need_a_turn() -> None:
    fell_and_rose = np.r_[np.linspace(100, 40, 60), np.linspace(40, 60, 60)]
    entropy_N = np.r_[np.full(60, 1.0), np.linspace(1.0, 1.9, 60)]
    log = make_log(range(120), {"tokens_mean": fell_and_rose, "entropy_mean": entropy_N})
    assert names(log) == {"length rebound"}
    assert names(log._replace(staleness=4.0)) == {"length rebound", "staleness drift"}
    long = make_log(range(120), {"tokens_mean": fell_and_rose, "target_tokens": np.full(120, 30.0)})
    assert names(long) == {"overlong hacking"}
    kl_N = np.r_[np.full(70, 0.005), np.full(6, 0.5)]
    assert names(make_log(range(76), {"kl_mean": kl_N})) == {"kl spike"}


def jump(times: float, over: int) -> np.ndarray:
    """Length that rises so many times from step 100 on, within so many steps, and stays."""
    rise_N = np.clip((np.arange(200) - 100) / over, 0, 1)
    noise_N = np.random.default_rng(0).normal(0, 0.05, 200)
    return 1_000 * (1 + (times - 1) * rise_N) * np.exp(noise_N)


def first_of(**columns: object) -> dict[str, int]:
    return {alarm.name: alarm.step for alarm in first_alarms(make_log(range(200), columns))}


def test_a_length_that_jumps_is_named_unless_something_is_gained_or_it_was_on_purpose() -> None:
    rises_N = np.linspace(0.2, 0.8, 200)
    steady_N = 0.5 + np.random.default_rng(1).normal(0, 0.02, 200)
    found = first_of(tokens_mean=jump(4, 20))
    assert set(found) == {"length explosion"}
    assert 105 <= found["length explosion"] <= 115
    assert set(first_of(tokens_mean=jump(4, 20), accuracy=steady_N)) == {"length explosion"}
    for paid in ("accuracy", "reward_mean", "positive_share"):
        assert first_of(tokens_mean=jump(4, 20), **{paid: rises_N}) == {}
    assert first_of(tokens_mean=jump(4, 1), difficulty=np.arange(200) // 100) == {}
    assert first_of(tokens_mean=jump(4, 1), target_tokens=jump(4, 1)) == {}
    # Growth as slow as that of reasoning that is learned, and less than twice, are none.
    assert first_of(tokens_mean=jump(4, 100)) == {}
    assert first_of(tokens_mean=jump(1.7, 10)) == {}


def test_a_jump_of_length_is_looked_for_in_steps_where_records_are_apart() -> None:
    seldom = make_log(range(0, 2_000, 10), {"tokens_mean": jump(4, 2)})
    assert {alarm.name for alarm in first_alarms(seldom)} == {"length explosion"}
    # Twice as long from one record to the next, 100 steps later, may be learned.
    rare = make_log(range(0, 20_000, 100), {"tokens_mean": jump(4, 2)})
    assert first_alarms(rare) == []


def test_a_fall_of_accuracy_says_what_the_length_did() -> None:
    fell = {"accuracy": (0.6, 0.3)}
    for tokens, said in (
        ({"tokens_mean": 100}, "length did not fall with it"),
        ({"tokens_mean": (100, 400)}, "while length rose 1"),
        ({}, "the log has no length"),
    ):
        (alarm,) = [a for a in standing_alarms(made(240, **fell, **tokens)) if "acc" in a.name]
        assert said in alarm.evidence


def test_a_fall_that_the_log_says_was_on_purpose_is_no_loss() -> None:
    falls = {"accuracy": (0.8, 0.4), "tokens_mean": (100, 50)}
    assert names(made(**falls)) == {"reasoning collapse"}
    (alarm,) = standing_alarms(made(**falls))
    assert "does not say how hard its prompts were" in alarm.evidence
    assert names(made(difficulty=(1, 8), **falls)) == set()
    assert names(made(eval_accuracy=(0.5, 0.6), **falls)) == set()
    assert names(made(difficulty=3, **falls)) == {"reasoning collapse"}
    trap = {"tokens_mean": (100, 20), "entropy_mean": (1, 0.3), "positive_share": (0.6, 0.4)}
    assert names(made(target_tokens=100, **trap)) == {"short is correct trap"}
    assert names(made(target_tokens=(100, 30), **trap)) == set()


def evaluated(rng, *, lost: float, every: int, after: int) -> StepLog:
    """Accuracy falls at step 100 by a quarter, and held-out accuracy so much; ``after`` records."""
    fell_N = np.arange(100 + after) >= 100
    accuracy_N = 0.6 * (1 - 0.25 * fell_N) + rng.normal(0, 0.04, fell_N.size)
    held_out_N = 0.5 * (1 - lost * fell_N) + rng.normal(0, 0.015, fell_N.size)
    held_out_N[np.arange(fell_N.size) % every != every - 1] = np.nan
    return make_log(range(fell_N.size), {"accuracy": accuracy_N, "eval_accuracy": held_out_N})


def test_an_evaluation_is_waited_for_and_decides_but_not_for_ever() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        for after in (18, 40, 80):
            stands = evaluated(rng, lost=0.0, every=20, after=after)
            assert names(stands) == set()
            # Two that were left out are not overdue, where the one before was after the fall.
            if after == 80:
                stands.columns["eval_accuracy"][[139, 159, 179]] = np.nan
                assert names(stands.until(179)) == set()
        assert "accuracy falling" not in names(evaluated(rng, lost=0.25, every=20, after=18))
        assert "accuracy falling" in names(evaluated(rng, lost=0.25, every=20, after=22))
        # The last one is of step 89, the next one of step 134.
        assert names(evaluated(rng, lost=0.25, every=45, after=25)) == set()
        assert names(evaluated(rng, lost=0.25, every=45, after=33)) == {"accuracy falling"}


def test_accuracy_and_evaluations_that_each_fall_a_little_count_together() -> None:
    rng = np.random.default_rng(0)
    alone, both = [], []
    for _ in range(40):
        fell_N = np.arange(66) >= 60
        accuracy_N = 0.6 - 0.1 * fell_N + rng.normal(0, 0.07, 66)
        held_out_N = np.where(np.arange(66) % 6 == 5, 0.5 - 0.09 * fell_N, np.nan)
        held_out_N += rng.normal(0, 0.015, 66)
        columns = {"accuracy": accuracy_N, "eval_accuracy": held_out_N}
        both.append("accuracy falling" in names(make_log(range(66), columns)))
        alone.append("accuracy falling" in names(make_log(range(66), {"accuracy": accuracy_N})))
    assert sum(alone) <= 8
    assert sum(both) >= 20


def test_a_series_of_spikes_is_named_and_noise_as_wide_is_not() -> None:
    rng = np.random.default_rng(0)
    jitter_N = 0.02 * np.exp(rng.normal(0, 0.1, 200))
    spiked_N = jitter_N.copy()
    spiked_N[20::30] *= 3
    assert names(make_log(range(200), {"kl_mean": jitter_N})) == set()
    assert names(make_log(range(200), {"kl_mean": spiked_N})) == {"kl spike"}
    wide_N = 0.02 * np.exp(rng.normal(0, 0.6, 200))
    assert names(make_log(range(200), {"kl_mean": wide_N})) == set()


def test_the_trap_is_not_seen_in_the_noise_of_eight_prompts() -> None:
    rng = np.random.default_rng(0)
    t_N = np.arange(150)
    fall_N = np.exp(-t_N / 20)
    raised = 0
    for _ in range(20):
        share_N = rng.binomial(32, 0.6 - 0.35 * fall_N) / 32
        log = make_log(
            t_N,
            {
                "tokens_mean": (30 + 70 * fall_N) * np.exp(rng.normal(0, 0.1, 150)),
                "entropy_mean": (0.3 + 0.6 * fall_N) * np.exp(rng.normal(0, 0.1, 150)),
                "positive_share": share_N,
                "rollouts": np.full(150, 32.0),
            },
        )
        raised += any(names(log.until(count)) for count in range(30, 151, 20))
    assert raised == 0


def test_one_wild_step_of_kl_is_seen_for_five_steps_and_no_longer() -> None:
    rng = np.random.default_rng(0)
    kl_N = rng.uniform(0.004, 0.006, 140)
    kl_N[100] = 0.4
    log = make_log(range(140), {"kl_mean": kl_N})
    seen = [n - 1 for n in range(START + RECENT, 141) if names(log.until(n)) == {"kl spike"}]
    assert seen == [100, 101, 102, 103, 104]
    assert [(a.name, a.step) for a in first_alarms(log)] == [("kl spike", 100)]
    # KL that jumps about anyway, or stays small, is none.
    for wild in (np.where(np.arange(140) % 9 == 0, 0.4, 0.005), kl_N / 10):
        assert first_alarms(make_log(range(140), {"kl_mean": wild})) == []


def covered(rng, *, solved: tuple[float, float], accuracy: tuple[float, float]) -> StepLog:
    """Shares of 32 prompts solved, drawn anew at each step, along two lines."""
    share_N = np.linspace(*solved, 160)
    return make_log(
        range(160),
        {
            "solved_share": rng.binomial(32, share_N) / 32,
            "accuracy": rng.binomial(256, np.linspace(*accuracy, 160)) / 256,
        },
    )


def test_coverage_that_falls_under_a_steady_accuracy_is_named_and_chance_is_not() -> None:
    rng = np.random.default_rng(0)
    falling = [covered(rng, solved=(0.9, 0.65), accuracy=(0.55, 0.58)) for _ in range(100)]
    named = [{alarm.name for alarm in first_alarms(log)} for log in falling]
    assert named.count({"coverage falling"}) >= 98
    # Not where accuracy falls too (other rules are for that), and not by chance.
    both = covered(rng, solved=(0.9, 0.65), accuracy=(0.55, 0.4))
    assert names(both) == {"accuracy falling"}
    steady = [covered(rng, solved=(0.8, 0.8), accuracy=(0.55, 0.6)) for _ in range(100)]
    assert sum(bool(first_alarms(log)) for log in steady) <= 2


def test_a_falling_length_at_steady_or_rising_accuracy_is_no_alarm() -> None:
    healthy = made(
        tokens_mean=(100, 30),
        accuracy=(0.6, 0.8),
        entropy_mean=(0.8, 0.6),
        positive_share=(0.2, 0.7),
        truncated_share=(0.1, 0.0),
        target_tokens=40,
    )
    assert names(healthy) == set()


def test_too_few_steps_and_missing_columns_raise_nothing() -> None:
    assert names(made(START + RECENT - 1, entropy_mean=(0.1, 9))) == set()
    assert names(made(START + RECENT, entropy_mean=(0.1, 9))) == {"entropy explosion"}
    assert names(make_log(range(60), {})) == set()


def test_single_wild_steps_raise_nothing() -> None:
    values_N = np.full(80, 0.5)
    values_N[[20, 40, 60, 79]] = 50.0
    assert names(make_log(range(80), {"entropy_mean": values_N})) == set()


def test_an_alarm_is_kept_at_the_step_where_it_was_first_raised() -> None:
    (alarm,) = first_alarms(made(60, entropy_mean=(0.5, 3)))
    assert isinstance(alarm, Alarm)
    assert alarm.severity is Severity.ERROR
    assert START + RECENT <= alarm.step < 50
    assert "0." in alarm.evidence
    assert "2602.20945" in alarm.reason


def test_noise_about_a_healthy_decay_raises_fewer_than_two_false_alarms_in_a_hundred() -> None:
    rng = np.random.default_rng(0)
    raised = 0
    for _ in range(200):
        t_N = np.arange(200)
        decay_N = np.exp(-t_N / rng.uniform(15, 60))
        noise = rng.normal(0, 0.05, (4, 200))
        log = make_log(
            t_N,
            {
                "tokens_mean": (40 + 60 * decay_N) * (1 + noise[0]),
                "entropy_mean": (0.6 + 0.2 * decay_N) * (1 + noise[1]),
                "accuracy": np.clip(0.7 - 0.15 * decay_N + noise[2], 0, 1),
                "positive_share": np.clip(0.6 - 0.4 * decay_N + noise[3], 0, 1),
                "target_tokens": np.full(200, 60.0),
            },
        )
        raised += bool(standing_alarms(log)) or bool(standing_alarms(log.until(60)))
    assert raised < 4


def test_every_rule_has_a_threshold_in_its_first_line() -> None:
    for rule in rules():
        words = rule.look.__doc__ or ""
        assert any(character.isdigit() for character in words) or "tenth" in words


QUIET = {
    **dict.fromkeys(COLUMNS, 0.5),
    **dict.fromkeys(("truncated_share", "looping_share", "clip_share", "kl_mean"), 0.01),
    **dict.fromkeys(("unparsed_share", "ungraded_share", "sampler_mismatch"), 0.01),
}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_a_rule_without_the_columns_that_it_says_is_silent_and_says_what_it_lacks(rule) -> None:
    quiet = made(120, **{**QUIET, "reward_mean": (0.4, 0.6)})
    assert rule.look(NoisyLog(quiet)) is None
    assert rule.missing(quiet) == ()
    for name in set(rule.columns) - {"staleness"}:
        blank = quiet._replace(columns={**quiet.columns, name: np.full(120, np.nan)})
        assert rule.look(NoisyLog(blank)) is None
        assert rule.missing(blank) == (name,)
    if rule.either:
        blank = dict.fromkeys(rule.either, np.full(120, np.nan))
        assert rule.missing(quiet._replace(columns={**quiet.columns, **blank})) == rule.either[:1]


def test_the_alarms_that_end_a_run_are_said_first_and_places_are_taken_once() -> None:
    severities = [rule.severity for rule in rules()]
    assert severities == sorted(severities, key=list(Severity).index)
    assert severities[0] is Severity.ERROR
    folder = "tersely.dynamics.alarms"
    places = [import_module(f"{folder}.{name}").PLACE for name in lookup.names(folder)]
    assert len(set(places)) == len(places)


def test_the_guide_names_no_alarm_that_is_not_there() -> None:
    guide = Path(__file__).parents[2] / "docs" / "diagnosing.md"
    table = guide.read_text(encoding="utf-8").split("| alarm | rule |")[1].split("\n\n")[0]
    named = {line.split("|")[1].strip() for line in table.splitlines()[2:]}
    assert named
    assert named <= {rule.name for rule in rules()}


def test_a_name_in_an_older_run_is_still_that_alarm() -> None:
    known = {rule.name for rule in rules()}
    for written in ("KL spike", "short-is-correct trap", "positive-share starvation"):
        assert name_in_words(written) in known
    assert name_in_words("kl_spike") == "kl spike"
