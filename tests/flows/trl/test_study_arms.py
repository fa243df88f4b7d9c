"""A study whose arms are no RL, trained by TRL's own trainers in seconds: `make test-trl`."""

import json
from collections import Counter

import pytest

pytest.importorskip("trl")

from typer.testing import CliRunner

from tersely.cli import app
from tersely.flows.study.plan import base_settings, read_study, shipped_studies, unit_of
from tersely.flows.study.pool import StudyPool
from tersely.flows.study.results import RIGHT, read_results

# What TRL and transformers say of their own next versions is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {
    "model.path": "lab-v1",
    "problems.train_limit": 96,
    "problems.test_limit": 8,
    "problems.band": [1.0, 3.0],
    "sampling.prompts_per_step": 2,
    "sampling.samples_per_prompt": 4,
    "sampling.cap_tokens": 64,
    "target.tokens": 30,
    "learner.steps": 2,
    "learner.learning_rate": 0.01,
    "evaluation.every_steps": 2,
    "evaluation.samples": 4,
    "evaluation.budgets": [16, 32, 64],
}
# The shipped study in little: what its arms spend, how long they learn, and a merge of nothing.
LITTLE = {
    "4000 L_R": "100 L_R",
    "learning_rate = 3e-4": "learning_rate = 0.01",
    "learning_rate = 1e-4": "learning_rate = 0.001",
    "learning_rate = 3e-5": "learning_rate = 0.005",
    "learning_rate = 1e-5": "learning_rate = 0.003",
    "learning_rate = 1e-3": "learning_rate = 0.02",
    "steps = 400": "steps = 2",
    "steps = 2000": "steps = 2",
    "per_device_train_batch_size = 128": "per_device_train_batch_size = 8",
    "merge = 0.25": "merge = 0.0",
    "gap = 0.333": "gap = 0.0",
}
SPENT = 100 * 64


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    file = folder / "small.toml"
    text = shipped_studies()["rl-needed"].read_text()
    for found, little in LITTLE.items():
        assert found in text
        text = text.replace(found, little)
    file.write_text(text)
    settings = [w for k, v in SMALL.items() for w in ("--set", f"{k}={json.dumps(v)}")]
    words = ["study", str(file), "--seeds", "1", "--jobs", "2", "--out", str(folder / "out")]
    done = CliRunner().invoke(app, [*words, *settings])
    assert done.exit_code == 0, done.output
    base, study = base_settings(SMALL.items()), read_study(file)
    found = read_results(folder / "out" / "results")
    by_arm = {name: found[unit_of(base, arm, seed=1).name] for name, arm in study.arms.items()}
    return folder, by_arm


def test_every_arm_has_the_base_and_itself_in_the_table_of_all_studies(judged):
    folder, results = judged
    base = results["rl"].evaluations[0]
    for name, result in results.items():
        assert [each.step for each in result.evaluations] == ([0, 2] if name == "rl" else [0, 1])
        assert result.evaluations[0] == base
        assert (list(result.steps) == ["sampled_tokens"]) is (name != "rl")
    assert not (folder / "out" / "work" / "stages").exists()
    page = (folder / "out" / "small" / "report.md").read_text()
    assert "| RL beats SFT over the whole curve | ours | above 0 pp |" in page


def test_what_was_spent_is_what_was_sampled(judged):
    _, results = judged
    spent = {name: result.steps["sampled_tokens"] for name, result in results.items()}
    assert spent["sft"] == spent["dpo"] == spent["merge_half"] == spent["merge_quarter"]
    assert abs(spent["sft"][0] / SPENT - 1) < 0.3  # by the mean lengths of eight other samples
    assert spent["told"] == spent["forced"] == [0]
    # Two steps of eight rollouts, of at most 64 tokens.
    assert 16 < spent["distil"][0] <= 2 * 8 * 64


def test_a_merge_of_weight_nothing_is_the_base_and_training_is_something(judged):
    _, results = judged
    base, kept = results["sft"].evaluations[0], results["merge_quarter"].evaluations[1]
    assert (kept.tokens, kept.right) == (base.tokens, base.right)
    ends = Counter(tuple(result.evaluations[-1].tokens) for result in results.values())
    alike = [n for n, r in results.items() if ends[tuple(r.evaluations[-1].tokens)] > 1]
    assert not alike


def test_a_forced_answer_stands_where_the_thinking_was_closed(judged):
    folder, results = judged
    before, after = results["forced"].evaluations
    assert len(before.tokens) == 8 * 4
    assert any(tokens > 30 for tokens in before.tokens)
    for base, forced in zip(before.tokens, after.tokens, strict=True):
        assert forced == base if base <= 30 else 30 < forced <= 30 + 1 + 32
    problems = StudyPool(folder / "out" / "results" / "pool").held_out()
    assert results["forced"].table(1.0, problems).correct_PS.sum() == after.right.count(str(RIGHT))
