"""Weights & Biases, through ``wandb``: https://docs.wandb.ai. ``WANDB_MODE``, ``WANDB_DIR``,
``WANDB_ENTITY`` and the rest of its variables hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tersely.core.types import AlarmRecord
from tersely.dynamics.alarms import Severity
from tersely.trackers import Ending, TrackedRun, Tracker, say


class _WandbRun:
    def __init__(self, run: Any, key: str) -> None:
        self._run, self._key = run, key
        # Offline, it cannot know; what was sent before lies in another offline folder.
        self.continued = bool(run.resumed) or bool(run.offline)

    def log(self, figures: Mapping[str, float], *, step: int, row: int) -> None:
        # Its own step only rises; an evaluation and the step after it share ours.
        self._run.log({"step": step, **figures}, step=row)

    def alert(self, alarm: AlarmRecord) -> None:
        level = "ERROR" if alarm.severity == Severity.ERROR else "WARN"
        self._run.alert(title=alarm.name, text=say(alarm), level=level)

    def attach(self, page: Path) -> None:
        import wandb

        artifact = wandb.Artifact(name=f"report-{self._key}", type="report")
        artifact.add_file(str(page))
        self._run.log_artifact(artifact)

    def end(self, ending: Ending) -> None:
        self._run.finish(exit_code=0 if ending is Ending.FINISHED else 1)


def wandb(run: TrackedRun) -> Tracker:
    """A run of W&B with ``step`` as the axis of all charts; alarms are its alerts, and the report
    is an artifact."""
    import wandb

    begun = wandb.init(
        project=run.project,
        name=run.name,
        id=run.key,
        resume="allow",
        config=dict(run.settings),
        settings=wandb.Settings(console="off", silent=True),
    )
    begun.define_metric("*", step_metric="step")
    return _WandbRun(begun, run.key)
