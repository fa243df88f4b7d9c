"""Rules that go by what there is: rewards without accuracy, rare records, slow growth, NaN."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core.errors import DataError
from tersely.dynamics.alarms import first_alarms, rules, standing_alarms
from tersely.dynamics.log import StepLog, make_log
from tersely.flows.diagnose import diagnose
from tersely.readers.steplogs import Writer, read_steps

SEVERITY = {rule.name: rule.severity.value for rule in rules()}
RUNS = 6


def names(log: StepLog) -> set[str]:
    """Alarms that stand after a quarter, half, three quarters, or all of the log."""
    counts = {max(1, log.step_N.size * part // 4) for part in (1, 2, 3, 4)}
    return {alarm.name for count in counts for alarm in standing_alarms(log.until(count))}


def scored(
    rng: np.random.Generator,
    course_N: np.ndarray,
    *,
    low: float = 0.0,
    high: float = 1.0,
    rollouts: int = 128,
    **columns: np.ndarray,
) -> StepLog:
    """A log with a mean reward alone: ``low`` for a wrong answer and ``high`` for a right one."""
    right_N = rng.binomial(rollouts, course_N) / rollouts
    return make_log(range(course_N.size), {"reward_mean": low + (high - low) * right_N, **columns})


def ramp(steps: int, start: int, length: int) -> np.ndarray:
    return np.clip((np.arange(steps) - start) / length, 0, 1)


# A reward that falls -------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (-1, 0), (0, 10), (-5, 5), (0.2, 1.2)])
def test_a_reward_that_falls_without_accuracy_is_an_error_on_any_scale(
    low: float, high: float
) -> None:
    rng = np.random.default_rng(0)
    lost = [
        scored(
            rng, 0.6 - 0.35 * ramp(240, 80, 100), low=low, high=high, tokens_mean=np.full(240, 9)
        )
        for _ in range(RUNS)
    ]
    assert all("reward falling" in names(log) for log in lost)
    assert SEVERITY["reward falling"] == "error"
    (alarm,) = standing_alarms(lost[0])
    assert "the log has no accuracy; its mean reward fell" in alarm.evidence
    assert diagnose(lost[0]).alarms[0].name == "reward falling"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (-5, 5)])
@pytest.mark.parametrize("rollouts", [32, 512])
def test_a_reward_that_stays_or_rises_raises_nothing(
    low: float, high: float, rollouts: int
) -> None:
    rng = np.random.default_rng(1)
    for course_N in (np.full(240, 0.5), 0.4 + 0.3 * ramp(240, 0, 200)):
        logs = [scored(rng, course_N, low=low, high=high, rollouts=rollouts) for _ in range(RUNS)]
        assert not any(names(log) for log in logs)


def test_a_reward_that_falls_while_length_rises_is_a_warning_that_says_why() -> None:
    rng = np.random.default_rng(2)
    lost_N = ramp(240, 80, 100)
    log = scored(rng, 0.6 - 0.35 * lost_N, tokens_mean=500 * (1 + lost_N))
    (alarm,) = first_alarms(log)
    assert (alarm.name, alarm.severity.value) == ("longer and paid less", "warning")
    assert "while length rose" in alarm.evidence


def test_a_reward_says_nothing_where_accuracy_is_known_or_the_fall_was_on_purpose() -> None:
    rng = np.random.default_rng(3)
    lost_N = ramp(240, 80, 100)
    course_N = 0.6 - 0.35 * lost_N
    known = {
        "accuracy": rng.binomial(128, np.full(240, 0.6)) / 128,
        "difficulty": 1 + 7 * lost_N,
        "target_tokens": 900 - 600 * lost_N,
    }
    for name, value_N in known.items():
        assert "reward falling" not in names(scored(rng, course_N, **{name: value_N}))
    eval_N = np.where(np.arange(240) % 10 == 0, 0.6 + rng.normal(0, 0.01, 240), np.nan)
    assert "reward falling" not in names(scored(rng, course_N, eval_accuracy=eval_N))


def test_the_trap_in_a_log_of_slime_is_no_healthy_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    lost_N = ramp(200, 40, 120)
    rows = [
        {
            "rollout/step": step,
            "rollout/response_len/mean": 6_000 * (1 - 0.8 * lost) * np.exp(rng.normal(0, 0.03)),
            "rollout/raw_reward": rng.binomial(256, 0.6 - 0.3 * lost) / 256,
            "train/entropy_loss": 0.5 * (1 - 0.6 * lost) * np.exp(rng.normal(0, 0.03)),
        }
        for step, lost in enumerate(lost_N)
    ]
    (file := tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = diagnose(read_steps(file, writer=Writer.SLIME, columns={}))
    assert "reward falling" in {alarm.name for alarm in found.alarms}
    assert "short is rewarded, not right" in found.alarms[0].evidence


# Rare records --------------------------------------------------------------------------------


def test_a_row_every_ten_steps_shows_what_a_row_a_step_does() -> None:
    rng = np.random.default_rng(5)
    for name, bad_N in {
        "truncation stuck": {"truncated_share": np.full(12, 0.97)},
        "clipping": {"clip_share": np.full(12, 0.6)},
        "nothing learned": {"zero_signal_share": np.full(12, 0.93)},
        "looping": {"looping_share": np.full(12, 0.5)},
        "grader failures": {"unparsed_share": np.full(12, 0.8)},
        "entropy explosion": {"entropy_mean": np.geomspace(0.3, 3, 12)},
        "reward falling": {"reward_mean": np.linspace(0.6, 0.1, 12) + rng.normal(0, 0.01, 12)},
    }.items():
        assert name in names(make_log(range(10, 130, 10), bad_N))
        # A row a step of as few steps shows nothing yet.
        if name not in ("reward falling",):
            assert names(make_log(range(12), bad_N)) == set()


def test_rare_rows_that_only_scatter_raise_nothing() -> None:
    rng = np.random.default_rng(6)
    raised = 0
    for _ in range(60):
        columns = {
            "reward_mean": rng.binomial(64, np.full(14, 0.5)) / 64,
            "entropy_mean": 0.4 * np.exp(rng.normal(0, 0.1, 14)),
            "tokens_mean": 900 * np.exp(rng.normal(0, 0.1, 14)),
            "truncated_share": rng.binomial(64, np.full(14, 0.1)) / 64,
            "kl_mean": 0.02 * np.exp(rng.normal(0, 0.3, 14)),
        }
        raised += bool(names(make_log(range(0, 140, 10), columns)))
    assert raised <= 1


def test_what_is_too_few_is_said_in_records() -> None:
    few = diagnose(make_log(range(10, 60, 10), {"tokens_mean": np.full(5, 9.0)}))
    assert "5 records (steps 10 to 50) are too few for stages (8) and alarms (8)." in few.unknown
    enough = diagnose(make_log(range(10, 130, 10), {"tokens_mean": np.full(12, 9.0)}))
    assert not any("too few" in said for said in enough.unknown)


# Slow growth ---------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [12, 200, 1_600])
def test_kl_that_climbs_to_many_times_its_start_for_nothing_is_named(steps: int) -> None:
    rng = np.random.default_rng(7)
    kl_N = np.geomspace(0.005, 0.8, steps) * np.exp(rng.normal(0, 0.1, steps))
    at = range(0, steps * 10, 10) if steps < 30 else range(steps)
    (alarm,) = first_alarms(make_log(at, {"kl_mean": kl_N}))
    assert alarm.name == "kl growth"
    assert "would show what it is for" in alarm.evidence


def test_kl_that_grows_for_what_is_learned_is_named_only_when_it_is_far() -> None:
    rng = np.random.default_rng(8)
    t_N = np.arange(300) / 300
    gained = {"accuracy": rng.binomial(512, 0.4 + 0.3 * t_N) / 512}
    kl_N = (0.001 + 0.4 * t_N) * np.exp(rng.normal(0, 0.15, 300))
    assert names(make_log(range(300), {"kl_mean": kl_N, **gained})) == set()
    assert names(make_log(range(300), {"kl_mean": 5 * kl_N, **gained})) == {"kl growth"}
    # Of a line to a tenth of a nat every run has as much.
    assert names(make_log(range(300), {"kl_mean": kl_N / 4})) == set()


def test_a_mismatch_that_climbs_to_ten_times_its_start_is_named() -> None:
    rng = np.random.default_rng(9)
    gap_N = np.geomspace(0.001, 0.03, 200) * np.exp(rng.normal(0, 0.2, 200))
    assert names(make_log(range(200), {"sampler_mismatch": gap_N})) == {"sampler mismatch"}
    steady_N = 0.02 * np.exp(rng.normal(0, 0.3, 200))
    assert names(make_log(range(200), {"sampler_mismatch": steady_N})) == set()


# NaN that is written -------------------------------------------------------------------------


def written(folder: Path, kind: str, *, steps: int = 60, **bad: object) -> StepLog:
    """A log in which the value of a column at step 30 is what is given; None leaves it out."""
    rows = [{"step": step, "loss": 0.1, "kl": 0.02, "reward": 0.5} for step in range(steps)]
    for step, row in enumerate(rows):
        row["reward"] = 0.4 + 0.3 * step / steps
    for name, value in bad.items():
        rows[30][name] = value
    file = folder / f"log.{kind}"
    if kind == "json":
        file.write_text(json.dumps({"log_history": rows}))
    else:
        lines = (",".join("" if v is None else str(v) for v in row.values()) for row in rows)
        file.write_text("\n".join(["step,loss,kl,reward", *lines]) + "\n")
    return read_steps(file, columns={})


@pytest.mark.parametrize("kind", ["json", "csv"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "NaN", "-inf"])
def test_a_loss_that_is_written_as_nan_once_is_a_warning(
    kind: str, value: object, tmp_path: Path
) -> None:
    (alarm,) = first_alarms(written(tmp_path, kind, loss=value))
    assert (alarm.name, alarm.step, alarm.severity.value) == ("loss not finite", 30, "warning")
    assert "at step 30" in alarm.evidence


@pytest.mark.parametrize("kind", ["json", "csv"])
@pytest.mark.parametrize("value", [None, "", "None", "n/a", "-"])
def test_a_loss_that_is_not_there_is_a_note(kind: str, value: object, tmp_path: Path) -> None:
    log = written(tmp_path, kind, loss=value)
    assert first_alarms(log) == []
    assert "No finite value, alone: loss at step 30." in diagnose(log).unknown


def test_another_column_that_is_nan_once_is_a_note_with_its_step(tmp_path: Path) -> None:
    log = written(tmp_path, "json", kl=float("nan"))
    assert first_alarms(log) == []
    assert "Written as NaN or infinite: kl_mean at step 30." in diagnose(log).unknown


# A solved run --------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [{"accuracy": 0.99}, {"reward_mean": 0.98}, {"accuracy": 1.0}])
def test_a_run_that_is_solved_is_a_note_and_no_alarm(right: dict[str, float]) -> None:
    columns = {**right, "zero_signal_share": 0.97, "grad_norm": 0.0}
    log = make_log(range(60), {name: np.full(60, value) for name, value in columns.items()})
    found = diagnose(log)
    assert found.alarms == []
    assert any("Hardly anything is left to learn" in said for said in found.unknown)
    wrong = {**dict.fromkeys(right, 0.3), "zero_signal_share": 0.97}
    log = make_log(range(60), {name: np.full(60, value) for name, value in wrong.items()})
    assert {alarm.name for alarm in diagnose(log).alarms} == {"nothing learned"}


# What cannot be ------------------------------------------------------------------------------


def test_a_reward_on_the_slot_of_accuracy_is_told_where_it_belongs(tmp_path: Path) -> None:
    rows = "".join(f"{step},{-0.5 + step / 20}\n" for step in range(40))
    (file := tmp_path / "a.csv").write_text("step,critic/rewards/mean\n" + rows)
    with pytest.raises(DataError, match="say --column reward_mean=critic/rewards/mean instead"):
        read_steps(file, columns={"accuracy": "critic/rewards/mean"})
    done = CliRunner().invoke(
        app, ["diagnose", str(file), "--column", "accuracy=critic/rewards/mean"]
    )
    assert done.exit_code == 2


@pytest.mark.parametrize("tokens", [1e13, 1e99])
def test_a_length_that_no_rollout_has_is_refused(tokens: float, tmp_path: Path) -> None:
    rows = "".join(f"{step},{tokens!r}\n" for step in range(40))
    (file := tmp_path / "a.csv").write_text("step,tokens_mean\n" + rows)
    with pytest.raises(DataError, match="number of tokens, from 0 to 1,000,000,000,000"):
        read_steps(file, columns={})
    # As good as infinite, which is no value.
    file.write_text("step,tokens_mean\n" + "".join(f"{step},1e300\n" for step in range(40)))
    said = diagnose(read_steps(file, columns={})).unknown
    assert any("Without a finite value at any step: tokens_mean" in each for each in said)


@pytest.mark.parametrize("name", ["reward_mean", "kl_mean", "grad_norm", "loss", "entropy_mean"])
def test_values_of_any_size_raise_no_warning_of_numpy(name: str) -> None:
    rng = np.random.default_rng(10)
    for size in (1e-300, 1e99, 1e150, 1.7e308):
        diagnose(make_log(range(80), {name: size * rng.uniform(0.1, 1, 80)}))


# Slow growth that stays ----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [150, 300, 600])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_kl_that_grows_ever_faster_for_nothing_is_a_warning(steps: int, noise: float) -> None:
    noise_N = np.random.default_rng(steps).normal(0, noise, steps)
    kl_N = 0.01 * np.exp(4 * np.arange(steps) / steps + noise_N)
    columns = {"accuracy": np.full(steps, 0.5), "tokens_mean": 4000.0 + np.arange(steps) % 3}
    found = names(make_log(range(1, steps + 1), {**columns, "kl_mean": kl_N}))
    assert found == {"kl growth"}


@pytest.mark.parametrize(("times", "said"), [(400, True), (60, True), (10, False)])
def test_a_gradient_that_climbs_far_step_after_step_is_an_explosion(times: int, said: bool) -> None:
    noise_N = np.random.default_rng(times).normal(0, 0.1, 300)
    norm_N = 0.3 * np.exp(np.log(times) * ramp(300, 90, 100) + noise_N)
    assert names(make_log(range(300), {"grad_norm": norm_N})) == (
        {"gradient explosion"} if said else set()
    )


def test_cut_rollouts_that_rise_by_five_points_in_small_batches_raise_nothing() -> None:
    raised = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        chance_NP = rng.beta(*[2 * m for m in _beta(0.02 + 0.05 * ramp(300, 0, 300))], (300, 8))
        cut_N = rng.binomial(4, chance_NP).mean(axis=1) / 4
        raised += "truncation rising" in names(make_log(range(300), {"truncated_share": cut_N}))
    assert raised == 0


def _beta(mean_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return mean_N[:, None], 1 - mean_N[:, None]
