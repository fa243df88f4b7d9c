"""Credit in whole training runs: a share of one is no credit at all, to the byte."""

from pathlib import Path

import pytest

from tersely.core import jsonl
from tersely.core.types import StepRecord
from tersely.flows.observer import QUIET
from tersely.flows.recipe.recipe import Recipe, check_recipe
from tersely.flows.train.loop import train


def recipe_of(**changes: object) -> Recipe:
    return check_recipe(
        {
            "model": {"path": "lab-v1", "cpu_threads": 1},
            "problems": {"band": [1, 2], "train_limit": 20, "test_limit": 2},
            "sampling": {"prompts_per_step": 4, "samples_per_prompt": 8, "cap_tokens": 100},
            "reward": {"name": "correctness"},
            "learner": {"steps": 2, "learning_rate": 1e-3},
            "evaluation": {"every_steps": 100, "samples": 1, "budgets": [100]},
            "checkpoint": {"every_steps": 1},
            **changes,
        }
    )


def run(folder: Path, recipe: Recipe) -> dict[str, bytes]:
    """What a run left but for its recipe, its clocks and what reports the machine."""
    folder = folder / "run"  # its name stands in the records
    train(recipe, folder, resume=False, observer=QUIET)
    other = {"timings.jsonl", "manifest.json", "recipe.toml"}
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in other
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "learner": {"steps": 2, "learning_rate": 1e-3, "staleness": 2},
            "loss": {"importance_cap": 2.0, "aggregation": "sequence_mean", "name": "cispo"},
        },
    ],
    ids=["plain", "stale"],
)
def test_a_share_of_one_leaves_the_same_bytes_and_another_share_others(
    changes: dict[str, object], tmp_path: Path
) -> None:
    plain = run(tmp_path / "plain", recipe_of(**changes))
    one = {"name": "after_right", "share": 1.0}
    whole = run(tmp_path / "whole", recipe_of(**changes, credit=one))
    assert whole.keys() == plain.keys()
    assert [name for name in plain if whole[name] != plain[name]] == []
    lowered = run(tmp_path / "lowered", recipe_of(**changes, credit={**one, "share": -1.0}))
    first = {
        name: next(iter(jsonl.read(tmp_path / name / "run" / "steps.jsonl", StepRecord)))
        for name in ("plain", "lowered")
    }
    # The same rollouts are sampled, and learned from otherwise.
    assert first["lowered"].tokens_mean == first["plain"].tokens_mean
    assert first["lowered"].update_tokens == first["plain"].update_tokens
    assert first["lowered"].grad_norm != first["plain"].grad_norm
    weights = [name for name in plain if name.endswith(".safetensors")]
    assert weights
    assert any(lowered[name] != plain[name] for name in weights)
