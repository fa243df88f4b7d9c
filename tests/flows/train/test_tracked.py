"""Where a run is sent has no part in what it is, and may change when it goes on."""

import json
import os
import shutil
from pathlib import Path

import children
import pytest

import tersely
from tersely.core.manifest import RunManifest, read_manifest
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.train.folder import open_run, resumed_recipe

TINY = Path(__file__).parents[1] / "tiny.toml"
# A client that begins a run, takes two rows and crashes.
CLIENT = """
import os
class Settings:
    def __init__(self, **given): ...
class Run:
    resumed, offline, rows = False, True, 0
    def define_metric(self, *given, **named): ...
    def log(self, figures, step):
        Run.rows += 1
        if Run.rows > 2:
            os.abort()
def init(**given):
    return Run()
"""


def train(run: Path, *words: str, clients: Path) -> children.Ended:
    paths = [str(clients), str(Path(tersely.__file__).parents[1])]
    env = {"PYTHONPATH": os.pathsep.join(paths)}
    return children.run(children.TERSELY, "train", TINY, "--out", run, *words, env=env)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    (folder / "wandb.py").write_text(CLIENT, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, clients: Path) -> Path:
    run = tmp_path_factory.mktemp("plain") / "run"
    assert train(run, clients=clients).returncode == 0
    return run


def contents(run: Path) -> dict[str, bytes]:
    """All that a run leaves but for clocks, trackers, and what names them."""
    own = {"timings.jsonl", "manifest.json", "report.html", "recipe.toml"}
    return {
        str(file.relative_to(run)): file.read_bytes()
        for file in sorted(run.rglob("*"))
        if file.is_file() and file.name not in own and file.parent.name != "track"
    }


def test_a_tracker_that_crashes_changes_no_byte_of_a_run(
    plain: Path, clients: Path, tmp_path: Path
) -> None:
    done = train(tmp_path / "run", "--set", "track.to=['wandb']", clients=clients)
    assert done.returncode == 0
    assert done.stderr.count("wandb is left out from here on") == 1
    assert contents(tmp_path / "run") == contents(plain)
    sent = json.loads((tmp_path / "run" / "track" / "wandb.json").read_text())
    assert sent["rows"] == 2


@pytest.mark.parametrize("begun", ['[track]\nto = ["mlflow"]\n\n', ""], ids=["tracked", "not"])
@pytest.mark.parametrize("overrides", [(), ("track.to=['wandb']",)], ids=["none", "other"])
def test_a_resume_takes_the_trackers_that_are_given_now(
    begun: str, overrides: tuple[str, ...], plain: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(plain, tmp_path / "run")
    with (run / "recipe.toml").open("a", encoding="utf-8") as file:
        file.write(begun)
    partial = run / "eval" / "step-000099.jsonl.partial"
    partial.write_text("{}\n", encoding="utf-8")
    given = read_recipe(TINY, overrides=overrides)
    recipe = resumed_recipe(given, run, changes=())
    assert recipe.track == given.track
    before = read_manifest(run, RunManifest)
    open_run(run, recipe, before, test=[])
    # Nothing that was sampled is thrown away, and the run is the one that it was.
    assert partial.is_file()
    assert read_manifest(run, RunManifest) == before
    assert read_recipe(run / "recipe.toml") == recipe


def test_a_manifest_does_not_hold_trackers(clients: Path, plain: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    manifest = read_manifest(plain, RunManifest)
    recipe = read_recipe(TINY, overrides=["track.to=['wandb']"])
    made = open_run(tmp_path / "run", recipe, manifest, test=[])
    assert made.recipes == manifest.recipes
    assert read_recipe(tmp_path / "run" / "recipe.toml").trackers == ("wandb",)
