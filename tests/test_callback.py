"""The callback for training scripts of others: alarms as they rise, and a log that we read."""

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

import tersely.callback
from tersely.callback import AlarmWatch, alarm_callback
from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.types import AlarmRecord
from tersely.dynamics import alarms
from tersely.readers.steplogs import read_steps


@pytest.fixture
def always(monkeypatch):
    """A rule that raises an alarm from step 7 on."""

    def look(log):
        return f"step {log.step_N[-1]:.0f}" if log.step_N[-1] >= 7 else None

    rule = alarms.Rule("made", look, (), alarms.Severity.ERROR, "why", "change it", 1)
    monkeypatch.setattr(alarms, "rules", lambda: (rule,))


def history(count):
    return [
        {"step": s, "reward": 0.5, "completions/mean_length": 100.0 - s, "entropy": float("nan")}
        for s in range(1, count + 1)
    ]


def test_an_alarm_is_told_once_and_the_log_is_one_that_diagnose_reads(always, tmp_path):
    watch = AlarmWatch(tmp_path / "new", columns={}, staleness=4.0)
    watch.begin([])
    told = [alarm.step for n in range(1, 21) for alarm in watch.after(history(n))]
    assert told == [10]  # every fifth row is looked at, and 7 is not
    (kept,) = jsonl.read(tmp_path / "new" / "alarms.jsonl", AlarmRecord)
    assert (kept.step, kept.name) == (10, "made")
    log = read_steps(tmp_path / "new", columns={})
    assert log.columns["tokens_mean"].tolist() == [100.0 - s for s in range(1, 21)]
    assert np.isnan(log.columns["entropy_mean"]).all()


def test_what_was_told_before_a_restart_is_not_told_again(always):
    watch = AlarmWatch(None, columns={}, staleness=float("nan"))
    watch.begin(history(12))
    assert watch.look(history(20)) == []


def test_a_folder_that_cannot_be_written_is_said_once_and_costs_no_alarm(always, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    watch = AlarmWatch(tmp_path / "file" / "runs", columns={}, staleness=float("nan"))
    watch.begin([])
    told = [alarm.step for n in range(1, 21) for alarm in watch.after(history(n))]
    assert told == [10]
    assert capsys.readouterr().err.count("nothing more is kept in") == 1


def test_a_column_that_is_not_ours_is_refused_before_the_training():
    with pytest.raises(ConfigError, match="no column 'lengths'"):
        alarm_callback(columns={"lengths": "x"})


class Line(torch.nn.Module):
    """One weight, as small as a Trainer's model may be."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        return {"loss": (self.weight * x).square().mean()}


def train(folder, callback):
    torch.set_num_threads(1)
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=10, logging_steps=1, save_strategy="no",
        report_to=[], use_cpu=True, disable_tqdm=True, per_device_train_batch_size=1,
    )  # fmt: skip
    rows = [{"x": torch.tensor(1.0)} for _ in range(10)]
    Trainer(Line(), arguments, train_dataset=rows, callbacks=[callback]).train()


@pytest.mark.filterwarnings("default")
def test_a_plain_trainer_of_transformers_is_watched(always, tmp_path, capsys):
    train(tmp_path / "out", alarm_callback(tmp_path / "kept"))
    assert capsys.readouterr().err.count("tersely: error: made at step 10: step 10.") == 1
    log = read_steps(tmp_path / "kept", columns={})
    assert log.step_N.tolist() == list(range(1, 11))
    assert {"loss", "grad_norm", "learning_rate"} <= set(log.columns)


@pytest.mark.filterwarnings("default")
def test_a_fault_of_the_callback_is_said_once_and_ends_no_training(tmp_path, capsys, monkeypatch):
    def fail(log):
        raise RuntimeError("made to fail")

    monkeypatch.setattr(tersely.callback, "standing_alarms", fail)
    train(tmp_path / "out", alarm_callback(tmp_path / "kept"))
    said = capsys.readouterr().err
    assert said.count("no more alarms in this training: RuntimeError: made to fail") == 1
    written = (tmp_path / "kept" / "steps.jsonl").read_text().splitlines()
    assert len(written) == 5
