"""The study of a small real model, with the first lab's model in its place: file, runs, page."""

import json
import runpy
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import Grade, Problem
from tersely.flows.study.plan import arm_settings, base_settings, read_study
from tersely.flows.study.pool import StudyPool
from tersely.lab.problems import Split, draw_problems
from tersely.tasks.grading import grade
from tersely.tasks.problems import read_problems

STUDY = Path(__file__).parents[3] / "examples" / "smollm2" / "study.toml"
TRAINED, UNTRAINED = ("basic_arithmetic", "products"), "chain_sum"
TINY = {
    "model.path": "lab-v1",
    "model.cpu_threads": 1,
    "problems.train_limit": 96,
    "sampling.prompts_per_step": 2,
    "sampling.samples_per_prompt": 4,
    "sampling.cap_tokens": 64,
    "target.tokens": 16,
    "learner.steps": 4,
    "evaluation.every_steps": 1,
    "evaluation.samples": 2,
    "evaluation.budgets": [8, 16, 64],
}


def without_sft(text: str) -> str:
    """The study without the arm that TRL trains, and without what is claimed of it."""
    return "\n\n".join(part for part in text.split("\n\n") if '"sft"' not in part)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, forked_workers: None) -> Path:
    """The study's folder after four steps of every arm."""
    folder = tmp_path_factory.mktemp("smollm2")
    names = {"chains": TRAINED[0], "rows": TRAINED[1]}
    drawn = draw_problems(per_family=48, seed=0, split=Split.TRAIN, levels=[1, 2, 3])
    train = [replace(problem, source=names[problem.source]) for problem in drawn]
    held_out = draw_problems(per_family=6, seed=0, split=Split.TEST, levels=[1, 2])
    test = [
        replace(problem, source=UNTRAINED if number % 3 == 2 else names[problem.source])
        for number, problem in enumerate(held_out)
    ]
    jsonl.write(folder / "train.jsonl", train)
    jsonl.write(folder / "test.jsonl", test)
    file = folder / "smollm2.toml"
    file.write_text(without_sft(STUDY.read_text(encoding="utf-8")), encoding="utf-8")
    files = {
        "problems.train": str(folder / "train.jsonl"),
        "problems.test": str(folder / "test.jsonl"),
    }
    settings = [w for k, v in (TINY | files).items() for w in ("--set", f"{k}={json.dumps(v)}")]
    words = ["study", str(file), "--seeds", "1", "--jobs", "1", "--out", str(folder / "out")]
    done = CliRunner().invoke(app, [*words, *settings])
    assert done.exit_code == 0, done.output
    return folder / "out"


def test_every_arm_is_a_recipe_and_only_sft_is_trl_s() -> None:
    study = read_study(STUDY)
    base = base_settings(own=study.base)
    for arm in study.arms.values():
        settings = arm_settings(base, arm)
        assert settings["model"]["path"] == "models/smollm2-135m-instruct"
        assert settings["learner"]["steps"] >= 150
        assert max(settings["evaluation"]["budgets"]) == settings["sampling"]["cap_tokens"]
    assert [name for name, arm in study.arms.items() if arm.method] == ["sft"]
    left = tomllib.loads(without_sft(STUDY.read_text(encoding="utf-8")))
    assert [*left["arms"]] == ["truncation", "kimi", "correctness"]
    assert len(study.claims) - len(left["claims"]) == 2


def test_worked_answers_are_right_and_no_held_out_question_is_trained_on(tmp_path: Path) -> None:
    reasoning_gym = pytest.importorskip("reasoning_gym")
    worked = runpy.run_path(str(STUDY.with_name("worked.py")))
    for name, settings, _ in worked["TASKS"]:
        for entry in reasoning_gym.create_dataset(name, seed=7, size=100, **settings):
            asked = Problem(id="q", prompt="", answer=entry["answer"], source=name, grader="number")
            assert grade(asked, worked["work"](entry["question"])).grade is Grade.CORRECT
    worked["write_study"](tmp_path)
    train, test = (read_problems(tmp_path / worked[name]) for name in ("TRAIN_FILE", "TEST_FILE"))
    assert not {p.prompt for p in train} & {p.prompt for p in test}
    assert {p.source for p in train} == set(TRAINED)
    assert {p.source for p in test} == {*TRAINED, UNTRAINED}
    assert all(len(p.earlier) == 4 for p in (*train, *test))


def test_every_claim_finds_its_figure(judged: Path) -> None:
    (study,) = json.loads((judged / "smollm2" / "report.json").read_text())["studies"]
    assert (study["runs_done"], study["runs_wanted"]) == (3, 3)
    # Four steps have no stages.
    for claim in study["claims"]:
        if "length adaptation ends" in claim["says"]:
            continue
        assert claim["effect"]["n_seeds"] == 1, claim["says"]
        assert claim["effect"]["estimate"] is not None, claim["says"]


def test_prompts_that_the_base_never_solved_are_not_trained_on(judged: Path) -> None:
    pool = StudyPool(judged / "results" / "pool")
    kept = jsonl.read(pool.file("solvable"), type(pool.held_out()[0]))
    assert 0 < len(kept) <= 96
    assert all(problem.difficulty < 1 for problem in kept)
    assert {problem.source for problem in kept} == set(TRAINED)


def test_the_report_has_curves_budgets_and_answers_of_every_source(judged: Path) -> None:
    markdown = (judged / "smollm2" / "report.md").read_text()
    page = (judged / "smollm2" / "report.html").read_text()
    assert {path.name for path in (judged / "smollm2" / "png").iterdir()} == {
        "smollm2-effects.png",
        "smollm2-curves.png",
        "smollm2-budgets.png",
        "smollm2-doses.png",
    }
    for source in (*TRAINED, UNTRAINED):
        assert markdown.count(f"A held-out problem of {source}:") == 1
        assert f"<h3>{source}</h3>" in page
    for head in ("base model", "truncation", "kimi", "correctness"):
        assert markdown.count(f"\n{head}, ") == 3
