"""From a step log of whoever trained to sentences, and alarms while a run goes on."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError, EngineError
from tersely.core.types import AlarmRecord, StepRecord
from tersely.dynamics import alarms
from tersely.dynamics.log import make_log
from tersely.flows.diagnose import diagnose
from tersely.flows.observer import QUIET, Quiet
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.train.loop import train
from tersely.flows.train.monitor import AlarmMonitor
from tersely.flows.trl.launch import follow
from tersely.readers.logs.trl import NAMES as TRL_NAMES
from tersely.readers.steplogs import Writer, in_our_words, read_steps

TINY = Path(__file__).parent / "tiny.toml"
DECAY_N = 20 + 80 * np.exp(-np.arange(120) / 15)


def say(*words: object):
    return CliRunner().invoke(app, ["diagnose", *map(str, words)])


def test_a_decay_is_said_with_its_end_and_interval() -> None:
    rng = np.random.default_rng(0)
    found = diagnose(
        make_log(
            range(120),
            {
                "tokens_mean": DECAY_N * (1 + rng.normal(0, 0.03, 120)),
                "accuracy": np.full(120, 0.7),
            },
        )
    )
    # 3 tau = 45 steps, to the 5% that remain
    assert found.stages.stage_end_step == pytest.approx(45, rel=0.1)
    assert found.stages.end_low < 45 < found.stages.end_high
    assert found.stage.startswith("Reasoning refinement: length falls from 10")
    assert found.alarms == []
    assert any("Not in the log: solved_share, entropy_mean" in text for text in found.unknown)


def test_under_way_steady_and_short_logs_say_so() -> None:
    assert diagnose(make_log(range(20), {"tokens_mean": DECAY_N[:20]})).stage.startswith(
        "Length adaptation:"
    )
    steady = diagnose(make_log(range(60), {"tokens_mean": np.full(60, 30.0)}))
    assert steady.stage.startswith("No length adaptation is seen")
    three = diagnose(make_log(range(3), {"tokens_mean": [3, 2, 1]}))
    assert three.stage == "The stage is not known."
    assert "3 records (steps 0 to 2) are too few for stages (8) and alarms (30)." in three.unknown
    nothing = diagnose(make_log(range(40), {"tokens_mean": np.full(40, np.nan)}))
    assert nothing.stage == "The stage is not known."


def test_one_length_alone_makes_no_line() -> None:
    tokens_N = np.full(40, np.nan)
    tokens_N[3] = 100
    found = diagnose(make_log(range(40), {"tokens_mean": tokens_N, "accuracy": np.full(40, 0.5)}))
    assert found.stage.startswith("No length adaptation is seen: length has not fallen")


def test_a_length_that_falls_along_a_line_is_said_to_fall() -> None:
    noise_N = np.random.default_rng(0).normal(1, 0.03, 200)
    fell = diagnose(make_log(range(200), {"tokens_mean": np.linspace(4400, 1000, 200) * noise_N}))
    assert fell.stage.startswith("No end of length adaptation is seen: length falls from 4,4")
    assert "without levelling off" in fell.stage
    rose = diagnose(make_log(range(200), {"tokens_mean": np.linspace(1000, 4400, 200) * noise_N}))
    assert rose.stage.startswith("No length adaptation is seen: length moves along a line")


def test_no_alarm_says_how_many_rules_could_look() -> None:
    loop_N = np.random.default_rng(0).normal(0.05, 0.001, 40)
    looping, blank = (make_log(range(40), {name: loop_N}) for name in ("looping_share", "none"))
    count = len(alarms.rules())
    found, nothing = diagnose(looping), diagnose(blank)
    assert found.looked == nothing.looked + 1
    assert f"No alarm; {found.looked} of {count} rules could look." in repr(found)
    few = diagnose(looping.until(5))
    assert few.looked < found.looked


def test_a_lost_run_is_not_called_refinement() -> None:
    accuracy_N = np.linspace(0.8, 0.1, 120)
    found = diagnose(make_log(range(120), {"tokens_mean": DECAY_N, "accuracy": accuracy_N}))
    assert found.stage.startswith("Length has adapted, and no refinement follows")
    # Accuracy is seen to fall before length has fallen far enough for a collapse.
    assert [a.name for a in found.alarms][:2] == ["accuracy falling", "reasoning collapse"]


def test_restarts_that_repeat_steps_count_once() -> None:
    steps = [*range(40), *range(30, 60)]
    tokens = [float(100 - s) for s in steps]
    log = make_log(steps, {"tokens_mean": tokens})
    assert log.step_N.tolist() == list(range(60))
    assert any("10 records were superseded" in text for text in diagnose(log).unknown)


def test_trls_log_history_is_read(tmp_path: Path) -> None:
    history = [
        {"step": s, "completions/mean_length": 100 - s, "entropy": 0.5, "reward": 0.3, "loss": 0.0}
        for s in range(1, 41)
    ]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    log = read_steps(tmp_path, writer=Writer.TRL, columns={})
    assert log.columns["tokens_mean"][0] == 99
    assert set(log.columns) == {"tokens_mean", "entropy_mean", "reward_mean", "loss"}


@pytest.mark.parametrize("name", ["clip_ratio/region_mean", "cispo_clip_ratio"])
def test_trls_share_of_clipped_tokens_is_read_under_either_name(name: str, tmp_path: Path) -> None:
    history = [{"step": s, "loss": 0.0, name: 0.01 * s} for s in range(1, 4)]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    log = read_steps(tmp_path, writer=Writer.TRL, columns={})
    assert log.columns["clip_share"].tolist() == pytest.approx([0.01, 0.02, 0.03])


def test_trls_evaluations_and_summary_take_no_steps_place(tmp_path: Path) -> None:
    history: list[dict[str, float]] = [
        {"step": s, "completions/mean_length": 100 - s} for s in range(1, 41)
    ]
    history.insert(20, {"step": 20, "eval_loss": 1.0})
    history.append({"step": 40, "train_runtime": 100.0})
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    log = read_steps(tmp_path, writer=Writer.TRL, columns={})
    assert log.repeated_steps == 0
    assert log.columns["tokens_mean"].tolist() == [100.0 - s for s in range(1, 41)]


def test_another_tools_log_without_from_is_told_of_from(tmp_path: Path) -> None:
    (tmp_path / "trainer_state.json").write_text('{"log_history": []}')
    done = say(tmp_path / "trainer_state.json")
    assert done.exit_code == 2
    assert "--from trl" in done.stderr
    assert "repair_torn_tail" not in done.stderr


def test_a_csv_without_the_named_columns_shows_those_it_has(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("It,length\n1,20\n2,30\n")
    with pytest.raises(DataError, match=r"it has It, length;.*--column step=It$"):
        read_steps(file, writer=Writer.CSV, columns={"tokens_mean": "length"})


def test_what_a_trainer_did_not_log_is_left_out() -> None:
    assert in_our_words({"kl": 0.5, "entropy": None, "x": 1}, TRL_NAMES) == {"kl_mean": 0.5}


def test_verls_file_and_console_are_read_alike(tmp_path: Path) -> None:
    rows = [{"response_length/mean": 100.5 - s, "actor/entropy": 0.5} for s in range(1, 11)]
    file, console = tmp_path / "metrics.jsonl", tmp_path / "console.log"
    file.write_text(
        "".join(json.dumps({"step": s, "data": r}) + "\n" for s, r in enumerate(rows, 1))
    )
    console.write_text(
        "noise\n"
        + "".join(
            f"(TaskRunner pid=1) step:{s} - "
            + " - ".join(f"{k}:np.float64({v})" for k, v in r.items())
            + "\n"
            for s, r in enumerate(rows, 1)
        )
    )
    logs = [read_steps(f, writer=Writer.VERL, columns={}) for f in (file, console)]
    assert [log.step_N.tolist() for log in logs] == [list(range(1, 11))] * 2
    for log in logs:
        assert log.columns["tokens_mean"].tolist() == [100.5 - s for s in range(1, 11)]


def test_verls_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    line = '{"step": 1, "data": {"response_length/mean": 9.0}}\n'
    (tmp_path / "x.jsonl").write_text(line + line[:20])
    log = read_steps(tmp_path / "x.jsonl", writer=Writer.VERL, columns={})
    assert log.columns["tokens_mean"].tolist() == [9.0]


def test_a_csv_is_read_by_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("it,len\n" + "".join(f"{s},{100 - s}\n" for s in range(10)))
    columns = {"step": "it", "tokens_mean": "len"}
    log = read_steps(file, writer=Writer.CSV, columns=columns)
    assert log.columns["tokens_mean"].tolist() == [100.0 - s for s in range(10)]
    with pytest.raises(DataError, match="it has it, len;"):
        read_steps(file, writer=Writer.CSV, columns={"tokens_mean": "length"})
    with pytest.raises(ConfigError, match=r"there is no column 'length' of a step log"):
        read_steps(file, writer=Writer.CSV, columns={"length": "len"})
    done = say(
        file, "--from", "csv", "--column", "step=it", "--column", "tokens_mean=len", "--json"
    )
    assert json.loads(done.stdout)["steps"] == 10


def test_bad_input_is_refused(tmp_path: Path) -> None:
    for words, message in [
        ((tmp_path / "none",), "no step log at"),
        ((tmp_path, "--from", "walnut"), "choose one of tersely, trl, verl"),
        ((tmp_path, "--column", "x"), "is not OURS=THEIRS"),
    ]:
        done = say(*words)
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.split())


class Alarms(Quiet):
    """Keeps the alarms that it is told of."""

    def __init__(self):
        super().__init__()
        self.alarms = []

    def on_alarm(self, alarm):
        self.alarms.append(alarm)


def alarmed(log):
    if log.step_N[-1] < 3:
        return None
    return f"step {log.step_N[-1]:.0f}"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that raises an alarm from step 3 on, in runs of a few steps."""
    rule = alarms.Rule("made", alarmed, (), alarms.Severity.ERROR, "why", "change it")
    monkeypatch.setattr(alarms, "rules", lambda: (rule,))
    monkeypatch.setattr(alarms, "START", 1)
    monkeypatch.setattr(alarms, "RECENT", 1)


def run(folder: Path, *overrides: str, observer=QUIET):
    torch.set_num_threads(1)
    recipe = read_recipe(TINY, overrides=overrides)
    return train(recipe, folder, resume=False, observer=observer)


def test_an_alarm_of_a_run_is_told_and_written_once(always: None, tmp_path: Path) -> None:
    told = Alarms()
    assert run(tmp_path / "run", observer=told).finished
    assert [(alarm.name, alarm.step) for alarm in told.alarms] == [("made", 3)]
    (kept,) = jsonl.read(tmp_path / "run" / "alarms.jsonl", AlarmRecord)
    assert (kept.step, kept.name, kept.severity) == (3, "made", "error")


def test_an_alarm_that_an_older_version_named_otherwise_is_not_raised_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = alarms.Rule("kl spike", alarmed, (), alarms.Severity.WARNING, "why", "change it")
    folder = tmp_path / "run"
    assert run(folder).finished
    monkeypatch.setattr(alarms, "rules", lambda: (rule,))
    monkeypatch.setattr(alarms, "START", 1)
    monkeypatch.setattr(alarms, "RECENT", 1)
    last = jsonl.read(folder / "steps.jsonl", StepRecord)[-1]
    for written, told_times in (("KL spike", 0), ("length rebound", 1)):
        told = Alarms()
        old = AlarmRecord(
            step=1, name=written, severity="warning", evidence="", reason="", advice=""
        )
        jsonl.write(folder / "alarms.jsonl", [old])
        monitor = AlarmMonitor(folder, staleness=1, stop=False, observer=told, latest=lambda: None)
        monitor.after(replace(last, step=last.step + 1))
        assert len(told.alarms) == told_times


def test_an_alarm_stops_a_run_where_the_recipe_says_so(always: None, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"step 4 stopped by on_alarm = stop: made.*step-000002"):
        run(tmp_path / "run", "on_alarm=stop")


# An engine's processes, which write a record whenever the last was looked at.
ENGINE = """
import pathlib, sys, time
folder, lines = pathlib.Path(sys.argv[1]), {name: pathlib.Path(sys.argv[2], name).read_bytes()
    .splitlines(keepends=True) for name in ("timings.jsonl", "steps.jsonl")}
for step in range(5):
    for name in lines:
        with (folder / name).open("ab") as file:
            file.write(lines[name][step])
    time.sleep(0.7)
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five steps."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    assert run(folder).finished
    return folder


@pytest.mark.parametrize("stop", [False, True])
def test_an_engine_of_other_processes_is_looked_at_while_it_writes(
    always: None, recorded: Path, tmp_path: Path, stop: bool
) -> None:
    told = Alarms()
    monitor = AlarmMonitor(
        tmp_path,
        staleness=1,
        stop=stop,
        observer=told,
        latest=lambda: Path("checkpoint-2"),
    )
    with subprocess.Popen([sys.executable, "-c", ENGINE, tmp_path, recorded]) as process:
        settings = {"observer": told, "steps": 5, "monitor": monitor}
        if stop:
            with pytest.raises(EngineError, match=r"step 4 stopped .* is checkpoint-2\. Change it"):
                follow(process, tmp_path, **settings)
            assert process.poll() is None
            process.terminate()
        else:
            assert follow(process, tmp_path, **settings) == 0
    assert [(alarm.name, alarm.step) for alarm in told.alarms] == [("made", 3)]
    (kept,) = jsonl.read(tmp_path / "alarms.jsonl", AlarmRecord)
    assert (kept.name, kept.step) == ("made", 3)


def test_a_healthy_run_has_no_alarm_file(tmp_path: Path) -> None:
    assert run(tmp_path / "run").finished
    assert not (tmp_path / "run" / "alarms.jsonl").exists()
