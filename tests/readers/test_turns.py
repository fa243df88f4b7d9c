"""Turns, tools' tokens and loops, as the readers of other tools' files find them."""

import json
from pathlib import Path

import pytest

from tersely.core.errors import ConfigError, DataError
from tersely.metrics.budgets import Protocol
from tersely.metrics.records import BudgetOf
from tersely.readers.evaluations import load
from tersely.readers.formats import Options, read

FIXTURES = Path(__file__).parent / "fixtures"
LOOP = "Wait, let me look at the angle at B again. "


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def inspect_log(path: Path, messages: list[dict[str, object]]) -> Path:
    """A log of one sample, in the layout of inspect-ai 0.3.285."""
    usage = {"input_tokens": 50, "output_tokens": 30, "total_tokens": 80}
    choice = {"message": {"role": "assistant", "content": "It is 4."}, "stop_reason": "stop"}
    sample = {
        "id": "a",
        "epoch": 1,
        "input": "How many?",
        "target": "4",
        "messages": messages,
        "scores": {"exact": {"value": "C", "answer": "4"}},
        "output": {"choices": [choice], "usage": usage},
        "model_usage": {"lab/m": usage},
    }
    head = {"status": "success", "eval": {"task": "apples", "model": "lab/m"}}
    path.write_text(json.dumps(head | {"samples": [sample]}), encoding="utf-8")
    return path


def test_turns_of_an_inspect_log_are_the_messages_that_the_model_wrote(tmp_path: Path):
    messages: list[dict[str, object]] = [
        {"role": "user", "content": "What is 1 + 1?", "source": "input"},
        # An example that the prompt held.
        {"role": "assistant", "content": "2", "source": "input"},
        {"role": "user", "content": "How many?", "source": "input"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}], "source": "generate"},
        {"role": "tool", "content": "a long listing", "tool_call_id": "1"},
        {"role": "assistant", "content": "It is 4.", "source": "generate"},
    ]
    reading = read(inspect_log(tmp_path / "log.json", messages), "inspect_ai", Options(run="r"))
    (record,) = reading.records
    assert (record.turns, record.tokens, record.tool_tokens) == (2, 30, 0)


def test_a_log_that_inspect_wrote_of_single_calls_has_one_turn_a_sample():
    reading = read(FIXTURES / "inspect_ai" / "lab.json", "inspect_ai", Options(run="r"))
    assert {(r.turns, r.tool_tokens) for r in reading.records} == {(1, 0)}


@pytest.mark.parametrize(("num_turns", "turns"), [(2, 1), (4, 2), (5, 2), (6, 3)])
def test_half_of_the_messages_that_verl_counts_are_the_models(
    tmp_path: Path, num_turns: int, turns: int
):
    # Question and answer are 2; each call of a tool adds its reply and one more answer; a loop
    # that ends with a reply has an odd number.
    row = {"input": "q", "output": "4", "gts": "4", "score": 1.0, "step": 1, "n": 7}
    path = lines(tmp_path / "1.jsonl", [row | {"num_turns": num_turns}])
    options = Options(run="r", columns={"tokens": "n"})
    (record,) = read(path, "verl", options).records
    assert (record.turns, record.tool_tokens) == (turns, None)


def test_other_columns_of_verls_dumps_are_taken_as_they_are(tmp_path: Path):
    row = {"input": "q", "output": "4", "score": 1.0, "step": 1, "n": 70, "said": 3, "env": 20}
    path = lines(tmp_path / "1.jsonl", [row])
    columns = {"tokens": "n", "turns": "said", "tool_tokens": "env"}
    (record,) = read(path, "verl", Options(run="r", columns=columns)).records
    assert (record.turns, record.tool_tokens) == (3, 20)


ROW = {"problem": "a", "correct": True, "tokens": 90, "finish": "stop"}


def test_a_table_may_hold_turns_and_tool_tokens_under_any_name(tmp_path: Path):
    path = lines(tmp_path / "t.jsonl", [ROW | {"n_turns": 3, "tools": 40}])
    columns = {"turns": "n_turns", "tool_tokens": "tools"}
    (record,) = read(path, "table", Options(run="r", columns=columns)).records
    assert (record.turns, record.tool_tokens) == (3, 40)


@pytest.mark.parametrize("value", [-1, 1.5, "many"])
def test_what_is_no_count_of_turns_is_refused(tmp_path: Path, value: object):
    path = lines(tmp_path / "t.jsonl", [ROW | {"turns": value}])
    with pytest.raises(DataError, match=r"turns is .* no whole number from 0"):
        read(path, "table", Options(run="r"))


def test_loops_are_found_in_the_texts_of_a_file_and_unknown_without_one(tmp_path: Path):
    texts = ("Hm. " + LOOP * 9, "It is 4.", None)
    rows = [ROW | {"problem": str(at), "text": text} for at, text in enumerate(texts)]
    records = read(lines(tmp_path / "t.jsonl", rows), "table", Options(run="r")).records
    assert [record.loops for record in records] == [True, False, None]


def test_budgets_may_be_of_turns_or_of_tokens_without_tools(tmp_path: Path):
    rows = [
        ROW | {"problem": "a", "turns": 1, "tokens": 90, "tool_tokens": 0},
        ROW | {"problem": "b", "turns": 4, "tokens": 100, "tool_tokens": 80},
    ]
    path = lines(tmp_path / "t.jsonl", rows)
    reach = {}
    for of in BudgetOf:
        loaded = load(path, reader="table", budget_of=of)
        reach[of] = (loaded.table.reach, loaded.table.spent_PS[:, 0].tolist())
    assert reach == {
        BudgetOf.TOKENS: (100, [90, 100]),
        BudgetOf.TURNS: (4, [1, 4]),
        BudgetOf.MODEL_TOKENS: (90, [90, 20]),
    }
    assert load(path, reader="table", budget_of=BudgetOf.TURNS).budgets[-1] == 4


def test_a_file_that_does_not_say_its_turns_is_refused_with_what_to_map(tmp_path: Path):
    rows = [ROW | {"problem": "a", "turns": 1}, ROW | {"problem": "b", "turns": None}]
    path = lines(tmp_path / "t.jsonl", rows)
    with pytest.raises(ConfigError, match=r"1 of 2 graded samples of t .* --column turns=NAME"):
        load(path, reader="table", budget_of=BudgetOf.TURNS)
    with pytest.raises(ConfigError, match=r"2 of 2 .* --column tool_tokens=NAME"):
        load(path, reader="table", budget_of=BudgetOf.MODEL_TOKENS)
    with pytest.raises(ConfigError, match="is for the protocol finished, not answered"):
        load(path, reader="table", budget_of=BudgetOf.TURNS, protocol=Protocol.ANSWERED)
