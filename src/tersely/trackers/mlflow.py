"""MLflow, through its ``MlflowClient``. ``MLFLOW_TRACKING_URI`` and its other variables hold."""

from collections.abc import Mapping
from contextlib import suppress
from getpass import getuser
from pathlib import Path
from tempfile import gettempdir
from time import time
from typing import Any

from filelock import FileLock, Timeout

from tersely.core.types import AlarmRecord
from tersely.trackers import Ending, TrackedRun, Tracker, say

_KEY = "tersely.key"
_STATUS = {Ending.FINISHED: "FINISHED", Ending.FAILED: "FAILED", Ending.STOPPED: "KILLED"}
# What a server takes at once.
_MOST_PARAMS = 100
# For so long a run waits while another one on this machine begins.
_OTHERS_S = 60.0


class _MlflowRun:
    def __init__(self, client: Any, id_: str, *, continued: bool) -> None:
        self._client, self._id, self.continued = client, id_, continued

    def log(self, figures: Mapping[str, float], *, step: int, row: int) -> None:
        from mlflow.entities import Metric

        now_ms = int(time() * 1000)
        metrics = [Metric(name, value, now_ms, step) for name, value in figures.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def alert(self, alarm: AlarmRecord) -> None:
        self._client.set_tag(self._id, f"alarm.{alarm.name}", f"{alarm.severity}: {say(alarm)}")

    def attach(self, page: Path) -> None:
        self._client.log_artifact(self._id, str(page))

    def end(self, ending: Ending) -> None:
        self._client.set_terminated(self._id, status=_STATUS[ending])


def mlflow(run: TrackedRun) -> Tracker:
    """A run of the experiment that the project names; alarms are its tags."""
    from mlflow.entities import Param

    client, place = _experiment(run.project)
    found = client.search_runs([place], f"tags.`{_KEY}` = '{run.key}'", max_results=1)
    if found:
        id_ = found[0].info.run_id
        client.update_run(id_, status="RUNNING")
        return _MlflowRun(client, id_, continued=True)
    id_ = client.create_run(place, tags={_KEY: run.key}, run_name=run.name).info.run_id
    params = [Param(key, str(value)[:500]) for key, value in run.settings.items()]
    for first in range(0, len(params), _MOST_PARAMS):
        client.log_batch(id_, params=params[first : first + _MOST_PARAMS])
    return _MlflowRun(client, id_, continued=False)


def _experiment(project: str) -> tuple[Any, str]:
    """A client, and the experiment's id; one run at a time, as MLflow makes a new database without
    a lock of its own, and two at once leave it half made."""
    from mlflow import MlflowClient

    lock = FileLock(Path(gettempdir()) / f"tersely-mlflow-{getuser()}.lock")
    with suppress(Timeout, OSError):
        lock.acquire(timeout=_OTHERS_S)
    try:
        client = MlflowClient()
        found = client.get_experiment_by_name(project)
        return client, found.experiment_id if found else client.create_experiment(project)
    finally:
        lock.release()
