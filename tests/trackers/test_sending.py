"""What is sent of a run, and that each of it is sent once."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tersely.core.types import AlarmRecord
from tersely.flows import tracking_process
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.tracking_process import Sender
from tersely.trackers import Ending, TrackedRun, start


class Database:
    """A tracker that keeps what it is given; ``fails_after`` so many rows it is unreachable."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, dict[str, float]]] = []
        self.alerts: list[str] = []
        self.pages: list[Path] = []
        self.ending: Ending | None = None
        self.runs: list[TrackedRun] = []
        self.continued = True
        self.fails_after = math.inf

    def __call__(self, _: str, run: TrackedRun) -> "Database":
        self.runs.append(run)
        return self

    def log(self, figures: dict[str, float], *, step: int, row: int) -> None:
        if len(self.rows) >= self.fails_after:
            raise ConnectionError("the network is gone")
        self.rows.append((row, step, figures))

    def alert(self, alarm: AlarmRecord) -> None:
        self.alerts.append(alarm.name)

    def attach(self, page: Path) -> None:
        self.pages.append(page)

    def end(self, ending: Ending) -> None:
        self.ending = ending


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database()
    monkeypatch.setattr(tracking_process, "start", database)
    return database


@pytest.fixture
def send(database: Database) -> Callable[[Any], Sender]:
    def send(run: Any) -> Sender:
        (run.folder / "track").mkdir(exist_ok=True)
        track = read_recipe(run.folder / "recipe.toml").track
        assert track is not None
        return Sender("wandb", run.folder, track)

    return send


def test_evaluations_come_before_the_step_that_follows_them(make_run, send, database) -> None:
    run = make_run("track.to=['wandb']")
    for step in (0, 1, 2):
        run.step(step)
    run.evaluate(0, right=2)
    run.evaluate(2, right=4)
    send(run).look()
    # An evaluation after n steps stands before the record of step n.
    kinds = [(step, "eval/tokens_mean" in row) for _, step, row in database.rows]
    assert kinds == [(0, True), (0, False), (1, False), (2, True), (2, False)]
    assert [row for row, _, _ in database.rows] == [0, 1, 2, 3, 4]


def test_an_evaluation_has_its_accuracy_at_each_budget_with_an_interval(
    make_run, send, database
) -> None:
    run = make_run("track.to=['wandb']")
    run.evaluate(0, right=2)
    send(run).look()
    (_, _, figures) = database.rows[0]
    # 2 of 8 right, both in 10 tokens: within every budget of 12, 24 and 48.
    assert [figures[f"eval/accuracy_at_{budget}"] for budget in (12, 24, 48)] == [0.25] * 3
    assert figures["eval/accuracy_at_12_low"] < 0.25 < figures["eval/accuracy_at_12_high"]
    # (2 x 10 + 6 x 40) / 8
    assert figures["eval/tokens_mean"] == 32.5


def test_what_is_undefined_is_not_sent(make_run, send, database) -> None:
    run = make_run("track.to=['wandb']")
    run.step(0, kl_mean=float("nan"), loss=float("inf"))
    send(run).look()
    assert {"kl_mean", "loss"}.isdisjoint(database.rows[0][2])
    assert database.rows[0][2]["accuracy"] == 0.5


def test_a_run_that_goes_on_sends_no_step_twice(make_run, send, database) -> None:
    run = make_run("track.to=['wandb']")
    run.evaluate(0, right=2)
    run.step(0)
    run.step(1)
    run.alarm(1)
    send(run).look()
    # Killed, and back to the checkpoint of step 1: the second step is made again.
    lines = (run.folder / "steps.jsonl").read_bytes().splitlines(keepends=True)
    (run.folder / "steps.jsonl").write_bytes(lines[0])
    (run.folder / "alarms.jsonl").unlink()
    run.step(1)
    run.alarm(1)
    run.step(2)
    send(run).look()
    assert [(row, step) for row, step, _ in database.rows] == [(0, 0), (1, 0), (2, 1), (3, 2)]
    assert database.alerts == ["length_collapse"]
    assert database.runs[0].key == database.runs[1].key


def test_what_could_not_be_sent_is_sent_by_the_next_process(make_run, send, database) -> None:
    run = make_run("track.to=['wandb']")
    for step in range(4):
        run.step(step)
    database.fails_after = 2
    with pytest.raises(ConnectionError):
        send(run).look()
    database.fails_after = math.inf
    send(run).look()
    assert [step for _, step, _ in database.rows] == [0, 1, 2, 3]


def test_a_database_that_does_not_know_the_run_gets_all_of_it(make_run, send, database) -> None:
    run = make_run("track.to=['wandb']")
    run.step(0)
    send(run).look()
    database.rows.clear()
    database.continued = False
    send(run).look()
    assert [step for _, step, _ in database.rows] == [0]


def test_another_project_gets_all_of_it_under_another_key(make_run, send, database) -> None:
    run = make_run("track.to=['wandb']")
    run.step(0)
    send(run).look()
    text = (run.folder / "recipe.toml").read_text(encoding="utf-8")
    other = text.replace('project = "tersely"', 'project = "other"')
    (run.folder / "recipe.toml").write_text(other, encoding="utf-8")
    send(run).look()
    assert [each.project for each in database.runs] == ["tersely", "other"]
    assert database.runs[0].key != database.runs[1].key
    assert [step for _, step, _ in database.rows] == [0, 0]


def test_a_line_that_is_still_being_written_is_left_for_later(make_run, send, database) -> None:
    run = make_run("track.to=['wandb']")
    run.step(0)
    run.step(1)
    file = run.folder / "steps.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    sender = send(run)
    sender.look()
    assert [step for _, step, _ in database.rows] == [0]
    file.write_bytes(whole)
    sender.look()
    assert [step for _, step, _ in database.rows] == [0, 1]


@pytest.mark.parametrize("ending", Ending)
def test_the_report_goes_along_where_the_run_was_finished(
    ending: Ending, make_run, send, database
) -> None:
    run = make_run("track.to=['wandb']")
    run.report()
    send(run).end(ending)
    assert bool(database.pages) == (ending is Ending.FINISHED)
    assert database.ending is ending


def test_the_settings_are_the_recipe_and_the_facts(make_run, send, database) -> None:
    run = make_run("track.to=['wandb']", "track.name='a run'")
    send(run)
    (told,) = database.runs
    assert told.name == "a run"
    assert told.settings["sampling.cap_tokens"] == 48
    assert told.settings["run.python"] == "3.11"
    assert all(isinstance(each, str | int | float) for each in told.settings.values())


def test_a_damaged_note_of_what_was_sent_begins_a_run_of_its_own(make_run, send, database) -> None:
    run = make_run("track.to=['wandb']")
    run.step(0)
    send(run).look()
    (run.folder / "track" / "wandb.json").write_text("{", encoding="utf-8")
    send(run).look()
    assert database.runs[0].key != database.runs[1].key
    assert [row for row, _, _ in database.rows] == [0, 0]


def test_trackio_is_asked_whether_it_knows_the_run(monkeypatch) -> None:
    """Its client, as of 0.43, refuses a run that is not there where it must be."""
    known: set[str] = set()

    def init(project: str, name: str, resume: str, config: dict[str, Any]) -> object:
        if resume == "must" and name not in known:
            raise ValueError(f"Run '{name}' does not exist in project '{project}'")
        known.add(name)
        return object()

    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=init))
    told = TrackedRun("p", "run", "key", Path(), {})
    assert [start("trackio", told).continued for _ in range(2)] == [False, True]
    known.clear()
    assert not start("trackio", told).continued
