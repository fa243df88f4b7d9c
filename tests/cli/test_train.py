"""Bad input ends before training: exit code 2 and one clear line with value, bound and fix."""

import json
import math
import os
import shutil
import signal
import tomllib
from functools import wraps
from pathlib import Path

import children
import pytest
from click.testing import Result
from transformers import AutoTokenizer
from typer.testing import CliRunner

from tersely.algo import losses
from tersely.cli import app
from tersely.engines.models import lab_folder
from tersely.flows.recipe.recipe import as_toml, read_recipe

TINY = Path(__file__).parents[1] / "flows" / "tiny.toml"


def train(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, words)])


def refused(result: Result, *expected: str) -> None:
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    for words in expected:
        assert words in lines[0]
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("learner.lerning_rate=1e-3", ("no recipe key", "lerning_rate", "learning_rate")),
        ("target.tokens=49", ("49", "48", "L_T", "L_R")),
        ("sampling.samples_per_prompt=1", ("samples_per_prompt", "1", "2")),
        ("problems.band=[9, 12]", ("[9, 12]", "empty", "1 to 8")),
        ("problems.train=missing.jsonl", ("missing.jsonl",)),
        ('model.path=""', ("model.path = '' is empty",)),
        ('problems.test=" "', ("problems.test = ' ' is empty",)),
        ("model.path=no/such/folder", ("no/such/folder", "config.json")),
        ("reward.name=trunkation", ("trunkation", "truncation")),
        ("reward.alpha=0.1", ("alpha", "0.1")),
        ("target.tokens=0", ("0",)),
        ("problems.train_limit=3", ("prompts_per_step", "4", "3")),
    ],
)
def test_a_bad_setting_is_refused_before_anything_is_written(
    setting: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    refused(train(TINY, "--out", tmp_path / "run", "--set", setting), *expected)
    assert not (tmp_path / "run").exists()


def test_an_existing_folder_is_refused_without_resume(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    refused(train(TINY, "--out", tmp_path), str(tmp_path), "--resume", "--out")


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    refused(train(TINY, "--out", tmp_path / "run", "--resume"), "nothing to resume")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    result = train(TINY, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


def test_a_finished_run_has_a_report_and_prints_a_table(finished: Path) -> None:
    assert (finished / "report.html").stat().st_size > 100_000
    again = train(TINY, "--out", finished, "--resume")
    assert again.exit_code == 0
    assert "report.html" in again.stdout
    assert "95%" in again.stdout


def test_resume_refuses_another_recipe_and_names_the_difference(finished: Path) -> None:
    result = train(TINY, "--out", finished, "--resume", "--set", "seed=6")
    refused(result, "another recipe", "seed", "6", "0", "learner.steps")


def test_a_resume_without_a_recipe_goes_on_with_the_runs_own(
    finished: Path, tmp_path: Path
) -> None:
    folder = copy_of(finished, tmp_path / "run")
    result = train("--out", folder, "--resume", "--set", "learner.steps=6")
    assert result.exit_code == 0, result.output
    assert len((folder / "steps.jsonl").read_text().splitlines()) == 6


def test_a_resume_may_take_other_threads_and_writes_it_down(finished: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path / "run")
    words = ("--resume", "--threads", "1", "--set", "learner.steps=6")
    result = train("--out", folder, *words)
    assert result.exit_code == 0, result.output
    assert tomllib.loads((folder / "recipe.toml").read_text())["model"]["cpu_threads"] == 1


@pytest.mark.parametrize("words", [("report",), ("watch",), ("train", "--resume", "--out")])
def test_a_run_without_its_manifest_is_told_what_can_be_done(
    finished: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = copy_of(finished, tmp_path / "run")
    (folder / "manifest.json").unlink()
    result = CliRunner().invoke(app, [*words, str(folder)])
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "restore that file" in said
    assert f"tersely diagnose {folder / 'steps.jsonl'}" in said
    assert CliRunner().invoke(app, ["diagnose", str(folder / "steps.jsonl")]).exit_code == 0


def test_an_evaluation_into_a_run_s_folder_is_refused_in_plain_words(
    finished: Path, tmp_path: Path
) -> None:
    folder = copy_of(finished, tmp_path / "run")
    words = ["eval", "--model", "lab", "--benchmark", "lab", "--out", str(folder)]
    said = CliRunner().invoke(app, words).stderr
    assert "the folder of a training run, not of an evaluation" in said
    manifest = json.loads((folder / "manifest.json").read_text())
    for key in ("training_problems_digest", "nothing"):
        manifest["test_problems_digest"] = manifest.pop("test_problems_digest", 1)
        (folder / "manifest.json").write_text(json.dumps({**manifest, key: 1, "other": 2}))
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert "Manifest" not in result.stderr


def test_a_refused_resume_shows_a_setting_that_set_can_read(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    own = tomllib.loads((finished / "recipe.toml").read_text())
    budgets = [1, *own["evaluation"]["budgets"]]
    settings = read_recipe(finished / "recipe.toml", overrides=[f"evaluation.budgets={budgets}"])
    other.write_text(as_toml(settings))
    refused(
        train(other, "--out", finished, "--resume"), f"--set 'evaluation.budgets={budgets}' changes"
    )


def copy_of(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


def test_resume_refuses_a_foreign_checkpoint(finished: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path / "run")
    state = folder / "checkpoints" / "step-000005" / "state.json"
    state.write_text('{"epoch": 3}')
    refused(train(TINY, "--out", folder, "--resume"), "step-000005", "checkpoint")


def test_resume_refuses_a_checkpoint_without_weights(finished: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path / "run")
    (folder / "checkpoints" / "step-000005" / "model.safetensors").unlink()
    refused(train(TINY, "--out", folder, "--resume"), "model.safetensors", "checkpoint")


def test_resume_refuses_a_run_whose_checkpoints_are_gone(finished: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path / "run")
    shutil.rmtree(folder / "checkpoints")
    refused(train(TINY, "--out", folder, "--resume"), "checkpoint of step 4", "missing", "5 steps")
    assert (folder / "steps.jsonl").read_bytes() == (finished / "steps.jsonl").read_bytes()


def test_resume_refuses_other_problems(finished: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["test_problems_digest"] = "0123"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    refused(train(TINY, "--out", folder, "--resume"), "test problems digest", "0123")


def test_a_tokenizer_without_chat_template_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(lab_folder(), model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = None
    (model / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(model)
    result = train(TINY, "--out", tmp_path / "run", "--set", f"model.path={model}")
    refused(result, str(model), "chat template")


def test_a_loss_that_is_not_finite_stops_at_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = losses.load("ppo_clip")
    first_checkpoint = tmp_path / "run" / "checkpoints" / "step-000002"

    @wraps(real)
    def breaks(*values: object, **settings: object) -> object:
        result = real(*values, **settings)
        return result._replace(loss=result.loss * math.nan) if first_checkpoint.exists() else result

    monkeypatch.setattr("tersely.algo.losses.ppo_clip.ppo_clip", breaks)
    result = train(TINY, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "loss is nan" in result.stderr
    assert f"the last good checkpoint is {first_checkpoint}" in result.stderr
    monkeypatch.undo()  # and what the message advises works
    again = train(TINY, "--out", tmp_path / "again", "--set", f"model.path={first_checkpoint}")
    assert again.exit_code == 0, again.output


def test_dry_run_prints_the_recipe_and_its_cost_and_writes_nothing(tmp_path: Path) -> None:
    result = train(TINY, "--out", tmp_path / "run", "--dry-run")
    assert result.exit_code == 0
    assert "cap_tokens = 48" in result.stdout
    assert "3,840" in result.stderr  # 5 steps x 16 rollouts x 48 tokens
    assert not (tmp_path / "run").exists()


def test_the_printed_recipe_can_be_read_again(tmp_path: Path) -> None:
    first = train(TINY, "--dry-run")
    (tmp_path / "again.toml").write_text(first.stdout)
    assert train(tmp_path / "again.toml", "--dry-run").stdout == first.stdout


def test_an_interrupt_stops_after_the_step_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    child = children.start(children.TERSELY, "train", TINY, "--out", folder)
    child.wait_for("\nstep 1/")
    os.kill(child.process.pid, signal.SIGINT)
    code, _, messages = child.wait()
    assert code == 130, messages
    assert "saved. Go on with: tersely train" in messages
    assert "--resume" in messages
    done = len((folder / "steps.jsonl").read_text().splitlines())
    assert 0 < done < 5
    assert [path.name for path in (folder / "checkpoints").iterdir()] == [f"step-{done:06d}"]
