"""The process of one tracker: ``python -m tersely.flows.tracking_process NAME RUN``.

Reads from its input that the run folder holds more, and sends that; then how the run ended. An
input that ends without a word is that of a run that was killed.
"""

import json
import math
import os
import sys
import traceback
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from queue import SimpleQueue
from secrets import token_hex
from threading import Thread, Timer
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock

from tersely.core import jsonl
from tersely.core.manifest import RunManifest, list_facts, read_manifest
from tersely.core.parsing import parse_json
from tersely.core.storage import write_atomically
from tersely.core.types import AlarmRecord, EvalRecord, StepRecord
from tersely.flows.recipe.recipe import RECIPE_FILE, read_recipe
from tersely.flows.recipe.sections import TrackSection
from tersely.flows.recipe.settings import flat_settings
from tersely.flows.tracking import END_S, MORE, TRACK, WHY
from tersely.flows.train.monitor import ALARMS_FILE
from tersely.metrics.records import tabulate
from tersely.trackers import Ending, TrackedRun, Tracker, start

PAGE = "report.html"
# Of an evaluation, beside its accuracy at each budget.
FIGURES = {"mean tokens": "tokens_mean", "truncated share": "truncated_share"}


class Sent(NamedTuple):
    """What a tracker has of a run: its key there, how many steps and rows, the steps of
    evaluations, and the names of alarms."""

    project: str
    key: str
    steps: int = 0
    rows: int = 0
    evaluations: tuple[int, ...] = ()
    alarms: tuple[str, ...] = ()


class Entry(NamedTuple):
    """Figures of a moment of the run, or an alarm.

    ``rank``: evaluation, step, alarm at the same step. ``note``: what has been sent with it.
    """

    step: int
    rank: int
    figures: Mapping[str, float]
    alarm: AlarmRecord | None
    note: dict[str, Any]


class Sender:
    """Sends a run folder's figures to one tracker, each once."""

    def __init__(self, name: str, folder: Path, track: TrackSection) -> None:
        self._folder, self._file = folder, folder / TRACK / f"{name}.json"
        self._recipe = read_recipe(folder / RECIPE_FILE)
        sent = read_sent(self._file)
        if sent is None or sent.project != track.project:
            sent = Sent(track.project, token_hex(4))
            self._keep(sent)
        self._tracker: Tracker = start(
            name,
            TrackedRun(
                project=track.project,
                name=track.name or folder.resolve().name,
                key=sent.key,
                folder=folder / TRACK,
                settings=settings_of(folder),
            ),
        )
        # One that does not know the run, its database gone or another, gets all of it.
        self._sent = sent if self._tracker.continued else Sent(sent.project, sent.key)

    def look(self) -> None:
        """Sends what is there and was not sent."""
        for row in self._new():
            if row.alarm is not None:
                self._tracker.alert(row.alarm)
            else:
                known = {key: value for key, value in row.figures.items() if math.isfinite(value)}
                self._tracker.log(known, step=row.step, row=self._sent.rows)
                self._sent = self._sent._replace(rows=self._sent.rows + 1)
            lists = {k: (*getattr(self._sent, k), v) for k, v in row.note.items() if k != "steps"}
            self._sent = self._sent._replace(**{**row.note, **lists})
            self._keep(self._sent)

    def end(self, ending: Ending) -> None:
        """Sends the rest, the report with it, and closes the run there."""
        self.look()
        page = self._folder / PAGE
        if ending is Ending.FINISHED and page.is_file():
            self._tracker.attach(page)
        self._tracker.end(ending)

    def _keep(self, sent: Sent) -> None:
        write_atomically(self._file, json.dumps(sent._asdict()))

    def _new(self) -> list[Entry]:
        """In the order in which they came about."""
        sent, rows = self._sent, []
        for record in _whole(self._folder / "steps.jsonl", StepRecord):
            if record.step >= sent.steps:
                names = (name for name in type(record).__slots__ if name != "step")
                figures = {name: float(getattr(record, name)) for name in names}
                rows.append(Entry(record.step, 1, figures, None, {"steps": record.step + 1}))
        for step, file in self._evaluations():
            if step not in sent.evaluations:
                figures = measured(jsonl.read(file, EvalRecord), self._recipe.evaluation.budgets)
                rows.append(Entry(step, 0, figures, None, {"evaluations": step}))
        alarms = _whole(self._folder / ALARMS_FILE, AlarmRecord)
        rows += [
            Entry(a.step, 2, {}, a, {"alarms": a.name}) for a in alarms if a.name not in sent.alarms
        ]
        return sorted(rows, key=lambda row: row[:2])

    def _evaluations(self) -> list[tuple[int, Path]]:
        files = sorted((self._folder / "eval").glob("step-*.jsonl"))
        return [(int(file.stem.removeprefix("step-")), file) for file in files]


def read_sent(file: Path) -> Sent | None:
    """What was sent by an earlier process; None where there was none, or its note is damaged."""
    try:
        content = parse_json(file.read_bytes())
        for key in ("evaluations", "alarms"):
            content[key] = tuple(content[key])
        return Sent(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def settings_of(folder: Path) -> dict[str, str | int | float | bool]:
    """The recipe and the facts of a run, by dotted name."""
    recipe = flat_settings(read_recipe(folder / RECIPE_FILE).model_dump())
    facts = list_facts(read_manifest(folder, RunManifest).facts)
    named = {**recipe, **{f"run.{key.replace(' ', '_')}": value for key, value in facts.items()}}
    return {
        key: value if isinstance(value, str | int | float | bool) else str(value)
        for key, value in named.items()
        if value is not None
    }


def measured(records: list[EvalRecord], budgets: tuple[int, ...]) -> dict[str, float]:
    """An evaluation's accuracy at each budget, its length and its cut share, with intervals."""
    # It takes seconds to import, and a run begins at its tracker before it has an evaluation.
    from tersely.metrics.measures import measure

    table = tabulate(records)
    within = [budget for budget in budgets if budget <= table.reach_tokens] or [table.reach_tokens]
    found = measure(table, title="", budgets=within, ks=[1], rng=np.random.default_rng(0))
    figures: dict[str, float] = {}
    for quantity, value in found.measured:
        name = FIGURES.get(quantity.name)
        if quantity.name == "accuracy" and quantity.budget_tokens is not None:
            name = f"accuracy_at_{quantity.budget_tokens}"
        if name is not None:
            ends = {"": value.estimate, "_low": value.low, "_high": value.high}
            figures |= {f"eval/{name}{end}": figure for end, figure in ends.items()}
    return figures


def listen(lines: "SimpleQueue[bytes]") -> None:
    """Takes the run's words; once it has ended, this process ends in time, whatever hangs."""
    # Unbuffered: Python cannot end while a thread waits in a buffered read.
    for line in FileIO(sys.stdin.fileno(), closefd=False):
        lines.put(line)
        if line != MORE:
            break
    else:
        lines.put(b"")
    last = Timer(END_S, lambda: os._exit(1))
    last.daemon = True
    last.start()


def main(arguments: list[str]) -> int:
    """Follows the run to its end; exit code 1, and why in a line, where the tracker fails."""
    try:
        follow(arguments[0], Path(arguments[1]))
    except Exception as error:  # a client raises what it likes
        traceback.print_exc()
        print(f"{WHY}{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        return 1
    return 0


def follow(name: str, folder: Path) -> None:
    """Sends what there is whenever there is more, until the run has ended."""
    lines: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=listen, args=(lines,), daemon=True).start()
    track = read_recipe(folder / RECIPE_FILE).track
    assert track is not None
    # The process of a run that was killed may be at its last words.
    with FileLock(folder / TRACK / f"{name}.lock"):
        sender = Sender(name, folder, track)
        (folder / TRACK / f"{name}.pid").write_text(str(os.getpid()), encoding="utf-8")
        while True:
            line = lines.get()
            while line == MORE and not lines.empty():
                line = lines.get()
            if line != MORE:
                break
            sender.look()
        sender.end(Ending(line.decode().strip() or Ending.STOPPED))


def _whole(file: Path, kind: type[Any]) -> list[Any]:
    """The records that are there, without one that is still being written."""
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return jsonl.parse(lines, kind, name=file.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
