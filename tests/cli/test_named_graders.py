"""A grader that a path names (``file.jsonl?grader=number``) counts wherever problems are named."""

import json
import tomllib
import warnings
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import EvalRecord, Finish, Grade, Problem
from tersely.flows.lint.pool import only_trained, read_pool
from tersely.flows.observer import QUIET
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.study.pool import make_pool
from tersely.flows.verl.launch import write_files
from tersely.lab.problems import Split, draw_problems
from tersely.tasks.problems import read_problems

TINY = Path(__file__).parents[1] / "flows" / "tiny.toml"
SMALL = ("learner.staleness=1", "learner.steps=1", "sampling.cap_tokens=48", "problems.band=[0,9]")


@pytest.fixture
def sides(tmp_path: Path) -> dict[str, Path]:
    """Files of the lab's problems, which name no grader: they are graded by ``exact``."""
    files = {}
    for split in (Split.TRAIN, Split.TEST):
        files[split.value] = tmp_path / f"{split.value}.jsonl"
        lines = [
            {"id": p.id, "prompt": p.prompt, "answer": p.answer, "difficulty": p.difficulty}
            for p in draw_problems(per_family=8, seed=0, split=split)
            if p.answer.isdigit()
        ]
        files[split.value].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return files


def settings(sides: dict[str, Path], query: str = "?grader=number") -> list[str]:
    return [*SMALL, *(f"problems.{side}={file}{query}" for side, file in sides.items())]


def call(*words: object) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CliRunner().invoke(app, [*map(str, words)])


def overrides(entries: list[str]) -> list[str]:
    return [word for entry in entries for word in ("--set", entry)]


def graders(problems: list[Problem]) -> set[str]:
    return {problem.grader for problem in problems}


def test_a_run_is_trained_reported_and_resumed_with_it(sides, tmp_path):
    run = tmp_path / "run"
    words = ("train", TINY, *overrides(settings(sides)), "--out", run)
    assert call(*words).exit_code == 0
    assert graders(list(jsonl.read(run / "problems.jsonl", Problem))) == {"number"}
    assert call("report", run).exit_code == 0
    more = call(*words, "--resume", "--set", "learner.steps=2")
    assert more.exit_code == 0, more.stderr
    other = overrides([f"problems.train={sides['train']}"])
    refused = call(*words, *other, "--resume")
    assert refused.exit_code == 2
    assert "problems.train" in refused.stderr


def records_of(file: Path, out: Path, problems: list[Problem]) -> Path:
    """An evaluation's folder of these problems, which tells no difficulty."""
    out.mkdir()
    jsonl.write(out / "problems.jsonl", problems)
    rows = [
        EvalRecord(
            run="base",
            benchmark=problem.source,
            problem=problem.id,
            sample=sample,
            grade=Grade.CORRECT if sample else Grade.WRONG,
            tokens=10 + sample,
            finish=Finish.STOP,
            cap_tokens=48,
            seed=0,
        )
        for problem in problems
        for sample in range(2)
    ]
    jsonl.write(out / "records.jsonl", rows)
    return out


def test_lint_finds_the_recipe_s_own_problems_and_says_where_the_records_were_graded_otherwise(
    sides, tmp_path
):
    recorded = [
        Problem(id=p.id, prompt=p.prompt, answer=p.answer, source=p.source)
        for p in read_problems(sides["train"])
    ]
    records = records_of(sides["train"], tmp_path / "base", recorded)
    recipe = read_recipe(TINY, overrides=settings(sides))
    whole = read_pool(records, recipe)
    assert None not in {problem.difficulty for problem in whole.problems}
    done = call("lint", TINY, "--records", records, *overrides(settings(sides)))
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert f"{len(recorded)} of them were graded by exact in the records, and the recipe" in said
    plain = read_recipe(TINY, overrides=settings(sides, ""))
    notes = only_trained(read_pool(records, plain), plain).notes
    assert not any("graded by" in note for note in notes)


def test_a_study_samples_its_pool_with_it(sides, tmp_path):
    base = tomllib.loads(TINY.read_text())
    base["problems"] = {side: f"{file}?grader=number" for side, file in sides.items()}
    pool = make_pool(base, tmp_path / "pool", tmp_path / "work", observer=QUIET)
    assert graders(read_problems(pool.file("full"))) == {"number"}
    assert graders(pool.held_out()) == {"number"}


def test_the_file_that_verl_reads_has_it(sides, tmp_path):
    recipe = read_recipe(TINY, overrides=settings(sides))
    write_files(recipe, tmp_path, *load_problems(recipe))
    for name in ("train.parquet", "test.parquet"):
        rows = pl.read_parquet(tmp_path / "verl" / name)
        assert set(rows["ability"]) == {"number"}
        assert {told["grader"] for told in rows["extra_info"]} == {"number"}


IMPORTANCE = "loss.importance_cap=2.0"
COMMANDS = {
    "train": lambda out: ("train", TINY, "--out", out),
    "train --dry-run": lambda out: ("train", TINY, "--dry-run"),
    "launch trl --dry-run": lambda out: ("launch", "trl", TINY, "--out", out, "--dry-run"),
    "launch verl --dry-run": lambda out: (
        *("launch", "verl", TINY, "--out", out, "--gpus-per-node", 1, "--dry-run"),
        *("--set", IMPORTANCE),
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?grader=numbr", "has no column 'numbr'"),
        ("?grader=number&grader=math", "grader is set twice"),
        ("?grader=gym", "not right by their own grader"),
    ],
)
def test_one_that_cannot_grade_is_refused_before_anything_is_written(
    query, said, command, sides, tmp_path
):
    done = call(*COMMANDS[command](tmp_path / "new" / "run"), *overrides(settings(sides, query)))
    assert done.exit_code == 2, done.output
    *_, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert said in last
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_dry_runs_take_it(command, sides, tmp_path):
    if "--dry-run" in command:
        done = call(*COMMANDS[command](tmp_path / "run"), *overrides(settings(sides)))
        assert done.exit_code == 0, done.stderr
        assert "?grader=number" in done.stdout


@pytest.mark.parametrize("name", ["lab?grader=number", "lab,lab"])
def test_the_lab_takes_no_grader_and_the_line_does_not_offer_the_lab(name, tmp_path):
    words = ("--model", "lab", "--samples", 1, "--cap-tokens", 8, "--out", tmp_path / "run")
    done = call("eval", "--benchmark", name, *words)
    assert done.exit_code == 2
    assert "write lab alone" in done.stderr
    assert "did you mean" not in done.stderr
