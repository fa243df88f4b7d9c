"""The process of a tracker beside a run: whatever it does, the run goes on."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tersely
from tersely.core.errors import ConfigError, EngineError, TerselyWarning
from tersely.dynamics.alarms import Alarm
from tersely.flows import tracking
from tersely.flows.observer import Quiet
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.tracking import Tracking
from tersely.flows.train.session import begin
from tersely.trackers import available, refuse_uninstalled

TINY = Path(__file__).parents[1] / "flows" / "tiny.toml"
# A client of W&B that writes what it is given as lines beside itself.
CLIENT = """
import json, os
from pathlib import Path

FILE = Path(__file__).with_name("sent.jsonl")

def write(kind, what):
    with FILE.open("a") as file:
        file.write(json.dumps([kind, what]) + chr(10))

class Settings:
    def __init__(self, **given): ...

class Artifact:
    def __init__(self, name, type): self.files = []
    def add_file(self, path): self.files.append(os.path.basename(path))

class Run:
    resumed, offline = False, True
    def define_metric(self, *given, **named): ...
    def log(self, figures, step): write("log", [step, figures["step"]])
    def alert(self, title, text, level): write("alert", [title, level])
    def log_artifact(self, artifact): write("artifact", artifact.files)
    def finish(self, exit_code): write("finish", exit_code)

def init(**given):
    write("init", [given["project"], given["name"], given["id"]])
    return Run()
"""


INIT = "def init(**given):"
HANG = "import time; time.sleep(600)"


def altered(old: str, new: str) -> str:
    assert old in CLIENT
    return CLIENT.replace(old, new)


@pytest.fixture
def follow(tmp_path: Path) -> Callable[..., Tracking]:
    """A run's trackers, whose client is what a test says."""

    def follow(run: Any, client: str = CLIENT) -> Tracking:
        (tmp_path / "clients").mkdir(exist_ok=True)
        (tmp_path / "clients" / "wandb.py").write_text(client, encoding="utf-8")
        paths = [str(tmp_path / "clients"), str(Path(tersely.__file__).parents[1])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        return Tracking(run.folder, Quiet(), environment=environment)

    return follow


@pytest.fixture
def sent(tmp_path: Path) -> Callable[[], list[list[Any]]]:
    def sent() -> list[list[Any]]:
        file = tmp_path / "clients" / "sent.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]

    return sent


def test_a_run_is_followed_to_its_end_and_its_report_is_sent(make_run, follow, sent) -> None:
    run = make_run("track.to=['wandb']", "track.project='p'")
    with follow(run) as observer:
        run.evaluate(0, right=2)
        observer.on_evaluation(0, [])
        run.step(0)
        run.alarm(0)
        observer.on_alarm(Alarm(0, "length_collapse", "error", "", "", ""))  # type: ignore[arg-type]
        run.report()
    kinds = [kind for kind, _ in sent()]
    assert kinds == ["init", "log", "log", "alert", "artifact", "finish"]
    assert sent()[0][1][:2] == ["p", "run"]
    assert sent()[-1] == ["finish", 0]


def end_with(observer: Tracking, error: BaseException) -> None:
    with observer:
        observer.on_sampling("step", 1, 0)
        raise error


@pytest.mark.parametrize("error", [EngineError("a loss was not finite"), KeyboardInterrupt()])
def test_a_run_that_is_not_finished_is_not_said_to_be(make_run, follow, sent, error) -> None:
    run = make_run("track.to=['wandb']")
    run.report()
    run.step(0)
    with pytest.raises(type(error)):
        end_with(follow(run), error)
    assert [kind for kind, _ in sent()] == ["init", "log", "finish"]
    assert sent()[-1] == ["finish", 1]


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("raise ImportError('a broken install')", "a broken install"),
        (altered(INIT, f"{INIT}\n    raise OSError('no network')"), "no network"),
        (altered('write("log", [step, figures["step"]])', "raise ValueError('quota')"), "quota"),
        (altered(INIT, f"{INIT}\n    os._exit(7)"), "exit code 7"),
    ],
    ids=["import", "start", "log", "crash"],
)
def test_a_tracker_that_fails_is_said_once_and_left_out(make_run, follow, client, said) -> None:
    run = make_run("track.to=['wandb']")

    def go() -> None:
        with follow(run, client) as observer:
            for step in range(3):
                run.step(step)
                observer.on_sampling("step", 1, 0)
                for each in observer._followers or ():
                    each.process.wait(timeout=60)

    with pytest.warns(TerselyWarning) as warned:
        go()
    (message,) = [str(each.message) for each in warned]
    assert message.startswith("wandb is left out from here on: ")
    assert said in message
    assert "\n" not in message


def test_one_that_hangs_at_its_start_is_left_out_while_the_run_goes_on(
    make_run, follow, monkeypatch
) -> None:
    run = make_run("track.to=['wandb']")
    with follow(run, altered(INIT, f"{INIT}\n    {HANG}")) as observer:
        observer.on_sampling("evaluation", 1, 0)
        monkeypatch.setattr(tracking, "START_S", 0.0)
        with pytest.warns(TerselyWarning, match="it did not begin within 0 s"):
            observer.on_sampling("step", 1, 0)
        assert not observer._followers


@pytest.mark.parametrize(
    "client", [altered('write("finish", exit_code)', HANG), HANG], ids=["end", "import"]
)
def test_one_that_hangs_is_neither_waited_for_nor_blocks(
    make_run, follow, monkeypatch, client
) -> None:
    monkeypatch.setattr(tracking, "END_S", 0.0)
    run = make_run("track.to=['wandb']")

    def go() -> None:
        with follow(run, client) as observer:
            observer.on_sampling("step", 1, 0)
            (follower,) = observer._followers or ()
            # More than a pipe holds.
            for _ in range(200):
                follower.tell(tracking.MORE * 1000)

    with pytest.warns(TerselyWarning, match="still sending 0 s after"):
        go()


def test_one_that_cannot_be_started_is_left_out(make_run, monkeypatch) -> None:
    run = make_run("track.to=['wandb']")
    (run.folder / "track").write_text("a file in its place", encoding="utf-8")
    with Tracking(run.folder, Quiet()) as observer:
        with pytest.warns(TerselyWarning, match="wandb is left out .*could not be started"):
            observer.on_sampling("step", 1, 0)
        observer.on_sampling("step", 1, 0)


def test_every_event_reaches_the_observer_behind(make_run) -> None:
    heard: list[str] = []

    class Ear(Quiet):
        def on_sample(self, record: object) -> None:
            heard.append("sample")

    run = make_run()
    with Tracking(run.folder, Ear(wants_stop=lambda: True)) as observer:
        observer.on_sample(None)
        assert observer.wants_stop()
    assert heard == ["sample"]


def test_a_run_without_trackers_starts_nothing(make_run) -> None:
    run = make_run()
    with Tracking(run.folder, Quiet()) as observer:
        observer.on_sampling("step", 1, 0)
        assert observer._followers == []
    assert not (run.folder / "track").exists()


@pytest.mark.parametrize("name", available())
def test_one_that_is_not_installed_is_refused_with_its_install(name: str, monkeypatch) -> None:
    monkeypatch.setattr("tersely.core.extras.find_spec", lambda library: None)
    with pytest.raises(ConfigError, match=rf"track.to = \[\"{name}\"\] needs .*tersely\[track\]"):
        refuse_uninstalled([name])


def test_a_run_is_refused_before_its_folder_is_made(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tersely.core.extras.find_spec", lambda library: None)
    recipe = read_recipe(TINY, overrides=["track.to=['wandb']"])
    with pytest.raises(ConfigError, match="needs wandb, which is not installed"):
        begin(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
