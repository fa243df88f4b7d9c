"""Alarms in a training script of your own: one callback for TRL's and transformers' trainers.

    from tersely.callback import alarm_callback
    trainer = GRPOTrainer(..., callbacks=[alarm_callback("runs/mine")])

It reads what the trainer logs, prints each alarm when it is first raised, and never ends a run.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tersely.core import jsonl
from tersely.core.errors import DataError, StorageError
from tersely.core.types import AlarmRecord
from tersely.dynamics.alarms import STRIDE, Alarm, first_alarms, standing_alarms
from tersely.dynamics.log import StepLog
from tersely.readers.arranging import arrange
from tersely.readers.logged import LoggedRun
from tersely.readers.lognames import check_columns

STEPS_FILE, ALARMS_FILE = "steps.jsonl", "alarms.jsonl"


class AlarmWatch:
    """What a trainer logged so far, and which alarms have been told.

    Args:
        folder: for ``steps.jsonl`` and ``alarms.jsonl``; None writes nothing.
        columns: our name to the trainer's, where the trainer's are not known.
        staleness: updates a batch of rollouts (S); NaN if not known.
    """

    def __init__(
        self, folder: Path | None, *, columns: Mapping[str, str], staleness: float
    ) -> None:
        self._folder, self._columns, self._staleness = folder, columns, staleness
        self._told: set[str] = set()

    def begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Takes the alarms of what was logged before a restart as told."""
        self._keep(lambda folder: folder.mkdir(parents=True, exist_ok=True))
        if (log := self._log(history)) is not None:
            self._told |= {alarm.name for alarm in first_alarms(log)}

    def after(self, history: Sequence[Mapping[str, Any]]) -> list[Alarm]:
        """Writes down the last row; every few rows, gives the alarms that are new."""
        row = {name: _plain(value) for name, value in history[-1].items()}
        self._keep(lambda folder: _append(folder / STEPS_FILE, row))
        return [] if len(history) % STRIDE else self.look(history)

    def look(self, history: Sequence[Mapping[str, Any]]) -> list[Alarm]:
        """The alarms that are new, which are written down as well."""
        if (log := self._log(history)) is None:
            return []
        new = [alarm for alarm in standing_alarms(log) if alarm.name not in self._told]
        self._told |= {alarm.name for alarm in new}
        self._keep(lambda folder: _append_alarms(folder / ALARMS_FILE, new))
        return new

    def _keep(self, write: Callable[[Path], None]) -> None:
        """Writes to the folder; one that cannot be written is said once and costs no alarm."""
        if self._folder is None:
            return
        try:
            write(self._folder)
        except (OSError, StorageError) as error:
            _say(f"nothing more is kept in {self._folder}: {error}; alarms are still told")
            self._folder = None

    def _log(self, history: Sequence[Mapping[str, Any]]) -> StepLog | None:
        """The rows so far; None while none says anything that is known."""
        run = LoggedRun("training", history)
        try:
            log = arrange(run, self._columns, file=Path("the log"), tool=None, chosen=None)
        except DataError:
            return None
        return log if math.isnan(self._staleness) else log._replace(staleness=self._staleness)


def alarm_callback(
    folder: Path | str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    staleness: float = math.nan,
) -> Any:
    """A ``TrainerCallback`` that tells what goes wrong, for ``callbacks=[...]`` of any trainer.

    Args:
        folder: keeps ``steps.jsonl``, which ``tersely diagnose`` and ``tersely watch`` read, and
            ``alarms.jsonl``; None keeps nothing.
        columns: our name to the trainer's, as ``--column`` of ``tersely diagnose``.
        staleness: updates a batch of rollouts (S), where it is known.
    Raises:
        ConfigError: ``columns`` has a name that is none of ours.
    """
    check_columns(columns or {})
    from transformers import TrainerCallback

    watch = AlarmWatch(
        Path(folder) if folder is not None else None, columns=columns or {}, staleness=staleness
    )

    class AlarmCallback(TrainerCallback):  # type: ignore[misc]
        """A trainer calls these; it forces the base class and the signatures."""

        broken = False

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._safely(state, lambda: watch.begin(state.log_history))

        def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._safely(state, lambda: _tell(watch.after(state.log_history)))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._safely(state, lambda: _tell(watch.look(state.log_history)))

        def _safely(self, state: Any, act: Any) -> None:
            """Whatever goes wrong here is said once, and the training goes on without alarms."""
            if self.broken or not state.is_world_process_zero:
                return
            try:
                act()
            except Exception as error:
                self.broken = True
                _say(f"no more alarms in this training: {type(error).__name__}: {error}")

    return AlarmCallback()


def _append(file: Path, row: Mapping[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def _append_alarms(file: Path, alarms: Sequence[Alarm]) -> None:
    for alarm in alarms:
        jsonl.append(file, AlarmRecord(**alarm._asdict()))


def _plain(value: Any) -> Any:
    """A value that JSON has; numbers that are none as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | str | None) else str(value)


def _tell(alarms: Sequence[Alarm]) -> None:
    for alarm in alarms:
        _say(
            f"{alarm.severity.value}: {alarm.name} at step {alarm.step}: {alarm.evidence}. "
            f"Why: {alarm.reason}. Change: {alarm.advice}."
        )


def _say(text: str) -> None:
    print(f"tersely: {text}", file=sys.stderr, flush=True)
