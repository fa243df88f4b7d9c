"""Two documents that ask the same stay two problems, in every reader that knows them by prompt."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tersely.core.errors import DataError
from tersely.readers.evaluations import load
from tersely.readers.formats import Options, Reading, read

# The question, its answer and the verdict: of five documents the first two ask the same.
FIVE = [("q1", "7", 1), ("q1", "7", 0), ("q2", "7", 1), ("q3", "7", 1), ("q4", "7", 1)]


def lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lm_eval(folder: Path, documents: list) -> Path:
    rows = [
        {
            "doc_id": number,
            "doc": {},
            "target": answer,
            "arguments": {"gen_args_0": {"arg_0": question, "arg_1": {"max_gen_toks": 64}}},
            "resps": [["<think>hm</think>7"]],
            "filtered_resps": ["7"],
            "filter": "none",
            "metrics": ["exact_match"],
            "exact_match": verdict,
        }
        for number, (question, answer, verdict) in enumerate(documents)
    ]
    return lines(folder / "samples_task_2026-01-02T03-04-05.000000.jsonl", rows)


def verl(folder: Path, documents: list) -> Path:
    rows = [
        {"input": q, "output": "so 7", "gts": a, "score": v, "step": 1} for q, a, v in documents
    ]
    return lines(folder / "1.jsonl", rows)


def trl(folder: Path, documents: list) -> Path:
    rows = [
        {"step": 1, "prompt": q, "completion": "so 7", "advantage": 0.0, "right": v, "answer": a}
        for q, a, v in documents
    ]
    pl.DataFrame(rows).write_parquet(path := folder / "completions_00001.parquet")
    return path


def table(folder: Path, documents: list) -> Path:
    rows = [{"prompt": q, "gold": a, "correct": v, "text": "so 7"} for q, a, v in documents]
    return lines(folder / "table.jsonl", rows)


MAKERS = {f.__name__: f for f in (lm_eval, verl, trl, table)}
COLUMNS = {"trl": {"correct": "right", "gold": "answer"}}


def told(name: str) -> Options:
    return Options(run="r", count_tokens=len, cap_tokens=64, columns=COLUMNS.get(name, {}))


def accuracy(path: Path, name: str) -> float:
    correct_PS = load(path, reader=name, options=told(name)).table.correct_PS
    graded_PS = load(path, reader=name, options=told(name)).table.graded_PS
    return float(np.mean(correct_PS.sum(axis=1) / graded_PS.sum(axis=1)))


def result(path: Path, name: str) -> Reading:
    return read(path, name, told(name))


@pytest.mark.parametrize("name", MAKERS)
def test_four_of_five_documents_are_right_though_two_ask_the_same(
    tmp_path: Path, name: str
) -> None:
    path = MAKERS[name](tmp_path, FIVE)
    assert accuracy(path, name) == pytest.approx(0.8)
    assert len({r.problem for r in result(path, name).records}) == 5
    assert any("1 questions stand more often" in note for note in result(path, name).notes)


@pytest.mark.parametrize("name", MAKERS)
def test_samples_of_a_question_are_one_problem_where_all_have_as_many(
    tmp_path: Path, name: str
) -> None:
    path = MAKERS[name](tmp_path, [d for d in FIVE[1:] for _ in range(3)])
    records = result(path, name).records
    assert len({r.problem for r in records}) == 4
    assert {r.sample for r in records} == {0, 1, 2}


@pytest.mark.parametrize("name", MAKERS)
def test_a_question_twice_among_groups_of_samples_is_two_groups(tmp_path: Path, name: str) -> None:
    # Three samples of each document; of the first two, the first is always right.
    path = MAKERS[name](tmp_path, [d for d in FIVE for _ in range(3)])
    records = result(path, name).records
    assert len({r.problem for r in records}) == 5
    assert accuracy(path, name) == pytest.approx(0.8)


@pytest.mark.parametrize("name", MAKERS)
def test_one_prompt_with_two_right_answers_is_two_problems(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path, [("q", "7", 1), ("q", "8", 0)])
    assert len({r.problem for r in result(path, name).records}) == 2


@pytest.mark.parametrize("name", ["verl", "trl", "table"])
def test_a_question_that_was_sampled_far_more_often_is_one_problem_and_said_so(
    tmp_path: Path, name: str
) -> None:
    path = MAKERS[name](tmp_path, [*FIVE[1:], *[("q5", "7", 1)] * 16])
    records = result(path, name).records
    assert len({r.problem for r in records}) == 5
    assert any("up to 16" in note for note in result(path, name).notes)


def test_benchmarks_of_one_dump_have_samples_of_their_own_number(tmp_path: Path) -> None:
    rows = [
        {"input": f"{source}{q}", "output": "7", "gts": "7", "score": 1, "data_source": source}
        for source, samples in (("aime", 4), ("math", 1))
        for q in range(5)
        for _ in range(samples)
    ]
    records = result(lines(tmp_path / "1.jsonl", rows), "verl").records
    assert len({(r.benchmark, r.problem) for r in records}) == 10


def test_messages_are_told_apart_by_all_that_they_hold(tmp_path: Path) -> None:
    # The texts alone are the same.
    one = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    two = [{"role": "user", "content": "ab"}]
    rows = [
        {"step": 1, "prompt": p, "completion": "c", "advantage": 0.0, "right": 1.0, "answer": "7"}
        for p in (one, two)
    ]
    pl.DataFrame(rows).write_parquet(path := tmp_path / "completions_1.parquet")
    assert len({r.problem for r in result(path, "trl").records}) == 2


def test_a_tables_problem_with_two_right_answers_is_refused(tmp_path: Path) -> None:
    rows = [{"problem": "0", "gold": gold, "correct": 1, "text": "7"} for gold in ("7", "8")]
    with pytest.raises(DataError, match="line 2 has the right answer '8', but line 1 '7'"):
        result(lines(tmp_path / "t.jsonl", rows), "table")


def test_a_tables_problem_with_two_prompts_is_said(tmp_path: Path) -> None:
    rows = [{"problem": "0", "prompt": p, "correct": 1, "text": "7"} for p in ("x?", "y?")]
    notes = result(lines(tmp_path / "t.jsonl", rows), "table").notes
    assert any("1 problems have samples of different prompts (first '0'" in note for note in notes)
