"""trackio, through its own package: https://huggingface.co/docs/trackio. ``TRACKIO_DIR`` says
where its database lies; ``TRACKIO_SPACE_ID`` and ``TRACKIO_SERVER_URL`` send it elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tersely.core.types import AlarmRecord
from tersely.dynamics.alarms import Severity
from tersely.trackers import Ending, TrackedRun, Tracker, say


class _TrackioRun:
    def __init__(self, run: Any, key: str, *, continued: bool) -> None:
        self._run, self._key, self.continued = run, key, continued

    def log(self, figures: Mapping[str, float], *, step: int, row: int) -> None:
        self._run.log(dict(figures), step=step)

    def alert(self, alarm: AlarmRecord) -> None:
        from trackio import AlertLevel

        level = AlertLevel.ERROR if alarm.severity == Severity.ERROR else AlertLevel.WARN
        self._run.alert(title=alarm.name, text=say(alarm), level=level, step=alarm.step)

    def attach(self, page: Path) -> None:
        self._run.log_artifact(str(page), name=f"report-{self._key}", type="report")

    def end(self, ending: Ending) -> None:
        self._run.finish()


def trackio(run: TrackedRun) -> Tracker:
    """A run of trackio, which finds runs by their name: so the key is part of it.

    It does not say whether it knew a run, but refuses one that must be there and is not. One on a
    server that does not answer counts as unknown.
    """
    try:
        return _TrackioRun(_begin(run, resume="must"), run.key, continued=True)
    except ValueError:
        return _TrackioRun(_begin(run, resume="allow"), run.key, continued=False)


def _begin(run: TrackedRun, *, resume: str) -> Any:
    import trackio

    return trackio.init(
        project=run.project,
        name=f"{run.name}-{run.key}",
        resume=resume,
        config=dict(run.settings),
    )
