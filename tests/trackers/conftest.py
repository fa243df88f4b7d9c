"""A run folder as it is while a run goes on, made of records alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tersely.core import jsonl
from tersely.core.manifest import Facts, ModelFiles, RunManifest, write_manifest
from tersely.core.types import AlarmRecord, EvalRecord, Finish, Grade, StepRecord
from tersely.flows.recipe.recipe import as_toml, read_recipe

TINY = Path(__file__).parents[1] / "flows" / "tiny.toml"
COUNTS = {
    "prompts": 4,
    "rollouts": 16,
    "cap_tokens": 48,
    "sampled_tokens": 9,
    "update_tokens": 9,
    "dropped_groups": 0,
    "refill_rounds": 0,
}


def step_of(step: int, **figures: float) -> StepRecord:
    names = [n for n in StepRecord.__slots__ if n not in ("step", *COUNTS)]
    known = {"accuracy": 0.5 + step / 100, "tokens_mean": 30.0 - step, **figures}
    return StepRecord(step=step, **COUNTS, **{n: known.get(n, float("nan")) for n in names})


def sample_of(problem: int, *, tokens: int, right: bool) -> EvalRecord:
    return EvalRecord(
        run="run",
        benchmark="sums",
        problem=str(problem),
        sample=0,
        grade=Grade.CORRECT if right else Grade.WRONG,
        tokens=tokens,
        finish=Finish.STOP,
        cap_tokens=48,
        seed=0,
    )


def alarm_of(step: int, name: str = "length_collapse") -> AlarmRecord:
    return AlarmRecord(
        step=step, name=name, severity="error", evidence="length fell", reason="why", advice="stop"
    )


class RunInTheMaking:
    """Adds to a run folder what a run adds."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        (folder / "eval").mkdir(parents=True)
        recipe = read_recipe(TINY, overrides=overrides)
        (folder / "recipe.toml").write_text(as_toml(recipe), encoding="utf-8")
        write_manifest(
            folder,
            RunManifest(
                files=ModelFiles(model_digest="m"),
                training_problems_digest="t",
                test_problems_digest="h",
                facts=Facts(seed=0, tersely="0.1.0", python="3.11"),
                recipes=("",),
            ),
        )

    def evaluate(self, step: int, *, right: int) -> None:
        """Eight problems, of which the first so many are right within 10 tokens."""
        records = [sample_of(p, tokens=10 if p < right else 40, right=p < right) for p in range(8)]
        jsonl.write(self.folder / "eval" / f"step-{step:06d}.jsonl", records)

    def step(self, step: int, **figures: float) -> None:
        jsonl.append(self.folder / "steps.jsonl", step_of(step, **figures))

    def alarm(self, step: int, name: str = "length_collapse") -> None:
        jsonl.append(self.folder / "alarms.jsonl", alarm_of(step, name))

    def report(self) -> None:
        (self.folder / "report.html").write_text("<p>report</p>", encoding="utf-8")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunInTheMaking]:
    def make(*overrides: str, name: str = "run") -> RunInTheMaking:
        return RunInTheMaking(tmp_path / name, *overrides)

    return make
