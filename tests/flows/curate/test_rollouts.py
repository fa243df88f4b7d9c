"""A run's rollouts are samples to choose from."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import EvalRecord, Finish, Grade, RolloutRecord

TINY = Path(__file__).parents[1] / "tiny.toml"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    # Every problem is sampled in both steps.
    settings = (
        "problems.train_limit=4",
        "learner.steps=2",
        "evaluation.every_steps=2",
        "model.cpu_threads=1",
    )
    words = [w for setting in settings for w in ("--set", setting)]
    done = CliRunner().invoke(app, ["train", str(TINY), "--out", str(folder), *words])
    assert done.exit_code == 0, done.output
    return folder


def curate(run, out, *words):
    given = ["curate", "--records", str(run), "--out", str(out), "--select", "full", *words]
    return CliRunner().invoke(app, given)


def test_the_shortest_right_rollouts_of_all_steps_are_written(run, tmp_path):
    done = curate(run, tmp_path / "out", "--write", "sft")
    assert done.exit_code == 0, done.output
    rollouts = [
        rollout
        for file in sorted((run / "rollouts").iterdir())
        for rollout in jsonl.read(file, RolloutRecord)
    ]
    assert len({rollout.step for rollout in rollouts}) == 2
    wanted = {}
    for each in rollouts:
        if each.grade is Grade.CORRECT and each.finish is Finish.STOP:
            best = wanted.get(each.problem)
            if best is None or each.tokens < best.tokens:
                wanted[each.problem] = each
    lines = (tmp_path / "out" / "full" / "sft.trl.jsonl").read_text().splitlines()
    found = {row["id"]: row for row in map(json.loads, lines)}
    assert found.keys() == wanted.keys()
    for name, each in wanted.items():
        assert found[name]["completion"][0]["content"] == each.text
        assert found[name]["tokens"] == each.tokens
    card = (tmp_path / "out" / "full" / "README.md").read_text()
    assert f"| model | the policies of {run} |" in card
    records = jsonl.read(tmp_path / "out" / "rollouts" / "records.jsonl", EvalRecord)
    numbered = Counter((record.problem, record.sample) for record in records)
    assert max(numbered.values()) == 1
    assert len(records) == len(rollouts)


def test_a_run_whose_problems_are_gone_is_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("seed = ", "seed = 1", 1))
    done = curate(tmp_path / "run", tmp_path / "out")
    assert done.exit_code == 2
    assert "does not hold any more" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_a_run_whose_prompts_state_budgets_is_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    fixed = 'name = "fixed"\ntokens = 20\n'
    stated = 'name = "prompt_budget"\nlow_tokens = 10\nhigh_tokens = 40\n'
    assert fixed in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(fixed, stated))
    done = curate(tmp_path / "run", tmp_path / "out", "--write", "sft")
    assert done.exit_code == 2
    assert "a budget in each prompt (target prompt_budget)" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()
