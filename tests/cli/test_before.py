"""Folders of an earlier version, whose manifests hold texts, are read and gone on with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core.manifest import RunManifest, read_manifest
from tersely.report.pages.serve import LivePage

BEFORE = Path(__file__).parents[1] / "fixtures" / "before_h"
RUN = ("learner.steps=2", "sampling.prompts_per_step=2", "sampling.samples_per_prompt=4")
RUN += ("evaluation.samples=1", "problems.test_limit=24")
STUDY = ("problems.train_limit=96", "problems.test_limit=8", "problems.band=[1.0, 4.0]")
STUDY += ("sampling.prompts_per_step=2", "sampling.samples_per_prompt=4", "sampling.cap_tokens=64")
STUDY += ("learner.steps=3", "evaluation.every_steps=2", "evaluation.samples=4")
STUDY += ("evaluation.budgets=[16, 32, 64]", "checkpoint.every_steps=1")


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def copied(name: str, to: Path) -> Path:
    return shutil.copytree(BEFORE / name, to / name)


def texts_of(file: Path) -> list[object]:
    """What was sampled, a line a sample or step."""
    kept = ("problem", "sample", "text", "tokens", "tokens_mean")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines.sort(key=lambda line: (line.get("problem", ""), line.get("sample", line.get("step"))))
    return [{key: line[key] for key in kept if key in line} for line in lines]


def settings(pairs: tuple[str, ...]) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


@pytest.mark.parametrize("name", ["run", "evaluation"])
def test_it_is_reported(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    told = call("report", folder)
    assert told.exit_code == 0, told.output
    page = (folder / "report.html").read_text()
    old = json.loads((folder / "manifest.json").read_text())
    for key, value in (old["identity"] | old["facts"]).items():
        key = {"max tokens": "cap tokens"}.get(key, key)
        assert f'<tr><th scope="row">{key}</th><td>{value}</td></tr>' in page


def test_it_is_compared(tmp_path: Path) -> None:
    before, after = copied("evaluation", tmp_path), copied("evaluation", tmp_path / "other")
    file = after / "manifest.json"
    file.write_text(file.read_text().replace('"temperature": "1"', '"temperature": "0.6"'))
    told = call("compare", before, after, "--out", tmp_path / "page")
    assert told.exit_code == 0, told.output
    assert "Temperature differs: 1 in" in " ".join(told.output.split())


def test_a_run_is_watched_and_diagnosed(tmp_path: Path) -> None:
    folder = copied("run", tmp_path)
    assert "Accuracy at token budgets" in LivePage(folder, refresh_s=7.0).text()
    told = call("diagnose", folder)
    assert told.exit_code == 0, told.output
    assert "2 records, the last of step 1" in told.output


def test_a_run_goes_on_with_the_model_that_was_called_lab_then(tmp_path: Path) -> None:
    folder = copied("run", tmp_path)
    before = read_manifest(folder, RunManifest)
    told = call("train", "--out", folder, "--resume", *settings(RUN))
    assert told.exit_code == 0, told.output
    assert (folder / "checkpoints" / "step-000002").is_dir()
    # What was sampled and evaluated is what the first lab's model said then.
    for name in ("eval/step-000000.jsonl", "steps.jsonl"):
        again, then = (texts_of(place / name) for place in (folder, BEFORE / "run"))
        assert again == then
    after = read_manifest(folder, RunManifest)
    assert replace(after, recipes=()) == replace(before, recipes=())
    assert 'path = "lab-v1"' in (folder / "recipe.toml").read_text()
    longer = call("train", "--out", folder, "--resume", "--set", "learner.steps=3")
    assert longer.exit_code == 0, longer.output
    assert (folder / "steps.jsonl").read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("name", ["lab", "lab-v1"])
def test_an_evaluation_goes_on_where_it_was_with_that_model(name: str, tmp_path: Path) -> None:
    folder = copied("evaluation", tmp_path)
    records = folder / "records.jsonl"
    whole = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join(whole[:5]))
    command = ["eval", "--model", name, "--benchmark", "lab", "--limit", "4", "--samples", "2"]
    command += ["--protocol", "answered", "--out", str(folder), "--max-tokens"]
    refused = call(*command, "32")
    assert refused.exit_code == 2
    assert "budgets is 2 4 8 16 32 here and 4 8 16 32 64 there" in " ".join(refused.output.split())
    told = call(*command, "64")
    assert told.exit_code == 0, told.output
    assert records.read_bytes().splitlines(keepends=True)[:5] == whole[:5]
    assert texts_of(records) == texts_of(BEFORE / "evaluation" / "records.jsonl")


def test_the_second_lab_s_model_goes_on_with_none_of_it(tmp_path: Path) -> None:
    evaluation, run = copied("evaluation", tmp_path), copied("run", tmp_path)
    command = ["eval", "--model", "lab-v2", "--benchmark", "lab", "--limit", "4", "--samples", "2"]
    told = call(*command, "--protocol", "answered", "--max-tokens", 64, "--out", evaluation)
    assert told.exit_code == 2
    assert "digest is" in " ".join(told.output.split())
    told = call("train", "--out", run, "--resume", "--set", "model.path='lab-v2'")
    assert told.exit_code == 2
    assert "model.path is 'lab-v2' here and 'lab-v1' there" in " ".join(told.output.split())


@pytest.mark.parametrize("lab", [("--lab", "lab-v1"), ("--lab", "lab-v1", "--model", "lab")])
def test_a_study_is_judged(lab: tuple[str, ...], tmp_path: Path) -> None:
    folder = copied("study", tmp_path)
    told = call(
        *("study", folder / "small.toml", "--seeds", "1", "--out", tmp_path / "out", *lab),
        *("--results", folder / "results", "--judge-only", *settings(STUDY)),
    )
    assert told.exit_code == 0, told.output
    assert "an arm is like itself: cannot tell, 0.0 pp [0.0, 0.0]" in told.output


def test_a_study_is_not_judged_as_the_second_lab_s(tmp_path: Path) -> None:
    folder = copied("study", tmp_path)
    told = call(
        *("study", folder / "small.toml", "--seeds", "1", "--out", tmp_path / "out"),
        *("--lab", "lab-v1", "--model", "lab-v2"),
        *("--results", folder / "results", "--judge-only", *settings(STUDY)),
    )
    assert told.exit_code == 2
    assert "holds no finished run" in told.output
