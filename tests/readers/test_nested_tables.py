"""Tables whose rows and columns stand within objects, as promptfoo and others write them."""

import json
from pathlib import Path

import pytest

from tersely.core.errors import DataError
from tersely.core.types import Grade
from tersely.readers.formats import Options, Reading, read

# As promptfoo's --output results.json has it, cut to what matters.
RESULTS = [
    {
        "prompt": {"raw": f"What is {n} + {n}?", "label": "ask"},
        "vars": {"q": f"{n} + {n}", "gold": str(2 * n)},
        "response": {"output": f"It is {2 * n}.", "tokenUsage": {"completion": 5 + n, "total": 9}},
        "success": n != 2,
    }
    for n in range(1, 4)
]
PROMPTFOO = {
    "evalId": "eval-abc",
    "results": {"version": 3, "prompts": [{"raw": "ask"}], "results": RESULTS},
    "config": {"tests": [{"vars": {}}] * 3},
}
COLUMNS = {
    "rows": "results.results",
    "problem": "vars.q",
    "prompt": "prompt.raw",
    "gold": "vars.gold",
    "text": "response.output",
    "correct": "success",
    "tokens": "response.tokenUsage.completion",
}
BARE = {ours: theirs for ours, theirs in COLUMNS.items() if ours != "rows"}


def saved(tmp_path: Path, value: object, *, indent: int | None) -> Path:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return path


def reading(path: Path, name: str = "table", **columns: str) -> Reading:
    return read(path, name, Options(run="run", columns=columns, count_tokens=len, cap_tokens=64))


def refusal(path: Path, name: str = "table", **columns: str) -> str:
    with pytest.raises(DataError) as error:
        reading(path, name, **columns)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("indent", [None, 2])
def test_rows_and_columns_within_objects_are_read_by_dotted_names(tmp_path, indent) -> None:
    found = reading(saved(tmp_path, PROMPTFOO, indent=indent), **COLUMNS)
    assert [r.problem for r in found.records] == ["1 + 1", "2 + 2", "3 + 3"]
    assert [r.tokens for r in found.records] == [6, 7, 8]
    assert [r.grade for r in found.records] == [Grade.CORRECT, Grade.WRONG, Grade.CORRECT]
    assert found.records[0].prompt == "What is 1 + 1?"
    assert set(found.golds.values()) == {"2", "4", "6"}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("columns", [{}, BARE])
def test_an_object_that_holds_its_rows_in_a_list_is_answered_with_where(
    tmp_path, indent, columns
) -> None:
    path = saved(tmp_path, PROMPTFOO, indent=indent)
    message = refusal(path, **columns)
    assert "results.results (3)" in message
    assert "--from table --column rows=results.results" in message
    assert "results.results" in refusal(path, rows="results")
    # With that done, what is left to map is named by its parts.
    rest = refusal(path, rows="results.results", problem="vars.question")
    for name in ("vars.q", "response.tokenUsage.completion", "success"):
        assert name in rest
    assert "rows=" not in rest


def test_a_list_of_rows_is_read_by_dotted_names_too(tmp_path) -> None:
    found = reading(saved(tmp_path, RESULTS, indent=2), **BARE)
    assert [r.tokens for r in found.records] == [6, 7, 8]
    message = refusal(saved(tmp_path, RESULTS, indent=None), rows="results")
    assert "is not one JSON object" in message
    assert "write its rows as JSON lines" in refusal(saved(tmp_path, {"a": {"b": 1}}, indent=1))


def test_a_trainers_own_keys_may_be_within_objects(tmp_path) -> None:
    row = {"input": "1?", "output": "2", "score": 0.3, "extra": {"right": True, "n": 7}}
    path = tmp_path / "1.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (record,) = reading(path, "verl", correct="extra.right", tokens="extra.n").records
    assert (record.grade, record.tokens) == (Grade.CORRECT, 7)
    assert "extra.right, extra.n" in refusal(path, "verl", correct="extra.wrong")


# As `wandb.Table` and pandas' `to_json(orient="split")` write them.
SPLIT = {
    "columns": ["step", "prompt", "completion", "accuracy", "advantage"],
    "data": [["10", "1?", "1", 1.0, 0.5], ["10", "2?", "3", 0.0, -0.5]],
    "ncols": 5,
}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_table_of_columns_and_data_is_read_as_its_rows(tmp_path, indent) -> None:
    path = saved(tmp_path, SPLIT, indent=indent)
    assert [r.grade for r in reading(path, "trl").records] == [Grade.CORRECT, Grade.WRONG]
    found = reading(path, text="completion", correct="accuracy").records
    assert [(r.text, r.grade) for r in found] == [("1", Grade.CORRECT), ("3", Grade.WRONG)]
    inside = saved(tmp_path, {"table": SPLIT}, indent=indent)
    assert "rows=table" in refusal(inside, problem="prompt")
    found = reading(inside, rows="table", text="completion", correct="accuracy").records
    assert [r.text for r in found] == ["1", "3"]


ASKED = [{"origin_prompt": [{"role": "HUMAN", "prompt": f"{n}?"}], "gold": str(n)} for n in (1, 2)]
ANSWERED = {str(n): row | {"prediction": "1", "ok": n == 0} for n, row in enumerate(ASKED)}
NUMBERED = {"prompt": "origin_prompt", "text": "prediction", "correct": "ok"}


@pytest.mark.parametrize("indent", [None, 4])
def test_an_object_of_numbered_objects_is_read_as_its_rows(tmp_path, indent) -> None:
    alone = saved(tmp_path, ANSWERED, indent=indent)
    for told in ({}, {"rows": "."}):
        found = reading(alone, **told, **NUMBERED).records
        assert [r.grade for r in found] == [Grade.CORRECT, Grade.WRONG]
    assert "rows=." in refusal(alone, rows="0")
    below = {"accuracy": 50.0, "details": {"type": "GEN", **ANSWERED}}
    path = saved(tmp_path, below, indent=indent)
    assert "details (2): read it with --from table --column rows=details" in refusal(path)
    assert [r.text for r in reading(path, rows="details", **NUMBERED).records] == ["1", "1"]


def test_parts_are_named_of_all_rows_and_of_lists_of_one_object(tmp_path) -> None:
    # As OpenAI's batches come out: of requests that failed and that were answered.
    choice = {"index": 0, "message": {"content": "It is 4."}, "finish_reason": "stop"}
    answered = {"status_code": 200, "body": {"choices": [choice], "usage": {"total_tokens": 9}}}
    refused = {"status_code": 400, "body": {"error": {"message": "bad"}}}
    replies = [None, refused, answered, refused, None]
    rows = [{"custom_id": n, "ok": n == 2, "response": r} for n, r in enumerate(replies)]
    message = refusal(saved(tmp_path, rows, indent=None))
    for part in ("choices.0.message.content", "choices.0.finish_reason", "usage.total_tokens"):
        assert f"response.body.{part}" in message
    assert " response," not in message
    columns = {"problem": "custom_id", "text": "response.body.choices.0.message.content"}
    found = reading(saved(tmp_path, rows[2:3], indent=None), correct="ok", **columns)
    assert found.records[0].text == "It is 4."
