"""Alarms while a run goes on: each is reported once, when it is first raised, and recorded."""

from collections.abc import Callable
from pathlib import Path

from tersely.core import jsonl
from tersely.core.errors import EngineError
from tersely.core.types import AlarmRecord, StepRecord
from tersely.dynamics.alarms import Severity, name_in_words, standing_alarms
from tersely.dynamics.log import log_records
from tersely.flows.observer import Observer

ALARMS_FILE = "alarms.jsonl"


class AlarmMonitor:
    """The steps of a run so far, and which alarms have been raised.

    Args:
        staleness: S of the recipe.
        stop: whether an alarm that the run is being lost ends it.
        latest: the newest checkpoint, which is named when it does.
    """

    def __init__(
        self,
        folder: Path,
        *,
        staleness: int,
        stop: bool,
        observer: Observer,
        latest: Callable[[], Path | None],
    ) -> None:
        self._folder, self._stop, self._observer = folder, stop, observer
        self._latest = latest
        self._staleness = float(staleness)
        steps, alarms = folder / "steps.jsonl", folder / ALARMS_FILE
        self._records = jsonl.read(steps, StepRecord) if steps.is_file() else []
        known = jsonl.read(alarms, AlarmRecord) if alarms.is_file() else []
        self._raised = {name_in_words(alarm.name) for alarm in known}

    def after(self, record: StepRecord) -> None:
        """Checks the log up to this step; reports and records new alarms.

        Raises:
            EngineError: a new alarm of severity error, where these stop the run.
        """
        self._records.append(record)
        log = log_records(self._records, staleness=self._staleness)
        new = [alarm for alarm in standing_alarms(log) if alarm.name not in self._raised]
        for alarm in new:
            self._raised.add(alarm.name)
            jsonl.append(self._folder / ALARMS_FILE, AlarmRecord(**alarm._asdict()))
            self._observer.on_alarm(alarm)
        worst = [alarm for alarm in new if alarm.severity is Severity.ERROR]
        if worst and self._stop:
            raise EngineError(
                f"step {record.step + 1} stopped by on_alarm = stop: {worst[0].name}, "
                f"{worst[0].evidence}; the last checkpoint is "
                f"{self._latest() or 'not written yet'}. "
                f"{worst[0].advice[0].upper()}{worst[0].advice[1:]}, and start a new run "
                "in another --out"
            )
