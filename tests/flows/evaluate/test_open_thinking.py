"""A chat template that ends in ``<think>``: before ``</think>`` nothing is an answer, anywhere."""

import json
import shutil
from pathlib import Path

import pytest

from tersely.core import jsonl
from tersely.core.forcing import ForcedRecord
from tersely.core.types import (
    Completion,
    EvalRecord,
    Finish,
    Grade,
    RolloutRecord,
    SamplingSpec,
    StepRecord,
)
from tersely.engines.models import lab_folder
from tersely.flows.evaluate.open_thinking import begun
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.session import run_evaluation
from tersely.flows.lint.pool import read_pool
from tersely.flows.observer import QUIET
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.train.loop import train
from tersely.lab.problems import FAMILIES, Split, draw_problems
from tersely.metrics.budgets import Protocol

TURN = "{% for m in messages %}<user>{{ m['content'] }}{% endfor %}"
BEGUN = "{% if add_generation_prompt %}<assistant>TAIL{% endif %}"
TAILS = {"opened": "<think>", "spaced": "<think>\n", "closed": "<think></think>", "plain": ""}
HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["opened", "spaced"])
def opening(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_with(request.param, tmp_path_factory.mktemp("models"))


def model_with(tail: str, folder: Path) -> Path:
    """The first lab's model under a chat template of this kind."""
    made = folder / tail
    shutil.copytree(lab_folder("lab-v1"), made)
    template = TURN + BEGUN.replace("TAIL", TAILS[tail])
    (made / "chat_template.jinja").write_text(template, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums for the grader that takes a text's last number, as it stands in unfinished thinking."""
    file = tmp_path_factory.mktemp("sums") / "sums.jsonl"
    drawn = draw_problems(per_family=60 // len(FAMILIES), seed=0, split=Split.TEST)
    rows = [
        {"id": p.id, "prompt": p.prompt, "answer": p.answer, "grader": "number", "difficulty": 1}
        for p in drawn
        if p.answer.lstrip("-").isdigit()
    ]
    assert len(rows) >= 8
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def evaluated(model: Path, sums: Path, out: Path, protocol: Protocol) -> list[EvalRecord]:
    plan = Plan(
        model=str(model),
        benchmark=str(sums),
        out=out,
        spec=SamplingSpec(samples=4, cap_tokens=40, seed=0),
        budgets=(1, 5, 10, 20, 40),
        protocol=protocol,
        allowance_tokens=4,
    )
    run_evaluation(plan, observer=QUIET)
    return jsonl.read(out / "records.jsonl", EvalRecord)


def test_a_cut_completion_that_never_closed_its_thinking_has_no_answer(
    opening: Path, sums: Path, tmp_path: Path
) -> None:
    records = evaluated(opening, sums, tmp_path / "run", Protocol.ANSWERED)
    never = [r for r in records if "</think>" not in (r.text or "")]
    assert len(never) >= 8
    assert {r.grade for r in never} == {Grade.UNPARSED}
    assert {r.extracted for r in never} == {None}
    assert {r.answer_tokens for r in never} == {None}
    assert [r.thinking_tokens for r in never] == [r.tokens for r in never]
    for record in records:
        if record.pieces is not None and record not in never:
            count = record.thinking_tokens or 0
            assert "</think>" in "".join(record.pieces[:count])
            assert "</think>" not in "".join(record.pieces[: count - 1])
    # What is stored is what was sampled.
    assert not any((r.text or "").startswith("<think>") for r in records)
    assert any(r.grade is Grade.CORRECT for r in records)


def test_a_served_sample_is_all_thinking_once_it_is_known_that_it_began_there() -> None:
    def said(text: str, thinking_tokens: int | None, *, is_open: bool = False) -> Completion:
        return Completion(
            problem_id="a",
            sample=0,
            text=text,
            tokens=9,
            finish=Finish.STOP,
            thinking_open=is_open,
            thinking_tokens=thinking_tokens,
        )

    assert begun(said("4", None), thinking_open=True).thinking_tokens == 9
    assert begun(said("5</think>4", 6), thinking_open=True).thinking_tokens == 6
    assert begun(said("4", 0), thinking_open=False).thinking_tokens == 0
    # What the first samples seemed to show was wrong: what they hold in truth is not known.
    assert begun(said("4", 9, is_open=True), thinking_open=False).thinking_tokens is None


def test_answered_counts_nothing_before_the_end_of_thinking(
    opening: Path, sums: Path, tmp_path: Path
) -> None:
    records = evaluated(opening, sums, tmp_path / "run", Protocol.ANSWERED)
    with_pieces = [r for r in records if r.pieces is not None]
    counted = 0
    for record in with_pieces:
        assert record.pieces is not None
        for budget in record.answered_budgets or ():
            assert "</think>" in "".join(record.pieces[:budget])
            counted += 1
    assert counted > 0


def test_a_forced_answer_closes_thinking_that_the_prompt_opened_and_is_graded_after_it(
    opening: Path, sums: Path, tmp_path: Path
) -> None:
    records = evaluated(opening, sums, tmp_path / "run", Protocol.FORCED)
    text_of = {(r.problem, r.sample): r.text or "" for r in records}
    answers = jsonl.read(tmp_path / "run" / "forced.jsonl", ForcedRecord)
    assert any(a.grade is Grade.CORRECT for a in answers)
    late = [a for a in answers if "</think>" not in text_of[a.problem, a.sample]]
    # One token of closing text and up to four of the answer, which alone is graded.
    assert late
    assert all(2 <= a.extra_tokens <= 5 for a in late)


def test_a_prompt_that_closes_the_thinking_is_not_closed_a_second_time(
    sums: Path, tmp_path: Path
) -> None:
    model = model_with("closed", tmp_path)
    records = evaluated(model, sums, tmp_path / "run", Protocol.FORCED)
    extracted = {(r.problem, r.sample): r.extracted for r in records}
    answers = jsonl.read(tmp_path / "run" / "forced.jsonl", ForcedRecord)
    cut = [a for a in answers if a.budget_tokens == 1]
    # Digit and stop token: the digit stands, and the stop token is all that is left to be made.
    assert len(cut) >= 8
    assert {a.extra_tokens for a in cut} == {1}
    assert all(a.extracted == extracted[a.problem, a.sample] for a in cut)


@pytest.mark.parametrize("tail", ["opened", "plain", "closed"])
def test_training_pays_no_rollout_that_never_closed_what_its_prompt_opened(
    tail: str, sums: Path, tmp_path: Path
) -> None:
    overrides = [
        f"model.path={model_with(tail, tmp_path)}",
        f"problems.train={sums}",
        f"problems.test={sums}",
        "treatment.unfinished=graded",
        "sampling.cap_tokens=12",
        "target.tokens=12",
        "evaluation.budgets=[12]",
        "learner.steps=2",
    ]
    recipe = read_recipe(HERE.parent / "tiny.toml", overrides=overrides)
    with pytest.warns(RuntimeWarning, match=r"problems\.test is problems\.train"):
        train(recipe, tmp_path / "run", resume=False, observer=QUIET)
    rollouts = [
        record
        for file in sorted((tmp_path / "run" / "rollouts").glob("*.jsonl.zst"))
        for record in jsonl.read(file, RolloutRecord)
    ]
    never = [r for r in rollouts if "</think>" not in r.text and "<think>" not in r.text]
    paid = sum(r.reward > 0 for r in never)
    assert {r.thinking_open for r in rollouts} == {tail == "opened"}
    if tail == "opened":
        assert len(never) >= 8
        assert (paid, {r.grade for r in never}) == (0, {Grade.UNPARSED})
    expected = [r.tokens if tail == "opened" else 0 for r in never]
    assert [r.thinking_tokens for r in never] == expected
    assert all((r.answer_tokens is None) == (r.grade is not Grade.CORRECT) for r in rollouts)
    assert all(0 <= (r.thinking_tokens or 0) <= r.tokens for r in rollouts)
    assert all((r.answer_tokens or 0) <= r.tokens for r in rollouts)
    steps = jsonl.read(tmp_path / "run" / "steps.jsonl", StepRecord)
    for step in steps:
        whole = step.thinking_tokens_mean + step.reply_tokens_mean
        assert whole == pytest.approx(step.tokens_mean)
    assert all(not r.text.startswith("<assistant>") for r in rollouts)


def test_lint_sees_the_thinking_that_a_prompt_opened(
    opening: Path, sums: Path, tmp_path: Path
) -> None:
    records = evaluated(opening, sums, tmp_path / "run", Protocol.FINISHED)
    recipe = read_recipe(HERE.parent / "tiny.toml", overrides=["reward.name=adaptthink"])
    pool = read_pool(tmp_path / "run", recipe)
    assert pool.thought_PS is not None
    thought = {
        (r.problem, r.sample): bool((r.text or "").partition("</think>")[0].strip())
        for r in records
    }
    seen_PS = [[thought[key[1], sample] for sample in range(4)] for key in pool.table.keys]
    assert pool.thought_PS.tolist() == seen_PS
    assert {value for row in seen_PS for value in row} == {True, False}
