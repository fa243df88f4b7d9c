"""A study whose arms are no RL, trained by TRL's own trainers in seconds: `make test-trl`."""

import json

import pytest

pytest.importorskip("trl")

from typer.testing import CliRunner

from tersely.cli import app
from tersely.flows.study.plan import base_settings, read_study, unit_of
from tersely.flows.study.pool import StudyPool
from tersely.flows.study.results import RIGHT, read_results

# What TRL and transformers say of their own next versions is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {
    "problems.train_limit": 96,
    "problems.test_limit": 8,
    "problems.band": [1.0, 3.0],
    "sampling.prompts_per_step": 2,
    "sampling.samples_per_prompt": 4,
    "sampling.cap_tokens": 64,
    "learner.steps": 2,
    "learner.learning_rate": 0.01,
    "learner.rollout_tokens": 6000,
    "evaluation.every_steps": 2,
    "evaluation.samples": 4,
    "evaluation.budgets": [16, 32, 64],
    "trl.max_steps": 2,
    "trl.per_device_train_batch_size": 8,
}
STUDY = """
title = "Small"
question = "Does anything happen?"
paper = "ours"
arms.sft = { says = "shortest right", method = { name = "sft" } }
arms.kept = { says = "of which nothing is taken", method = { name = "sft", merge = 0.0 } }
arms.half = { says = "of which half is taken", method = { name = "sft", merge = 0.5 } }
arms.dpo = { says = "pairs", method = { name = "dpo", gap = 0.0 } }
arms.distil = { says = "towards itself", method = { name = "distil", told = ":" } }
arms.told = { says = "told", method = { name = "none", told = ":" } }
arms.forced = { says = "forced", method = { name = "none", forced = 12 } }

[[claims]]
says = "half the weights are not all"
paper = "ours"
statistic = "accuracy"
of = { arm = "half" }
against = { arm = "sft" }
within = 0.1

[[claims]]
says = "both spent the same"
paper = "ours"
statistic = "spent"
of = { arm = "dpo" }
against = { arm = "sft" }
relative = true
within = 0.01
"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    file = folder / "small.toml"
    file.write_text(STUDY)
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
    for result in results.values():
        assert [each.step for each in result.evaluations] == [0, 1]
        assert result.evaluations[0] == results["sft"].evaluations[0]
        assert list(result.steps) == ["sampled_tokens"]
    assert not (folder / "out" / "work" / "stages").exists()


def test_what_was_spent_is_what_was_sampled(judged):
    _, results = judged
    spent = {name: result.steps["sampled_tokens"][0] for name, result in results.items()}
    assert spent["sft"] == spent["dpo"] == spent["half"] == spent["kept"]
    assert abs(spent["sft"] / 6000 - 1) < 0.3  # by the mean lengths of eight other samples
    assert spent["told"] == spent["forced"] == 0
    # Two steps of eight rollouts, of at most 64 tokens.
    assert 16 < spent["distil"] <= 2 * 8 * 64


def test_a_merge_of_weight_nothing_is_the_base_and_training_is_something(judged):
    _, results = judged
    base = results["sft"].evaluations[0]
    kept = results["kept"].evaluations[1]
    assert (kept.tokens, kept.right) == (base.tokens, base.right)
    assert len({tuple(r.evaluations[1].tokens) for r in results.values()}) == len(results)


def test_a_forced_answer_stands_where_the_thinking_was_closed(judged):
    folder, results = judged
    before, after = results["forced"].evaluations
    assert len(before.tokens) == 8 * 4
    for base, forced in zip(before.tokens, after.tokens, strict=True):
        assert forced == base if base <= 12 else 12 < forced <= 12 + 1 + 32
    problems = StudyPool(folder / "out" / "results" / "pool").held_out()
    assert results["forced"].table(1.0, problems).correct_PS.sum() == after.right.count(str(RIGHT))
