"""Writes tests/readers/fixtures/logs: one made run, through each tracker's own client.

    pip install '.[track]' && python tests/readers/make_fixtures/for_trackers.py

Each holds two runs, long and short, of four steps with TRL's names; short has an evaluation at
step 4. Written by wandb 0.31, tensorboard 2.21, trackio 0.43 and mlflow-skinny 3.17.
"""

import math
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parents[1] / "fixtures" / "logs"
RUNS = {"long": 100.0, "short": 50.0}


def rows(start):
    for step in range(1, 5):
        row = {
            "train/completions/mean_length": start - step,
            "train/reward": 0.5,
            "train/entropy": math.nan if step == 2 else 0.25,
            "train/rewards/accuracy_reward/mean": 0.25 * step,
        }
        yield step, row | ({"eval/rewards/accuracy_reward/mean": 0.75} if step == 4 else {})


def for_wandb(folder):
    import wandb

    for name, start in RUNS.items():
        run = wandb.init(
            project="p", name=name, id=name, mode="offline", dir=str(folder),
            settings=wandb.Settings(console="off", x_disable_stats=True, disable_git=True,
                                    host="host", x_disable_meta=True, save_code=False),
        )  # fmt: skip
        for step, row in rows(start):
            run.log({**row, "train/global_step": step})
        run.finish()


def for_tensorboard(folder):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for name, start in RUNS.items():
        writer = EventFileWriter(str(folder / name))
        for step, row in rows(start):
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
            writer.add_event(Event(step=step, wall_time=0.0, summary=Summary(value=values)))
        writer.close()
    writer = EventFileWriter(str(folder.parent / "tensorboard-empty"))
    writer.close()


def for_trackio(folder):
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio

    for name, start in RUNS.items():
        trackio.init(project="p", name=name)
        for step, row in rows(start):
            trackio.log(row, step=step)
        trackio.finish()


def for_mlflow(folder):
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow

    for uri in (folder.as_uri() + "/mlruns", f"sqlite:///{folder}/mlflow.db"):
        mlflow.set_tracking_uri(uri)
        log_to_mlflow(mlflow)


def log_to_mlflow(mlflow):
    for name, start in RUNS.items():
        with mlflow.start_run(run_name=name):
            for step, row in rows(start):
                mlflow.log_metrics(row, step=step)


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as made:
        made = Path(made)
        for write in (for_wandb, for_tensorboard, for_trackio, for_mlflow):
            folder = made / write.__name__.removeprefix("for_")
            folder.mkdir()
            write(folder)
        keep = [*made.rglob("*.wandb"), *made.rglob("*tfevents*"), *made.rglob("p.db")]
        keep += [*made.rglob("mlflow.db"), *made.glob("mlflow/mlruns/0/*/meta.yaml")]
        keep += made.glob("mlflow/mlruns/0/*/tags/mlflow.runName")
        keep += made.glob("mlflow/mlruns/0/*/metrics/**/*")
        for file in keep:
            if file.is_file() and not file.is_symlink():
                there = HERE / file.relative_to(made)
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, there)
    shorten(HERE / "mlflow" / "mlflow.db")


def shorten(file):
    """Leaves a database the tables of its metrics, without the paths of this machine."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("pragma foreign_keys = off")
        database.execute("update runs set source_name = '', artifact_uri = '', user_id = ''")
        tables = list(database.execute("select name from sqlite_master where type = 'table'"))
        for (name,) in tables:
            if name not in ("metrics", "runs", "latest_metrics"):
                database.execute(f'drop table "{name}"')
        database.commit()
        database.execute("vacuum")


if __name__ == "__main__":
    main()
