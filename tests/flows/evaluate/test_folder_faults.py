"""Evaluation, curate and study folders: one writer, records as written, room on the disk."""

import importlib.util
from pathlib import Path

import children
import pytest
from typer.testing import CliRunner

from tersely.cli import app

file = Path(__file__).parents[2] / "core" / "holding.py"
spec = importlib.util.spec_from_file_location("holding", file)
holding = importlib.util.module_from_spec(spec)
spec.loader.exec_module(holding)


def words(out):
    sizes = ("--limit", "8", "--samples", "2", "--cap-tokens", "40")
    return ["eval", "--model", "lab-v1", "--benchmark", "lab", *sizes, "--out", str(out)]


def tersely(*said):
    return CliRunner().invoke(app, [*map(str, said)])


def refused(result, *expected):
    assert result.exit_code == 2, result.output
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("error:")]
    for said in expected:
        assert said in line


@pytest.fixture
def done(tmp_path):
    assert tersely(*words(tmp_path / "run")).exit_code == 0
    return tmp_path / "run"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.partition("\n")[2],
        lambda text: text.replace('"grade":"wrong"', '"grade":"correct"', 1),
        lambda text: text + text.partition("\n")[0] + "\n",
    ],
    ids=["missing", "edited", "doubled"],
)
def test_a_finished_evaluation_with_other_lines_is_seen_by_all_who_read_it(damage, done):
    records = done / "records.jsonl"
    before = records.read_text()
    records.write_text(damage(before))
    refused(tersely("report", done), str(records), "delete")
    refused(tersely("compare", done, done), str(records))
    refused(tersely(*words(done)), str(records))
    records.write_text(before)
    assert tersely("report", done).exit_code == 0


def test_an_evaluation_that_was_stopped_has_no_digests_and_goes_on(done):
    records = done / "records.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    (done / "digests.json").unlink()
    records.write_text("".join(lines[:5]))
    assert tersely(*words(done)).exit_code == 0
    assert sorted(records.read_text().splitlines(keepends=True)) == sorted(lines)
    assert (done / "digests.json").is_file()


def test_a_folder_that_was_cut_off_before_its_manifest_is_evaluated_into(done, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    (again / "problems.jsonl").write_bytes((done / "problems.jsonl").read_bytes())
    (again / "manifest.json.tmp").touch()
    assert tersely(*words(again)).exit_code == 0


def test_problems_of_ones_own_in_the_folder_are_not_written_over(tmp_path):
    (tmp_path / "problems.jsonl").write_text("mine\n")
    refused(tersely(*words(tmp_path)), "problems.jsonl", "move it away")
    assert (tmp_path / "problems.jsonl").read_text() == "mine\n"


def test_a_second_evaluation_in_a_folder_is_refused_and_reports_are_not(done):
    with holding.held(done) as other:
        refused(tersely(*words(done)), f"process {other.pid}")
        assert tersely("report", done).exit_code == 0
        assert tersely("compare", done, done).exit_code == 0
    assert tersely(*words(done)).exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        ("curate", "--problems", "lab", "--pool", "4", "--samples", "2", "--cap-tokens", "40"),
        ("study", "rollouts", "--seeds", "1"),
        ("train", "--set", "learner.steps=1"),
        ("launch", "trl", "demo"),
    ],
    ids=lambda command: command[0],
)
def test_a_second_process_in_any_folder_that_is_written_to_is_refused(
    command, tmp_path, monkeypatch
):
    if command[0] == "launch":
        # As if TRL were here: the folder is held before anything of it is used.
        monkeypatch.setattr("tersely.cli.launch.refuse_absent", lambda *_, **__: None)
        monkeypatch.setattr("tersely.flows.trl.launch.plan_trl", lambda *_, **__: {})
    with holding.held(tmp_path / "folder") as other:
        refused(tersely(*command, "--out", tmp_path / "folder"), f"process {other.pid}")


@pytest.mark.parametrize("limit_bytes", [300, 1_500, 6_000])
def test_a_full_disk_keeps_what_was_sampled_and_the_same_command_goes_on(limit_bytes, tmp_path):
    out = tmp_path / "run"
    ended = children.run(children.LIMITED, limit_bytes, *words(out))
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith("error:")]
    assert f"cannot write {out}" in line
    records = out / "records.jsonl"
    kept = records.read_text().splitlines() if records.is_file() else []
    assert tersely(*words(out)).exit_code == 0
    lines = records.read_text().splitlines()
    assert lines[: len(kept)] == kept
    assert len(lines) == 16
