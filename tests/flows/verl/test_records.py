"""From what verl's processes wrote to our records: the same as our own loop's of these rollouts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tersely.core import jsonl
from tersely.core.errors import DataError
from tersely.core.types import EvalRecord, Finish, Grade, RolloutRecord, StepRecord
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe, read_recipe
from tersely.flows.verl.estimator import GradedLine, JudgedLine
from tersely.flows.verl.records import Transcript, read_metrics

TINY = Path(__file__).parents[1] / "tiny.toml"
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


def start(
    folder: Path, *, recipe: Recipe = RECIPE, attempt: str = "000", done: int = 0
) -> Transcript:
    """What reads one start of verl."""
    for name in ("graded", "judged"):
        (folder / "verl" / name).mkdir(parents=True, exist_ok=True)
    training, test = load_problems(recipe)
    by_id = [{p.id: p for p in side} for side in (training, test)]
    return Transcript(recipe, folder, *by_id, attempt=attempt, done=done)


@pytest.fixture
def transcript(tmp_path: Path) -> Transcript:
    return start(tmp_path)


def graded(folder: Path, worker: str, *lines: GradedLine) -> None:
    for each in lines:
        jsonl.append(folder / "verl" / "graded" / f"{worker}.jsonl", each)


def judged(folder: Path, *uids: str, attempt: str = "000") -> None:
    jsonl.append(folder / "verl" / "judged" / f"{attempt}-x.jsonl", JudgedLine(uids=uids))


def test_a_step_becomes_a_record_once_verl_has_logged_it(
    tmp_path: Path, transcript: Transcript
) -> None:
    first, second = [p.id for p in load_problems(RECIPE)[0][:2]]
    # Two workers, a group spread over both.
    graded(tmp_path, "000-a", line(1, first, 1, grade=Grade.CORRECT, tokens=30))
    graded(
        tmp_path,
        "000-b",
        line(1, first, 0, grade=Grade.CORRECT, tokens=10),
        line(1, second, 0, grade=Grade.WRONG, tokens=48),
        line(1, second, 1, grade=Grade.CORRECT, tokens=20),
    )
    judged(tmp_path, f"1-{first}", f"1-{second}", f"1-{second}", f"1-{first}")
    assert transcript.take() == []
    metrics = tmp_path / "verl" / "metrics-000.jsonl"
    metrics.write_bytes(
        log(1, **{"actor/entropy": 54.0, "actor/grad_norm": 0.5, "timing_s/gen": 3.0})
        + b'{"step": 2, "da'
    )
    ((record, timing),) = transcript.take()
    # L_T = 20: 10 and 20 are paid, 30 is too long. 108 tokens; verl's entropy is their sum.
    assert (record.step, record.prompts, record.rollouts) == (0, 2, 4)
    assert (record.accuracy, record.reward_mean, record.truncated_share) == (0.75, 0.5, 0.25)
    assert (record.tokens_mean, record.correct_tokens_mean, record.target_tokens) == (27, 20, 20)
    assert (record.entropy_mean, record.grad_norm) == (0.5, 0.5)
    assert np.isnan(record.learning_rate)
    assert timing.sample_s == 3.0
    assert transcript.take() == []
    assert jsonl.read(tmp_path / "steps.jsonl", StepRecord)[0].step == 0
    rollouts = jsonl.read(tmp_path / "rollouts" / "step-000000.jsonl.zst", RolloutRecord)
    # In sample order within the group; each group's two rewards lie 1/2 from their mean, std 1/2.
    mine = [(r.sample, r.reward, r.advantage) for r in rollouts if r.problem == first]
    assert mine == [(0, 1.0, 1.0), (1, 0.0, -1.0)]


def test_the_record_s_target_is_what_the_step_was_shaped_by(tmp_path: Path) -> None:
    quantile = "target={name='group_quantile',start_tokens=40,share=0.5}"
    recipe = read_recipe(
        TINY, overrides=["learner.staleness=1", "sampling.samples_per_prompt=2", quantile]
    )
    transcript = start(tmp_path, recipe=recipe)
    first, second = [p.id for p in load_problems(recipe)[0][:2]]
    graded(
        tmp_path,
        "000-a",
        line(1, first, 0, grade=Grade.CORRECT, tokens=10),
        line(1, first, 1, grade=Grade.CORRECT, tokens=20),
        line(1, second, 0, grade=Grade.WRONG, tokens=48),
        line(1, second, 1, grade=Grade.CORRECT, tokens=30),
    )
    judged(tmp_path, *(f"1-{first}",) * 2, *(f"1-{second}",) * 2)
    (tmp_path / "verl" / "metrics-000.jsonl").write_bytes(log(1))
    ((record, _),) = transcript.take()
    # The medians of the right lengths: 15 of 10 and 20, and 30; without them no step is overlong.
    assert record.target_tokens == 22.5
    assert record.tokens_mean == 27


def step_of(folder: Path, step: int, grade: Grade, *, attempt: str, tokens: int = 10) -> None:
    """A step of one group, graded, judged and logged."""
    first = load_problems(RECIPE)[0][0].id
    lines = [line(step, first, sample, grade=grade, tokens=tokens) for sample in (0, 1)]
    uid = f"{attempt}-{step}"
    graded(folder, f"{attempt}-a", *(replace(each, uid=uid) for each in lines))
    judged(folder, uid, uid, attempt=attempt)
    with (folder / "verl" / f"metrics-{attempt}.jsonl").open("ab") as file:
        file.write(log(step))


def test_a_start_does_not_read_what_an_earlier_one_did_beyond_its_checkpoint(
    tmp_path: Path, transcript: Transcript
) -> None:
    for step in (1, 2, 3):
        step_of(tmp_path, step, Grade.WRONG, attempt="000")
    assert [record.step for record, _ in transcript.take()] == [0, 1, 2]
    # Killed after step 3 with a checkpoint at 1: steps 2 and 3 are made again.
    again = start(tmp_path, attempt="001", done=1)
    assert again.take() == []
    for step in (2, 3):
        step_of(tmp_path, step, Grade.CORRECT, attempt="001")
    assert [(r.step, r.accuracy, r.rollouts) for r, _ in again.take()] == [(1, 1.0, 2), (2, 1.0, 2)]


def test_what_was_graded_and_never_trained_on_is_in_no_record(
    tmp_path: Path, transcript: Transcript
) -> None:
    first = load_problems(RECIPE)[0][0].id
    surplus = line(1, first, 0, grade=Grade.WRONG, tokens=40)
    graded(tmp_path, "000-b", replace(surplus, uid="never seen"))
    step_of(tmp_path, 1, Grade.CORRECT, attempt="000")
    ((record, _),) = transcript.take()
    assert (record.rollouts, record.tokens_mean) == (2, 10)


def test_a_fully_asynchronous_step_is_as_many_calls_as_it_has_updates(tmp_path: Path) -> None:
    recipe = read_recipe(
        TINY,
        overrides=["sampling.samples_per_prompt=2", "verl.trainer.v1.trainer_mode=separate_async"],
    )
    transcript = start(tmp_path, recipe=recipe)
    first, second = [p.id for p in load_problems(recipe)[0][:2]]
    for name in (first, second):
        lines = [line(9, name, sample, grade=Grade.CORRECT, tokens=10) for sample in (0, 1)]
        graded(tmp_path, "000-a", *lines)
        judged(tmp_path, f"9-{name}", f"9-{name}")
    # Mean of two calls, each a sum over 20 tokens: (8 + 12) / 2.
    (tmp_path / "verl" / "metrics-000.jsonl").write_bytes(log(1, **{"actor/entropy": 10.0}))
    ((record, _),) = transcript.take()
    assert (record.prompts, record.rollouts, record.entropy_mean) == (2, 4, 0.5)


def validation(*, tokens: int = 7) -> list[GradedLine]:
    """A whole validation after two steps."""
    return [
        GradedLine(
            step=2,
            split="test",
            uid=f"u{problem.id}",
            sample=sample,
            problem=problem.id,
            grade=Grade.CORRECT,
            extracted="1",
            tokens=tokens,
            finish=Finish.STOP,
            text="...",
        )
        for problem in load_problems(RECIPE)[1]
        for sample in range(2)
    ]


def test_a_validation_becomes_an_evaluation_once_it_is_whole(
    tmp_path: Path, transcript: Transcript
) -> None:
    test = load_problems(RECIPE)[1]
    lines = validation()
    graded(tmp_path, "000-a", *lines[:-1])
    assert transcript.take_evaluations() == []
    graded(tmp_path, "000-b", lines[-1])
    ((step, records),) = transcript.take_evaluations()
    assert (step, len(records)) == (2, 16)
    # One whose rollout failed is over when verl goes on.
    graded(tmp_path, "000-a", *(replace(each, step=4) for each in lines[1:]))
    assert transcript.take_evaluations() == []
    (tmp_path / "verl" / "metrics-000.jsonl").write_bytes(log(5))
    assert [(s, len(r)) for s, r in transcript.take_evaluations()] == [(4, 15)]
    written = jsonl.read(tmp_path / "eval" / "step-000002.jsonl", EvalRecord)
    assert written == records
    assert {r.benchmark for r in records} == {problem.source for problem in test}


def test_a_validation_is_not_mixed_with_what_an_earlier_start_made_of_it(
    tmp_path: Path, transcript: Transcript
) -> None:
    graded(tmp_path, "000-a", *validation(tokens=9)[:-1])
    again = start(tmp_path, attempt="001", done=1)
    graded(tmp_path, "001-a", *validation())
    ((step, records),) = again.take_evaluations()
    assert (step, len(records), {record.tokens for record in records}) == (2, 16, {7})


def test_a_problem_that_the_recipe_does_not_have_is_refused(
    tmp_path: Path, transcript: Transcript
) -> None:
    graded(tmp_path, "000-a", line(1, "nobody's", 0, grade=Grade.WRONG, tokens=3))
    judged(tmp_path, "1-nobody's")
    (tmp_path / "verl" / "metrics-000.jsonl").write_bytes(log(1))
    with pytest.raises(DataError, match='trained on problem "nobody\'s"'):
        transcript.take()


def test_a_log_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"loss": 1}\n')
    with pytest.raises(DataError, match="no step of verl's"):
        read_metrics(file)
    # A line of an evaluation alone is none of a step.
    file.write_text('{"step": 0, "data": {"val-core/acc": 0.5}}\n')
    assert read_metrics(file) == {}
