"""What every reader promises, shown on tables of our own."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tersely.core.errors import ConfigError, DataError
from tersely.core.types import Finish, Grade
from tersely.metrics.budgets import Protocol, score
from tersely.readers.archive import Archive
from tersely.readers.evaluations import load
from tersely.readers.formats import Options, Reading, read
from tersely.readers.padding import Unpadded, remove_padding

FIXTURES = Path(__file__).parent / "fixtures"
ROW = {"problem": "a", "correct": 1, "tokens": 5, "finish": "stop"}
CUT = ROW | {"tokens": 9, "finish": "length", "correct": 0}


def table(tmp_path: Path, *rows: dict[str, object], name: str = "rows.jsonl") -> Path:
    path = tmp_path / name
    if path.suffix == ".parquet":
        pl.DataFrame(list(rows)).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def reading(path: Path, **options: object) -> Reading:
    return read(path, "table", Options(run="run", **options))  # type: ignore[arg-type]


def refusal(path: Path, name: str = "table", **options: object) -> str:
    with pytest.raises(DataError) as error:
        read(path, name, Options(run="run", **options))  # type: ignore[arg-type]
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def without(row: dict[str, object], *keys: str) -> dict[str, object]:
    return {key: value for key, value in row.items() if key not in keys}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_a_table_of_our_own_columns_reads_as_it_stands(tmp_path: Path, name: str) -> None:
    more = {"benchmark": "b", "model": "m", "text": "t", "extracted": "4", "prompt": "p?"}
    path = table(tmp_path, ROW | more | {"difficulty": 2, "seed": 7}, CUT | more, name=name)
    first, second = reading(path).records
    assert (first.run, first.benchmark, first.problem, first.model) == ("run", "b", "a", "m")
    assert (first.text, first.extracted, first.prompt) == ("t", "4", "p?")
    assert (first.difficulty, first.seed, first.tokens, first.sample) == (2.0, 7, 5, 0)
    assert (first.grade, first.finish) == (Grade.CORRECT, Finish.STOP)
    assert (second.grade, second.finish, second.sample) == (Grade.WRONG, Finish.LENGTH, 1)


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    row = {"id": 3, "is_right": True, "n_tokens": 5, "finish": "stop"}
    columns = {"problem": "id", "correct": "is_right", "tokens": "n_tokens"}
    (record,) = reading(table(tmp_path, row), columns=columns).records
    assert (record.problem, record.grade, record.tokens) == ("3", Grade.CORRECT, 5)


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = table(tmp_path, {"id": 3, "right": 1})
    message = refusal(path)
    assert "neither a column problem nor a column prompt" in message
    assert "it has id, right" in message
    assert "--column problem=NAME" in message
    message = refusal(path, columns={"problem": "id", "correct": "right", "tokens": "n_tokens"})
    assert "no column 'n_tokens' for tokens" in message


def test_a_column_of_ours_that_is_unknown_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="no column 'token' of --from table to map; did you mean 'tokens'"
    ):
        reading(table(tmp_path, ROW), columns={"token": "n"})


def test_a_file_without_counts_asks_for_a_tokenizer_and_says_what_it_did(tmp_path: Path) -> None:
    path = table(tmp_path, without(ROW, "tokens") | {"text": "four"})
    assert "--tokenizer" in refusal(path)
    result = reading(path, count_tokens=len)
    assert result.records[0].tokens == 4
    assert any("re-made with --tokenizer" in note for note in result.notes)


def test_the_files_own_counts_are_not_made_anew(tmp_path: Path) -> None:
    result = reading(table(tmp_path, ROW | {"text": "four"}), count_tokens=len)
    assert result.records[0].tokens == 5
    assert any("the file's own" in note for note in result.notes)


def test_counts_made_anew_a_little_above_the_cap_are_the_cap(tmp_path: Path) -> None:
    row = without(ROW, "tokens") | {"finish": "length"}
    path = table(tmp_path, row | {"text": "x" * 12})
    result = reading(path, count_tokens=len, cap_tokens=10)
    assert result.records[0].tokens == 10
    assert any("1 counts that came out just above the cap" in note for note in result.notes)
    assert "above the cap of 7" in refusal(path, count_tokens=len, cap_tokens=7)


def test_a_file_without_reasons_tells_what_was_cut_only_with_a_cap(tmp_path: Path) -> None:
    rows = [without(row, "finish") for row in (ROW, CUT, CUT)]
    path = table(tmp_path, *rows)
    untold = reading(path)
    assert [(r.finish, r.cap_tokens) for r in untold.records] == [(Finish.UNKNOWN, None)] * 3
    assert any(n.startswith("of 3 of 3 samples it is not known whether") for n in untold.notes)
    result = reading(path, cap_tokens=9)
    assert [r.finish for r in result.records] == [Finish.STOP, Finish.LENGTH, Finish.LENGTH]
    assert any("the 2 of 3 that reach their cap are taken as cut" in n for n in result.notes)


@pytest.mark.parametrize("missing", [{"finish": None}, {"tokens": None}])
def test_a_sample_that_lacks_what_others_have_is_an_error_not_a_zero(
    tmp_path: Path, missing: dict[str, object]
) -> None:
    result = reading(table(tmp_path, ROW, ROW | missing))
    record = result.records[1]
    assert (record.grade, record.finish) == (Grade.UNGRADED, Finish.ERROR)
    assert any(note.startswith("1 of 2 samples failed, or lack") for note in result.notes)


def test_the_cap_is_the_stated_one_else_the_most_tokens_of_a_cut_sample(tmp_path: Path) -> None:
    path = table(tmp_path, ROW, CUT)
    assert {r.cap_tokens for r in reading(path, cap_tokens=64).records} == {64}
    result = reading(path)
    assert {r.cap_tokens for r in result.records} == {9}
    assert any("taken as 9, the most tokens of a sample that was cut" in n for n in result.notes)


def test_without_a_cut_sample_and_a_stated_cap_there_is_none(tmp_path: Path) -> None:
    result = reading(table(tmp_path, ROW, ROW | {"tokens": 7}))
    assert {r.cap_tokens for r in result.records} == {None}
    assert any("no cap is stated and no sample was cut" in note for note in result.notes)


@pytest.mark.parametrize(
    ("score", "grade"),
    [
        *((right, Grade.CORRECT) for right in (1, 1.0, True, "C", "CORRECT", "correct")),
        *((wrong, Grade.WRONG) for wrong in (0, 0.0, False, "I", "wrong", "INCORRECT")),
        *((none, Grade.UNGRADED) for none in (None, float("nan"), "N", "ungraded")),
        ("unparsed", Grade.UNPARSED),
    ],
)
def test_scores_mean_what_they_say(tmp_path: Path, score: object, grade: Grade) -> None:
    result = reading(table(tmp_path, ROW | {"correct": score}))
    assert result.records[0].grade is grade
    ungraded = any("1 of 1 samples have no grade: left out" in note for note in result.notes)
    assert ungraded == (grade is Grade.UNGRADED)


@pytest.mark.parametrize("score", [0.37, 1.7, -1, "P", [1, 0], [], {"right": 1}])
def test_a_score_that_is_no_verdict_is_refused_by_its_value(tmp_path: Path, score: object) -> None:
    message = refusal(table(tmp_path, ROW, ROW | {"correct": score}))
    assert f"line 2: score {score!r}" in message
    assert "--column correct=NAME" in message


@pytest.mark.parametrize("tokens", [-1, 2.5, "many", float("inf")])
def test_a_count_that_cannot_be_is_refused_by_its_value(tmp_path: Path, tokens: object) -> None:
    message = refusal(table(tmp_path, ROW, ROW | {"tokens": tokens}))
    assert f"line 2: {tokens!r} is no count of tokens" in message


def test_a_count_above_the_cap_is_refused(tmp_path: Path) -> None:
    message = refusal(table(tmp_path, ROW, CUT), cap_tokens=8)
    assert "line 2 has 9 tokens, above the cap of 8" in message


def test_a_count_above_the_files_own_cap_is_refused_with_ways_out_that_work(
    tmp_path: Path,
) -> None:
    for told in ({}, {"cap_tokens": 8}):
        message = refusal(table(tmp_path, ROW | {"cap_tokens": 8}, CUT | {"cap_tokens": 8}), **told)
        assert message.endswith("above the cap of 8; correct the cap that the file states")
        counted = table(tmp_path, without(ROW, "tokens") | {"text": "x" * 59, "cap_tokens": 8})
        message = refusal(counted, count_tokens=len, **told)
        assert "give the model's own --tokenizer (another may count more) or correct" in message
    assert reading(counted, count_tokens=lambda text: 7).records[0].cap_tokens == 8
    assert "or more with --cap-tokens" in refusal(table(tmp_path, ROW, CUT), cap_tokens=8)


def test_a_sample_that_stands_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    message = refusal(table(tmp_path, ROW | {"sample": 3}, CUT | {"sample": 3}))
    assert "line 2 is sample 3 of problem 'a', which stands at line 1 already" in message


def test_samples_of_two_models_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    path = table(tmp_path, ROW | {"model": "small"}, CUT | {"model": "large"})
    message = refusal(path)
    assert "2 models: large, small" in message
    assert "--only-model NAME" in message
    assert [r.model for r in reading(path, model="small").records] == ["small"]
    assert "choose one of large, small" in refusal(path, model="medium")


def test_the_benchmark_can_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, ROW)
    assert reading(path).records[0].benchmark == "rows"
    assert reading(path, benchmark="aime").records[0].benchmark == "aime"


def test_an_unknown_reason_is_refused_with_those_known(tmp_path: Path) -> None:
    message = refusal(table(tmp_path, ROW | {"finish": "bored"}))
    assert "finish reason 'bored' is not known; known are stop, " in message
    assert message.endswith("leave its column out: then samples that reach their cap count as cut")


REASONS = {
    Finish.STOP: [
        *("stop", "eos_token", "stop_sequence", "end_turn", "tool_use", "function_call"),
        *("COMPLETE", "STOP", "FinishReason.STOP", {"type": "stop", "matched": 151645}),
    ],
    Finish.LENGTH: [
        *("length", "MAX_TOKENS", "incomplete", "FinishReason.MAX_TOKENS", "repetition"),
        *("model_context_window_exceeded", {"type": "length", "length": 32}),
    ],
    Finish.ERROR: [
        *("refusal", "SAFETY", "content_filter", "insufficient_system_resource"),
        {"type": "abort", "message": "", "status_code": 503},
    ],
}


@pytest.mark.parametrize("finish", REASONS)
def test_reasons_are_read_by_the_names_that_servers_have_for_them(
    tmp_path: Path, finish: Finish
) -> None:
    for reason in REASONS[finish]:
        (first, _) = reading(table(tmp_path, ROW | {"finish": reason}, ROW)).records
        assert first.finish is finish, reason


@pytest.mark.parametrize("name", ["table", "lm_eval", "verl"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    assert "is empty" in refusal(table(tmp_path), name)


def test_an_empty_parquet_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    pl.DataFrame({"problem": []}).write_parquet(path)
    assert "is empty" in refusal(path)


def test_a_torn_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.jsonl"
    path.write_text(json.dumps(ROW) + '\n{"problem": "a', encoding="utf-8")
    assert "torn.jsonl:2 is not a JSON line" in refusal(path)


PEERS = {
    "lighteval": "lighteval/details_lab_one.parquet",
    "lm_eval": "lm_eval/results.json",
    "inspect_ai": "inspect_ai/lab.eval",
    "trl": "trl/completions_00002.parquet",
    "verl": "verl/10.jsonl",
}


@pytest.mark.parametrize("name", ["inspect_ai", "lighteval", "lm_eval", "trl", "verl"])
@pytest.mark.parametrize("other", PEERS)
def test_another_tools_file_is_refused_with_what_was_expected(name: str, other: str) -> None:
    if name != other:
        assert "xpected" in refusal(FIXTURES / PEERS[other], name)


def test_a_file_that_is_not_there_and_a_reader_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no file at"):
        read(FIXTURES / "nothing.jsonl", "table", Options(run="run"))
    with pytest.raises(ConfigError, match="no reader 'opencompass'"):
        read(FIXTURES / "nothing.jsonl", "opencompass", Options(run="run"))


def test_a_folder_is_answered_with_its_files(tmp_path: Path) -> None:
    for number in range(2):
        table(tmp_path, ROW, name=f"output-rs{number}.jsonl")
    with pytest.raises(ConfigError, match=r"holds 2 files, output-rs0\.jsonl, .*; give one"):
        read(tmp_path, "table", Options(run="run"))


def test_a_verdict_that_is_missing_is_answered_with_the_columns_that_hold_one(
    tmp_path: Path,
) -> None:
    row = without(ROW, "correct") | {"symbolic_correct": True, "judgement": "Judgement: Yes"}
    message = refusal(table(tmp_path, row))
    assert "map one with --column correct=NAME, one of symbolic_correct" in message


def test_the_columns_named_to_users_of_the_removed_slime_reader_read_its_samples(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"slime was removed; .* --from table") as error:
        read(tmp_path / "eval_3.pt", "slime", Options(run="run"))
    columns = dict(pair.split("=") for pair in re.findall(r"--column (\S+)", str(error.value)))
    sample = {
        "group_index": None,
        "prompt": "1+1?",
        "response": "2",
        "response_length": 7,
        "label": "2",
        "reward": 1.0,
        "status": "truncated",
    }
    path = tmp_path / "eval_3.jsonl"
    path.write_text(json.dumps(sample), encoding="utf-8")
    options = Options(run="run", columns=columns, cap_tokens=7)
    (record,) = read(path, "table", options).records
    assert (record.grade, record.tokens, record.finish) == (Grade.CORRECT, 7, Finish.LENGTH)
    assert record.text == "2"


def unpad(lists: list[list[int]]) -> Unpadded:
    return remove_padding([np.array(ids) for ids in lists])


def test_padding_with_the_stop_token_counts_it_once() -> None:
    # 9 is the stop token: 1 2 9, 3 1 2 9, and 2 1 3 1, which was cut.
    counts = unpad([[1, 2, 9, 9], [3, 1, 2, 9], [2, 1, 3, 1], [1, 3, 9, 9]])
    assert counts.tokens == [3, 4, 4, 3]
    assert counts.stopped == [True, True, False, True]
    assert counts.padded == 2


def test_padding_after_the_stop_token_does_not_count() -> None:
    # 9 stops, 0 pads.
    counts = unpad([[1, 2, 9, 0], [1, 9, 0, 0], [3, 1, 2, 9], [2, 1, 3, 1]])
    assert counts.tokens == [3, 2, 4, 4]
    assert counts.stopped == [True, True, True, False]
    assert counts.padded == 2


def test_a_token_that_a_cut_sample_repeats_is_no_padding() -> None:
    counts = unpad([[1, 5, 5, 5], [5, 1, 2, 9], [5, 2, 9]])
    assert counts == ([4, 4, 3], None, 0)


ENDED = [[1, 2, 9], [3, 1, 2, 3, 9], [2, 9], [1, 3, 2, 9]]
LOOPED = [4, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "cut",
    [[LOOPED], [LOOPED] * 6, [LOOPED, [1, 3, 2, 1, 3, 2, 1]], [[5, 6, 0, 0, 0, 0, 0], LOOPED]],
    ids=["one", "most", "beside another that was cut", "two"],
)
def test_a_token_that_samples_repeat_up_to_the_cap_is_no_padding(cut: list[list[int]]) -> None:
    lists = [*ENDED, *cut]
    assert unpad(lists) == ([len(ids) for ids in lists], None, 0)


def test_one_list_alone_does_not_show_padding() -> None:
    assert unpad([LOOPED, [1, 3, 2, 1, 3, 2, 1]]) == ([7, 7], None, 0)


def test_padding_is_taken_off_where_a_cut_sample_repeats_a_token_too() -> None:
    # Batches of lengths 4 and 7: 9 stops and pads; 4 1 0 0 0 0 0 was cut at 7.
    counts = unpad([[1, 2, 9, 9], [3, 1, 2, 9], LOOPED, LOOPED, LOOPED, [1, 9, 9, 9, 9, 9, 9]])
    assert counts.tokens == [3, 4, 7, 7, 7, 2]
    assert counts.stopped == [True, True, False, False, False, True]


def test_a_damaged_archive_is_refused_by_the_member(tmp_path: Path) -> None:
    whole = bytearray((FIXTURES / "inspect_ai" / "lab.eval").read_bytes())
    with Archive(FIXTURES / "inspect_ai" / "lab.eval", expected="a log") as archive:
        name = next(n for n in archive.names() if n.startswith("samples/"))
    place = whole.index(name.encode()) + len(name) + 8
    whole[place : place + 200] = bytes(200)
    path = tmp_path / "bad.eval"
    path.write_bytes(whole)
    assert name in refusal(path, "inspect_ai")


ZERO = [
    {"tokens": 0, "text": "So 7."},
    {"tokens": 0, "correct": 1},
    {"tokens": "0", "correct": "C"},
]


@pytest.mark.parametrize("zero", ZERO)
def test_0_tokens_of_a_text_or_a_right_answer_are_no_count(tmp_path: Path, zero: dict) -> None:
    counted = ROW | {"problem": "b"}
    result = reading(table(tmp_path, without(ROW, "text") | {"correct": 0} | zero, counted))
    assert [record.finish for record in result.records] == [Finish.ERROR, Finish.STOP]
    assert "1 of 2 samples have 0 tokens" in " ".join(result.notes)

    alone = table(tmp_path, ROW | {"text": "So 7.", "tokens": 0})
    message = refusal(alone)
    assert "1 of 1 samples have 0 tokens" in message
    assert "--tokenizer" in message
    (record,) = reading(alone, count_tokens=lambda text: len(text)).records
    assert record.tokens == 5


def test_no_tokens_of_no_answer_are_a_count(tmp_path: Path) -> None:
    empty = ROW | {"tokens": 0, "text": "", "correct": 0}
    result = reading(table(tmp_path, empty, ROW | {"problem": "b"}))
    assert [record.tokens for record in result.records] == [0, ROW["tokens"]]


@pytest.mark.parametrize("tokens", [-3, 12.5, "12.5", "-1", float("inf")])
def test_a_negative_or_fractional_count_is_refused_with_its_place(tmp_path: Path, tokens) -> None:
    message = refusal(table(tmp_path, ROW, ROW | {"problem": "b", "tokens": tokens}))
    assert "line 2" in message
    assert "is no count of tokens" in message


def test_the_cap_that_is_told_is_the_one_that_is_used(tmp_path: Path) -> None:
    cut = ROW | {"tokens": 32, "finish": "length", "correct": 0}
    result = reading(table(tmp_path, cut, ROW | {"problem": "b", "tokens": 33}))
    assert max(record.cap_tokens or 0 for record in result.records) == 33
    assert "taken as 33, the most tokens of any sample" in " ".join(result.notes)


def test_a_score_that_is_no_verdict_is_answered_with_the_columns_that_are(tmp_path: Path) -> None:
    half = ROW | {"correct": 0.5, "text": "7", "acc": 1, "length": 0.5, "also": None}
    message = refusal(table(tmp_path, half, half | {"problem": "b", "acc": 0}))
    assert "--column correct=NAME, one of acc, or grade the texts with --regrade GRADER" in message
    bare = without(half, "acc", "text")
    message = refusal(table(tmp_path, bare))
    assert message.endswith("map the column of the verdict with --column correct=NAME")


class Words:
    """A tokenizer whose tokens are words, and which knows no stop token."""

    def __call__(self, text: str) -> int:
        return len(text.split())

    def split_all(self, texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
        return (tuple(f"{word} " for word in text.split()) for text in texts)


def test_from_the_end_of_the_text_on_the_grade_of_the_whole_stands(tmp_path: Path) -> None:
    # 19 words and the answer, or one word less; the files' counts hold the stop token too.
    right = ROW | {"text": "so " * 19 + "\\boxed{7}", "tokens": 21, "gold": "7"}
    sooner = right | {"problem": "b", "text": "so " * 18 + "\\boxed{7}", "tokens": 20}
    loaded = load(
        table(tmp_path, right, sooner),
        reader="table",
        options=Options(run="r", grader="math", count_tokens=Words()),
        budgets=(19, 20, 21),
        protocol=Protocol.ANSWERED,
    )
    hits = score(loaded.table, budgets_B=np.array([19, 20, 21]), protocol=Protocol.ANSWERED)
    assert hits.accuracy_B.tolist() == [0.5, 1.0, 1.0]
