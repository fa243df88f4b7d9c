"""Arms that are no RL, as far as they need no trainer; training them is in tests/flows/trl."""

import json
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import extras
from tersely.core.errors import ConfigError
from tersely.core.types import Problem
from tersely.flows.recipe.recipe import check_recipe
from tersely.flows.study.offline import make_once, sample_count
from tersely.flows.study.plan import base_settings
from tersely.flows.study.results import read_results
from tersely.flows.trl import offline

STUDY = """
title = "Small"
question = "Does anything happen?"
paper = "ours"
arms.told = { says = "told", method = { name = "none", told = ":" } }
arms.forced = { says = "forced", method = { name = "none", forced = "0.5 L_T" } }
arms.sft = { says = "trained", method = { name = "sft" } }

[[claims]]
says = "told, it is shorter"
paper = "ours"
statistic = "tokens"
of = { arm = "told" }
against = { arm = "told", moment = 0.0 }
relative = true
below = 0.0
"""


def problem(name: str, tokens: float | None) -> Problem:
    return Problem(id=name, prompt="?", answer="1", source="s", reference_tokens=tokens)


def test_all_samples_together_spend_what_the_recipe_says() -> None:
    pool = [problem("a", 30.0), problem("b", 50.0), problem("c", None)]
    recipe = check_recipe(base_settings([("learner.rollout_tokens", 1000)]))
    # 80 tokens a sample of each: 12.5 of them, and numpy's and Python's rule is to the even one.
    assert sample_count(recipe, pool) == 12
    assert sample_count(check_recipe(base_settings()), pool) == 8
    few = check_recipe(base_settings([("learner.rollout_tokens", 100)]))
    with pytest.raises(ConfigError, match="100 is less than two samples of each of 3 problems"):
        sample_count(few, [replace(each, reference_tokens=60.0) for each in pool])


def test_what_is_shared_is_made_once_and_again_only_after_a_failure(tmp_path: Path) -> None:
    calls: list[str] = []

    def make(out: Path) -> None:
        out.mkdir()
        calls.append(out.name)
        if len(calls) == 1:
            raise RuntimeError("killed")
        (out / "whole").touch()

    with pytest.raises(RuntimeError):
        make_once(tmp_path / "stages", make, "a", 1)
    first, second = (make_once(tmp_path / "stages", make, "a", 1) for _ in range(2))
    assert first == second
    assert (first / "whole").is_file()
    assert len(calls) == 2
    assert make_once(tmp_path / "stages", make, "a", 2) != first


@pytest.mark.skipif(
    find_spec("trl") is not None, reason="says what an environment without TRL does"
)
@pytest.mark.usefixtures("forked_workers")
def test_without_trl_what_needs_it_is_named_and_all_else_is_judged(
    small_set: dict[str, object], tmp_path: Path
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(STUDY)
    given = {**small_set, "learner.rollout_tokens": 4000}
    settings = [w for k, v in given.items() for w in ("--set", f"{k}={json.dumps(v)}")]
    words = ["study", str(file), "--seeds", "1", "--jobs", "2", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, *settings])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert 'could not be trained: method.name = "sft" needs trl, which is not installed' in said
    assert "told, it is shorter" in said
    results = read_results(tmp_path / "out" / "results").values()
    assert len(results) == 2
    for result in results:
        assert result.steps == {"sampled_tokens": [0.0]}
        assert len(result.evaluations[1].tokens) == 8 * 4
    # The samples that SFT would learn from are kept for the command that goes on.
    assert list((tmp_path / "out" / "work" / "stages").glob("*/samples"))


def test_a_setting_that_trl_has_not_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class SFTConfig:
        num_train_epochs: int = 1

    monkeypatch.setattr(extras, "first_absent", lambda *_: None)
    monkeypatch.setattr(offline, "_classes", lambda _: (SFTConfig, None))
    file = tmp_path / "small.toml"
    method = 'method = { name = "sft" }'
    odd = f"{method}, set = {{ trl = {{ num_train_epoch = 3 }} }}"
    file.write_text(STUDY.replace(method, odd))
    words = ["study", str(file), "--dry-run", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--set", "learner.rollout_tokens=4000"])
    assert done.exit_code == 2, done.output
    said = "arms.sft.set.trl.num_train_epoch = 3 is no setting of TRL's SFTConfig; did you mean"
    assert said in done.stderr.replace("\n", " ")
