"""Habits that people bring: short help, quiet commands, one JSON document, names that go on."""

import json
import math
import shutil
import sys
from importlib import resources
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tersely import __version__
from tersely.cli import app
from tersely.readers import formats

BEFORE = Path(__file__).parents[1] / "fixtures" / "before_h"
TINY = Path(__file__).parents[1] / "flows" / "tiny.toml"
COMMANDS = [
    *("train", "eval", "report", "compare", "benchmarks", "curate", "lint", "diagnose", "watch"),
    *("advise", "rewards", "study", ["launch", "trl"], ["launch", "verl"], ["lab", "pretrain"]),
]


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def words_of(command):
    return [command] if isinstance(command, str) else command


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A training run and an evaluation, to write into."""
    root = tmp_path_factory.mktemp("folders")
    for name in ("run", "evaluation"):
        shutil.copytree(BEFORE / name, root / name)
    return root


@pytest.mark.parametrize("command", [[], *map(words_of, COMMANDS), ["launch"], ["lab"]], ids=str)
def test_help_is_shown_for_a_short_h(command):
    told = call(*command, "-h")
    assert told.exit_code == 0, told.output
    assert "--help" in told.stdout


def test_the_version_is_printed():
    assert call("--version").stdout == f"tersely {__version__}\n"


def test_the_shell_can_complete_commands():
    shown = call("-h").stdout
    assert "--install-completion" in shown
    assert "--show-completion" in shown


def test_the_package_says_that_it_has_types():
    assert (resources.files("tersely") / "py.typed").is_file()


def documents(folders):
    """Every command that prints a table and ends within seconds."""
    run, evaluation = folders / "run", folders / "evaluation"
    return {
        "run": ["report", run],
        "evaluation": ["report", evaluation],
        "comparison": ["compare", evaluation, evaluation],
        "advice": ["advise", evaluation],
        "diagnosis": ["diagnose", run],
        "benchmarks": ["benchmarks"],
        "rewards": ["rewards"],
        "reward": ["rewards", "plot", "kimi", "--out", folders / "kimi.png"],
        "studies": ["study", "list"],
        "study plan": ["study", "budgets", "--dry-run", "--out", folders / "studies"],
        "price": ["train", "--dry-run"],
        "lint": ["lint", "--records", evaluation],
    }


KINDS = list(documents(Path()))


@pytest.mark.parametrize("kind", KINDS)
def test_stdout_is_one_json_document_and_quiet_leaves_stderr_empty(kind, folders):
    told = call(*documents(folders)[kind], "--json", "--quiet")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["kind"] == kind
    assert told.stderr == ""


@pytest.mark.parametrize("engine", ["trl", "verl"])
def test_the_price_of_a_launch_is_a_document_too(engine):
    told = call("launch", engine, "qwen3-0.6b", "--dry-run", "--json", "--mean-tokens", "500")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert [price["gpu"]["name"] for price in document["prices"]] == ["H100 SXM", "H200 SXM"] * 2
    assert document["prices"][0]["step_gpu_hours"] > document["prices"][2]["step_gpu_hours"] > 0


def test_figures_are_not_rounded_and_have_their_interval_and_n(folders):
    figures = json.loads(call("report", folders / "evaluation", "--json").stdout)["figures"]
    accuracy = next(f for f in figures if f["name"] == "mean tokens")
    assert accuracy["low"] < accuracy["estimate"] < accuracy["high"]
    assert accuracy["n_samples"] > accuracy["n_problems"] > 0
    csv = folders / "figures.csv"
    assert call("report", folders / "evaluation", "--csv", csv).exit_code == 0
    assert repr(accuracy["estimate"]) in csv.read_text()
    missing = [f for f in figures if f["estimate"] is None]
    assert all(f["low"] is None for f in missing)
    assert not any(isinstance(v, float) and math.isnan(v) for f in figures for v in f.values())


def test_an_evaluation_a_curation_and_a_run_close_with_a_document(tmp_path):
    lab = ["--limit", "2", "--samples", "2", "--cap-tokens", "24", "--json", "--quiet"]
    evaluated = call("eval", "--benchmark", "lab", "--out", tmp_path / "eval", *lab)
    curated = call("curate", "--problems", "lab", "--out", tmp_path / "c", "--band", "0,1", *lab)
    trained = call("train", TINY, "--out", tmp_path / "run", "--json", "--quiet")
    for told, kind in ((evaluated, "evaluation"), (curated, "curation"), (trained, "run")):
        assert told.exit_code == 0, told.output
        assert told.stderr == ""
        assert json.loads(told.stdout)["kind"] == kind
    sampled = json.loads(curated.stdout)["sampled"]
    assert sum(part["prompts"] for part in sampled.values()) >= 2
    again = call("train", TINY, "--out", tmp_path / "run", "--quiet")
    assert again.exit_code == 2
    assert again.stderr.startswith("error: ")


OLD_NAMES = [
    (["train", "--dry-run"], "--run", "--out", "somewhere"),
    (["rewards", "plot", "kimi"], "--target", "--target-tokens", "0"),
    (["rewards", "plot", "kimi"], "--cap", "--cap-tokens", "1"),
    (["report", "nowhere"], "--benchmark", "--benchmark-name", "b"),
    (["benchmarks"], "--write", "--out", "x.jsonl"),
    (["study", "budgets", "--dry-run", "--out", "s"], "--train", "--problems", "lab"),
    (["curate", "--problems", "lab", "--out", "c"], "--pool", "--limit", "0"),
    (["eval", "--benchmark", "lab", "--out", "e"], "--max-tokens", "--cap-tokens", "0"),
    (["launch", "trl", "qwen3-0.6b", "--dry-run"], "--run", "--out", "x"),
]


@pytest.mark.parametrize(("words", "old", "new", "value"), OLD_NAMES)
def test_an_old_name_is_the_new_one_with_a_notice(words, old, new, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_old, by_new = call(*words, old, value), call(*words, new, value)
    notice = f"{old} is {new} now; the old name goes with the next version"
    assert notice in by_old.stderr
    assert by_old.exit_code == by_new.exit_code
    assert by_old.stdout == by_new.stdout
    assert by_old.stderr.replace(notice + "\n", "") == by_new.stderr
    assert f"{old} " not in call(*words[: 2 if words[0] == "launch" else 1], "-h").stdout


def test_one_thing_has_one_name_in_every_command():
    known = (Path(__file__).with_name("options.txt")).read_text()
    root = typer.main.get_command(app)
    visible = {p.opts[0] for c in root.commands.values() if hasattr(c, "params") for p in c.params}
    assert "--out" in visible
    assert "train --threads" in known
    assert "train --mean-tokens" in known
    assert "train --seed" in known


@pytest.mark.parametrize("engine", ["trl", "verl"])
def test_brackets_in_help_are_shown(engine):
    assert f"[{engine}]" in call("launch", engine, "-h").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["report", "runs/[a]"],
        ["train", "[bold]"],
        ["rewards", "plot", "[/]"],
        ["study", "[red]x[/red]"],
        ["diagnose", "[a]"],
        ["watch", "[b]"],
        ["lint", "--records", "[c]"],
        ["train", "--out", "[d]", "--set", "model.path=[x]"],
        ["curate", "--problems", "[e]", "--out", "o"],
    ],
    ids=" ".join,
)
def test_brackets_of_a_user_are_shown(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = call(*words)
    assert told.exit_code == 2, told.output
    bracketed = [word.partition("=")[2] or word for word in words if "[" in word]
    assert bracketed[-1] in told.stderr


def test_a_folder_with_brackets_is_named_as_it_is(folders, tmp_path):
    shutil.copytree(folders / "evaluation", tmp_path / "[a] :smile:")
    told = call("report", tmp_path / "[a] :smile:")
    assert told.exit_code == 0, told.output
    assert "[a] :smile:/report.html" in told.stdout.replace("\n", "")


@pytest.mark.parametrize("command", ["report", "compare", "lint"])
def test_every_reader_that_is_there_is_named_in_the_help(command):
    shown = call(command, "-h").stdout
    assert all(name in shown for name in formats.available())


def test_sets_and_tasks_are_named_in_the_help_of_benchmark():
    shown = " ".join(call("eval", "-h").stdout.replace("│", " ").split())
    assert "gym:TASK" in shown
    assert "tersely benchmarks lists" in shown


DRY = ["train", "--dry-run"]
UNKNOWN = [
    ([*DRY, "--set", "reward.name=trunction"], "reward", "trunction", "truncation"),
    ([*DRY, "--set", "target.name=fixd"], "target", "fixd", "fixed"),
    ([*DRY, "--set", "loss.name=gsop"], "loss", "gsop", "gspo"),
    ([*DRY, "--set", "advantage.name=decupled"], "advantage", "decupled", "decoupled"),
    ([*DRY, "--set", "learner.stpes=3"], "recipe key", "learner.stpes", "learner.steps"),
    ([*DRY, "--set", "on_alarm=stpo"], "on_alarm =", "stpo", "stop"),
    ([*DRY, "--set", "treatment.cells=vanila"], "strategy", "vanila", "vanilla"),
    ([*DRY, "--set", "target.token=40"], "parameter", "token", "tokens"),
    (["train", "qwen3-06b"], "recipe", "qwen3-06b", "qwen3-0.6b"),
    (["rewards", "plot", "KIMI"], "reward", "KIMI", "kimi"),
    (["benchmarks", "aime2024"], "set of problems", "aime2024", "aime24"),
    (["study", "budgts"], "study", "budgts", "budgets"),
    (["report", "x", "--from", "lm-eval"], "reader", "lm-eval", "lm_eval"),
    (["report", "x", "--from", "table", "--regrade", "mth"], "grader", "mth", "math"),
    (["diagnose", "x", "--from", "tlr"], "reader of step logs", "tlr", "trl"),
    (["diagnose", "x", "--column", "token_mean=a"], "column", "token_mean", "tokens_mean"),
    (["curate", "--problems", "lab", "--out", "o", "--select", "esay"], "choice", "esay", "easy"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "what", "given", "meant"), UNKNOWN)
def test_an_unknown_name_is_answered_with_the_nearest(words, what, given, meant):
    told = call(*words)
    assert told.exit_code == 2, told.output
    said = " ".join(told.stderr.split())
    assert f"there is no {what} '{given}'" in said
    assert f"did you mean '{meant}'? choose one of " in said


def test_a_run_folder_honours_what_report_is_asked_for(folders, tmp_path):
    files = ["--csv", tmp_path / "a.csv", "--md", tmp_path / "a.md", "--png", tmp_path / "png"]
    told = call("report", folders / "run", "--out", tmp_path / "page", "--budgets", "32", *files)
    assert told.exit_code == 0, told.output
    assert (tmp_path / "page" / "report.html").is_file()
    assert ",32,share," in (tmp_path / "a.csv").read_text()
    assert ",64,share," not in (tmp_path / "a.csv").read_text()
    assert (tmp_path / "a.md").read_text().startswith("# before")
    assert list((tmp_path / "png").glob("*.png"))


@pytest.mark.parametrize(
    "words",
    [
        *(["--k", "999"], ["--budgets", "999999"], ["--protocol", "answered"]),
        *(["--cap-tokens", "9"], ["--from", "table"], ["--regrade", "math"]),
        *(["--benchmark-name", "b"], ["--column", "a=b"]),
    ],
    ids=" ".join,
)
def test_a_run_folder_refuses_what_it_cannot_honour(words, folders):
    told = call("report", folders / "run", *words)
    assert told.exit_code == 2, told.output
    assert told.stderr.splitlines()[-1].startswith("error: ")


def test_watching_an_evaluation_is_refused_in_plain_words(folders):
    told = call("watch", folders / "evaluation")
    assert told.exit_code == 2
    assert "is the folder of an evaluation, not of a training run" in told.stderr.replace("\n", " ")


def test_evaluating_into_a_run_s_folder_is_refused_in_plain_words(folders):
    told = call("eval", "--benchmark", "lab", "--limit", "1", "--out", folders / "run")
    assert told.exit_code == 2
    said = told.stderr.replace("\n", " ")
    assert "is the folder of a training run, not of an evaluation; choose another folder" in said
    assert "Manifest" not in said


def test_a_fault_of_ours_is_one_line(monkeypatch):
    monkeypatch.delenv("TERSELY_TRACEBACK", raising=False)
    monkeypatch.setitem(sys.modules, "tersely.report.tables.documents", None)
    monkeypatch.setattr("tersely.flows.recipe.reward_curve.describe_rewards", lambda: 1 / 0)
    told = call("rewards")
    assert told.exit_code == 1
    assert "a fault in tersely (ZeroDivisionError: division by zero;" in told.stderr
    assert len(told.stderr.splitlines()) == 1
