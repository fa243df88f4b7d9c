"""Runs sent to each tracker's own client, offline, and read back: ``make test-track``."""

import json
import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import tersely
from tersely.dynamics.alarms import Alarm
from tersely.flows.observer import Quiet
from tersely.flows.tracking import Tracking

ALARM = Alarm(1, "length_collapse", "error", "", "", "")  # type: ignore[arg-type]
# Evaluations after 0 and 2 steps, three steps, of which the second is made twice, an alarm.
STEPS = [(0, 0.5), (1, 0.51), (2, 0.52)]
EVALUATIONS = [(0, 0.25), (2, 0.5)]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    # MLflow keeps artifacts where it is started.
    monkeypatch.chdir(tmp_path)
    return {
        **os.environ,
        "PYTHONPATH": str(Path(tersely.__file__).parents[1]),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "HF_HUB_OFFLINE": "1",
    }


def go(run: Any, environment: dict[str, str]) -> str:
    """A run that is stopped, goes on from its first checkpoint, and ends; its key."""
    try:
        with Tracking(run.folder, Quiet(), environment=environment) as observer:
            run.evaluate(0, right=2)
            observer.on_evaluation(0, [])
            run.step(0)
            run.step(1)
            observer.on_sampling("step", 1, 0)
            run.alarm(1)
            observer.on_alarm(ALARM)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        lines = (run.folder / "steps.jsonl").read_bytes().splitlines(keepends=True)
        (run.folder / "steps.jsonl").write_bytes(lines[0])
    with Tracking(run.folder, Quiet(), environment=environment) as observer:
        run.step(1)
        observer.on_sampling("step", 1, 0)
        run.evaluate(2, right=4)
        run.step(2)
        observer.on_evaluation(2, [])
        run.report()
    (note,) = (run.folder / "track").glob("*.json")
    return str(json.loads(note.read_text(encoding="utf-8"))["key"])


def records_of(file: Path) -> Iterator[bytes]:
    """The records of a W&B file, which has LevelDB's log format after a header of seven bytes:
    blocks of 32 KiB; checksum, length and kind (whole, first, middle, last) before each part."""
    data, place, parts = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def test_wandb(make_run, environment: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    key = go(make_run("track.to=['wandb']", "track.project='p'"), environment)
    files = sorted((tmp_path / "wandb").glob(f"offline-run-*-{key}/run-{key}.wandb"))
    assert len(files) == 2
    rows, alerts, artifacts, runs = [], [], [], []
    for file in files:
        for content in records_of(file):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            match record.WhichOneof("record_type"):
                case "history":
                    items = record.history.item
                    rows.append(
                        {
                            item.key or "/".join(item.nested_key): json.loads(item.value_json)
                            for item in items
                        }
                    )
                case "alert":
                    alerts.append((record.alert.title, record.alert.level))
                case "artifact":
                    artifacts += [each.path for each in record.artifact.manifest.contents]
                case "run":
                    runs.append((record.run.project, record.run.run_id, record.run.display_name))
    assert {*runs} == {("p", key, "run")}
    # Its own steps rise over both parts, so that a sync appends the second to the first.
    assert [row["_step"] for row in rows] == [0, 1, 2, 3, 4]
    assert [(row["step"], row["accuracy"]) for row in rows if "accuracy" in row] == STEPS
    name = "eval/accuracy_at_48"
    assert [(row["step"], row[name]) for row in rows if name in row] == EVALUATIONS
    assert alerts == [("length_collapse", "ERROR")]
    assert artifacts == ["report.html"]


def test_tensorboard(make_run, environment: dict[str, str]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run("track.to=['tensorboard']")
    go(run, environment)
    found = EventAccumulator(str(run.folder / "track" / "tensorboard")).Reload()
    accuracy = [(each.step, round(each.value, 6)) for each in found.Scalars("accuracy")]
    assert accuracy == STEPS
    evaluated = found.Scalars("eval/accuracy_at_48")
    assert [(each.step, each.value) for each in evaluated] == EVALUATIONS
    texts = {tag.removesuffix("/text_summary") for tag in found.Tags()["tensors"]}
    assert texts == {"settings", "alarm/length_collapse", "report"}
    assert len(found.Tensors("settings/text_summary")) == 1


def test_trackio(make_run, environment: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    key = go(make_run("track.to=['trackio']", "track.project='p'"), environment)
    database = sqlite3.connect(tmp_path / "trackio" / "p.db")
    rows = [
        (step, json.loads(metrics))
        for name, step, metrics in database.execute(
            "select run_name, step, metrics from metrics order by id"
        )
        if name == f"run-{key}"
    ]
    assert [(step, row["accuracy"]) for step, row in rows if "accuracy" in row] == STEPS
    name = "eval/accuracy_at_48"
    assert [(step, row[name]) for step, row in rows if name in row] == EVALUATIONS
    alerts = [*database.execute("select title, level, step from alerts")]
    assert alerts == [("length_collapse", "error", 1)]
    artifacts = [*database.execute("select name, type from artifacts")]
    assert artifacts == [(f"report-{key}", "report")]
    database.close()


def test_trackio_gets_all_rows_where_its_database_is_lost(
    make_run, environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("trackio")
    run = make_run("track.to=['trackio']", "track.project='p'")
    for step in (0, 1):
        run.step(step)
        with Tracking(run.folder, Quiet(), environment=environment) as observer:
            observer.on_sampling("step", step, 0)
        database = sqlite3.connect(tmp_path / "trackio" / "p.db")
        assert [*database.execute("select step from metrics")] == [(n,) for n in range(step + 1)]
        database.close()
        if step == 0:
            shutil.rmtree(tmp_path / "trackio")


def test_mlflow(make_run, environment: dict[str, str]) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    key = go(make_run("track.to=['mlflow']", "track.project='p'"), environment)
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    (run,) = client.search_runs([client.get_experiment_by_name("p").experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.tags["tersely.key"] == key
    assert run.data.tags["alarm.length_collapse"].startswith("error: step 2: length fell")
    assert run.data.params["sampling.cap_tokens"] == "48"
    for name, wanted in (("accuracy", STEPS), ("eval/accuracy_at_48", EVALUATIONS)):
        history = client.get_metric_history(run.info.run_id, name)
        assert [(each.step, each.value) for each in history] == wanted
    assert [each.path for each in client.list_artifacts(run.info.run_id)] == ["report.html"]


def test_runs_that_begin_together_share_a_new_database_of_mlflow(
    make_run, environment: dict[str, str]
) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    names = ("one", "two", "three")
    runs = [make_run("track.to=['mlflow']", name=name) for name in names]
    with ExitStack() as stack:
        for run in runs:
            run.evaluate(0, right=2)
            tracking = Tracking(run.folder, Quiet(), environment=environment)
            stack.enter_context(tracking).on_evaluation(0, [])
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    found = client.search_runs([client.get_experiment_by_name("tersely").experiment_id])
    assert {run.info.run_name for run in found} == set(names)
