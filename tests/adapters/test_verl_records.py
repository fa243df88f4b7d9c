"""From what verl's processes wrote to our records: the same as our own loop's of these rollouts."""

import json
from pathlib import Path

import numpy as np
import pytest

from tersely.adapters.verl import GradedLine
from tersely.core import jsonl
from tersely.core.errors import DataError
from tersely.core.types import EvalRecord, Finish, Grade, RolloutRecord, StepRecord
from tersely.flows.config import read_recipe
from tersely.flows.train import load_problems
from tersely.flows.verl_records import Transcript, read_metrics

TINY = Path(__file__).parent.parent / "flows" / "tiny.toml"
RECIPE = read_recipe(TINY, overrides=["learner.staleness=1", "sampling.samples_per_prompt=2"])


def line(step: int, problem: str, sample: int, *, grade: Grade, tokens: int) -> GradedLine:
    return GradedLine(
        step=step,
        split="train",
        uid=f"{step}-{problem}",
        sample=sample,
        problem=problem,
        grade=grade,
        extracted="1",
        tokens=tokens,
        finish=Finish.LENGTH if tokens == 48 else Finish.STOP,
        text="...",
    )


def log(step: int, **figures: float) -> bytes:
    data = {"training/global_step": step, **figures}
    return json.dumps({"step": step, "data": data}).encode() + b"\n"


@pytest.fixture
def transcript(tmp_path: Path) -> Transcript:
    (tmp_path / "verl" / "graded").mkdir(parents=True)
    training, test = load_problems(RECIPE)
    return Transcript(RECIPE, tmp_path, {p.id: p for p in training}, {p.id: p for p in test})


def graded(folder: Path, worker: str, *lines: GradedLine) -> None:
    for each in lines:
        jsonl.append(folder / "verl" / "graded" / f"{worker}.jsonl", each)


def test_a_step_becomes_a_record_once_verl_has_logged_it(
    tmp_path: Path, transcript: Transcript
) -> None:
    first, second = [p.id for p in load_problems(RECIPE)[0][:2]]
    # Two workers, a group spread over both.
    graded(tmp_path, "a", line(1, first, 1, grade=Grade.CORRECT, tokens=30))
    graded(
        tmp_path,
        "b",
        line(1, first, 0, grade=Grade.CORRECT, tokens=10),
        line(1, second, 0, grade=Grade.WRONG, tokens=48),
        line(1, second, 1, grade=Grade.CORRECT, tokens=20),
    )
    assert transcript.take(done=0) == []
    metrics = tmp_path / "verl" / "metrics-000.jsonl"
    metrics.write_bytes(
        log(1, **{"actor/entropy": 54.0, "actor/grad_norm": 0.5, "timing_s/gen": 3.0})
        + b'{"step": 2, "da'
    )
    ((record, timing),) = transcript.take(done=0)
    # L_T = 20: 10 and 20 are paid, 30 is too long. 108 tokens; verl's entropy is their sum.
    assert (record.step, record.prompts, record.rollouts) == (0, 2, 4)
    assert (record.accuracy, record.reward_mean, record.truncated_share) == (0.75, 0.5, 0.25)
    assert (record.tokens_mean, record.correct_tokens_mean, record.target_tokens) == (27, 20, 20)
    assert (record.entropy_mean, record.grad_norm) == (0.5, 0.5)
    assert np.isnan(record.learning_rate)
    assert timing.sample_s == 3.0
    assert transcript.take(done=0) == []
    assert jsonl.read(tmp_path / "steps.jsonl", StepRecord)[0].step == 0
    rollouts = jsonl.read(tmp_path / "rollouts" / "step-000000.jsonl", RolloutRecord)
    # In sample order within the group; each group's two rewards lie 1/2 from their mean, std 1/2.
    mine = [(r.sample, r.reward, r.advantage) for r in rollouts if r.problem == first]
    assert mine == [(0, 1.0, 1.0), (1, 0.0, -1.0)]


def test_steps_done_before_a_resume_are_not_taken_again(
    tmp_path: Path, transcript: Transcript
) -> None:
    first = load_problems(RECIPE)[0][0].id
    for step in (1, 2):
        graded(
            tmp_path,
            "a",
            line(step, first, 0, grade=Grade.CORRECT, tokens=10),
            line(step, first, 1, grade=Grade.WRONG, tokens=10),
        )
    (tmp_path / "verl" / "metrics-000.jsonl").write_bytes(log(1))
    (tmp_path / "verl" / "metrics-001.jsonl").write_bytes(log(2))
    assert [record.step for record, _ in transcript.take(done=1)] == [1]


def test_a_validation_becomes_an_evaluation_once_it_is_whole(
    tmp_path: Path, transcript: Transcript
) -> None:
    test = load_problems(RECIPE)[1]
    lines = [
        GradedLine(
            step=2,
            split="test",
            uid=f"u{problem.id}",
            sample=sample,
            problem=problem.id,
            grade=Grade.CORRECT,
            extracted="1",
            tokens=7,
            finish=Finish.STOP,
            text="...",
        )
        for problem in test
        for sample in range(2)
    ]
    graded(tmp_path, "a", *lines[:-1])
    assert transcript.take_evaluations() == []
    graded(tmp_path, "b", lines[-1])
    ((step, records),) = transcript.take_evaluations()
    assert (step, len(records)) == (2, 16)
    written = jsonl.read(tmp_path / "eval" / "step-000002.jsonl", EvalRecord)
    assert written == records
    assert {r.benchmark for r in records} == {problem.source for problem in test}


def test_a_problem_that_the_recipe_does_not_have_is_refused(
    tmp_path: Path, transcript: Transcript
) -> None:
    graded(tmp_path, "a", line(1, "nobody's", 0, grade=Grade.WRONG, tokens=3))
    (tmp_path / "verl" / "metrics-000.jsonl").write_bytes(log(1))
    with pytest.raises(DataError, match='trained on problem "nobody\'s"'):
        transcript.take(done=0)


def test_a_log_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"loss": 1}\n')
    with pytest.raises(DataError, match="no step of verl's"):
        read_metrics(file)
    # A line of an evaluation alone is none of a step.
    file.write_text('{"step": 0, "data": {"val-core/acc": 0.5}}\n')
    assert read_metrics(file) == {}
