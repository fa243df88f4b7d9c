"""What a run folder goes on from: its own recipe, whole checkpoints, and records as written."""

import json
import shutil
from pathlib import Path

import children
import pytest
from typer.testing import CliRunner

from tersely.cli import app

TINY = Path(__file__).parents[1] / "tiny.toml"
CLOCKS = {"timings.jsonl", "manifest.json", "report.html"}


def tersely(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def train(run, *words):
    return tersely("train", TINY, "--out", run, *words)


def refused(result, *expected):
    assert result.exit_code == 2, result.output
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("error:")]
    for words in expected:
        assert words in line
    return line


def contents(run):
    return {
        str(file.relative_to(run)): file.read_bytes()
        for file in sorted(run.rglob("*"))
        if file.is_file() and file.name not in CLOCKS
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train(run).exit_code == 0
    return run


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def edit(file, before, after):
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_recipe_edited_in_the_run_folder_is_refused_with_both_values(run):
    edit(run / "recipe.toml", "learning_rate = 0.001", "learning_rate = 0.1")
    result = tersely("train", run / "recipe.toml", "--out", run, "--resume")
    refused(result, "was edited", "learner.learning_rate is 0.1 now and was 0.001", "set it back")
    refused(train(run, "--resume"), "was edited")


def test_a_setting_that_bears_on_steps_done_is_refused_on_resume(run):
    for setting in ("learner.learning_rate=0.1", "reward.name=gr3", "seed=3"):
        refused(train(run, "--resume", "--set", setting), setting.split("=")[0], "may change")
    fewer = train(run, "--resume", "--set", "learner.steps=3")
    refused(fewer, "learner.steps = 3 is below the 5 steps", "set it to 5 or more")
    caps = train(run, "--resume", "--set", "evaluation.budgets=[12,24]")
    refused(caps, "24", "48", "keep 48")


def test_more_steps_are_recorded_and_every_later_resume_goes_on_with_them(run):
    assert train(run, "--resume", "--set", "learner.steps=6").exit_code == 0
    assert "steps = 6" in (run / "recipe.toml").read_text()
    assert len((run / "steps.jsonl").read_text().splitlines()) == 6
    assert len(json.loads((run / "manifest.json").read_text())["recipes"]) == 2
    for recipe in (TINY, run / "recipe.toml"):
        again = tersely("train", recipe, "--out", run, "--resume")
        assert again.exit_code == 0, again.output
        assert "steps = 6" in (run / "recipe.toml").read_text()


def test_a_change_that_was_cut_off_before_the_recipe_was_written_is_finished(run):
    before = (run / "recipe.toml").read_text()
    assert train(run, "--resume", "--set", "learner.steps=6").exit_code == 0
    (run / "recipe.toml").write_text(before)
    assert train(run, "--resume").exit_code == 0
    assert "steps = 6" in (run / "recipe.toml").read_text()


@pytest.mark.filterwarnings("default")
def test_a_run_of_an_earlier_version_is_warned_of_and_goes_on(run):
    content = json.loads((run / "manifest.json").read_text())
    del content["recipes"]
    (run / "manifest.json").write_text(json.dumps(content))
    for file in run.rglob("digests.json"):
        file.unlink()
    result = train(run, "--resume")
    assert result.exit_code == 0, result.output
    assert "kept no recipe" in result.stderr


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
def test_a_flipped_bit_is_seen_and_the_command_offered_ends_as_if_nothing_happened(
    name, finished, run
):
    flip(run / "checkpoints" / "step-000005" / name)
    line = refused(train(run, "--resume"), "step-000005", "2, 4 are kept", "--resume-from 4")
    offered = line.partition("are kept: tersely ")[2].split()
    result = tersely(*offered)
    assert result.exit_code == 0, result.output
    assert contents(run) == contents(finished)


def test_an_older_checkpoint_cuts_all_that_came_after_it(finished, run):
    refused(train(run, "--resume-from", "3"), "holds no checkpoint of it", "kept: 2, 4, 5")
    assert train(run, "--resume-from", "2").exit_code == 0
    assert contents(run) == contents(finished)


def test_a_missing_checkpoint_names_the_one_to_go_back_to(finished, run):
    shutil.rmtree(run / "checkpoints" / "step-000004")
    shutil.rmtree(run / "checkpoints" / "step-000005")
    refused(train(run, "--resume"), "missing", "--resume-from 2")
    assert train(run, "--resume-from", "2").exit_code == 0
    assert contents(run) == contents(finished)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.partition("\n")[2],
        lambda text: text.replace('"accuracy":0.', '"accuracy":1.', 1),
    ],
    ids=["missing", "edited"],
)
def test_a_line_missing_or_edited_in_the_step_log_is_seen_by_all_who_read_it(damage, run):
    file = run / "steps.jsonl"
    file.write_text(damage(file.read_text()))
    refused(train(run, "--resume"), str(file), "delete")
    refused(tersely("report", run), str(file))
    refused(tersely("diagnose", run), str(file))


def test_an_edited_evaluation_of_a_run_is_seen(run):
    file = run / "eval" / "step-000005.jsonl"
    edit(file, '"tokens":', '"tokens":1')
    refused(tersely("report", run), str(file), "delete")
    refused(tersely("compare", run / "eval" / "step-000000.jsonl", file), str(file))
    refused(train(run, "--resume"), str(file))


def test_a_damaged_checkpoint_is_not_evaluated(run, tmp_path):
    checkpoint = run / "checkpoints" / "step-000005"
    flip(checkpoint / "model.safetensors")
    words = ("--limit", 2, "--samples", 1, "--cap-tokens", 8, "--out", tmp_path / "eval")
    result = tersely("eval", "--benchmark", "lab", "--model", checkpoint, *words)
    refused(result, "model.safetensors", "delete")


def test_a_folder_that_was_cut_off_before_its_manifest_is_begun_by_the_same_command(
    finished, tmp_path
):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(finished / "recipe.toml", run)
    shutil.copy(finished / "problems.jsonl", run)
    (run / "manifest.json.tmp").write_text("{")
    assert train(run).exit_code == 0
    assert (run / "steps.jsonl").read_bytes() == (finished / "steps.jsonl").read_bytes()


def test_a_manifest_alone_is_gone_on_from(finished, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(finished / "manifest.json", run)
    assert train(run, "--resume").exit_code == 0
    assert contents(run) == contents(finished)


def test_a_recipe_of_ones_own_in_the_folder_is_not_written_over(tmp_path):
    own = shutil.copy(TINY, tmp_path / "recipe.toml")
    before = own.read_text()
    refused(tersely("train", own, "--out", tmp_path), str(own), "move it away")
    assert own.read_text() == before


@pytest.mark.parametrize("limit_bytes", [700, 2_000, 100_000, 2_000_000])
def test_a_full_disk_is_told_in_one_line_and_the_run_goes_on_once_there_is_room(
    limit_bytes, finished, tmp_path
):
    run = tmp_path / "run"
    ended = children.run(children.LIMITED, limit_bytes, "train", TINY, "--out", run)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith("error:")]
    assert f"cannot write {run}" in line
    again = train(run, *(["--resume"] if (run / "manifest.json").is_file() else []))
    assert again.exit_code == 0, again.output
    assert contents(run) == contents(finished)
