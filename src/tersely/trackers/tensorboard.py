"""TensorBoard, through torch's ``SummaryWriter``, into ``track/tensorboard`` of the run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tersely.core.types import AlarmRecord
from tersely.trackers import Ending, TrackedRun, Tracker, as_table, say

LIBRARIES = ("tensorboard", "torch")


class _EventFolder:
    def __init__(self, writer: Any, *, continued: bool) -> None:
        self._writer, self.continued = writer, continued
        self._step = 0

    def log(self, figures: Mapping[str, float], *, step: int, row: int) -> None:
        self._step = step
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def alert(self, alarm: AlarmRecord) -> None:
        text = f"**{alarm.severity}**, {say(alarm)}"
        self._writer.add_text(f"alarm/{alarm.name}", text, alarm.step)

    def attach(self, page: Path) -> None:
        self._writer.add_text("report", f"The run's report is {page.absolute()}", self._step)

    def end(self, ending: Ending) -> None:
        self._writer.close()


def tensorboard(run: TrackedRun) -> Tracker:
    """An event folder: settings, alarms and the report's place are texts."""
    from torch.utils.tensorboard import SummaryWriter

    folder = run.folder / "tensorboard"
    continued = any(folder.glob("events.out.tfevents.*"))
    writer = SummaryWriter(str(folder))
    if not continued:
        writer.add_text("settings", as_table(run.settings))
    return _EventFolder(writer, continued=continued)
