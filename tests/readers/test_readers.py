"""Each evaluator's reader on a file that it wrote. Golden counts are the peer's own sums."""

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from tokenizers import Tokenizer

import tersely.lab
from tersely.core.errors import ConfigError, DataError
from tersely.core.types import EvalRecord, Finish, Grade
from tersely.readers.formats import Options, Reading, available, read
from tersely.readers.regrading import regrade

FIXTURES = Path(__file__).parent / "fixtures"
LIGHTEVAL = FIXTURES / "lighteval" / "details_lab.parquet"
LIGHTEVAL_ONE = FIXTURES / "lighteval" / "details_lab_one.parquet"
LM_EVAL = next((FIXTURES / "lm_eval").glob("samples_lab_2*.jsonl"))
LM_EVAL_FILTERS = next((FIXTURES / "lm_eval").glob("samples_lab_filters_*.jsonl"))
EVAL, JSON_LOG, HF_LOG = (FIXTURES / "inspect_ai" / n for n in ("lab.eval", "lab.json", "hf.eval"))
TOKENIZER = Tokenizer.from_file(
    str(Path(tersely.lab.__file__).parent / "checkpoint" / "tokenizer.json")
)


def count_tokens(text: str) -> int:
    return len(TOKENIZER.encode(text).ids)


def reading(path: Path, name: str, **options: object) -> Reading:
    return read(path, name, Options(run="run", **options))  # type: ignore[arg-type]


def refusal(path: Path, name: str, **options: object) -> str:
    with pytest.raises((DataError, ConfigError)) as error:
        reading(path, name, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def said(result: Reading) -> str:
    return "\n".join(result.notes)


def grades(records: list[EvalRecord]) -> Counter[Grade]:
    return Counter(record.grade for record in records)


def finishes(records: list[EvalRecord]) -> Counter[Finish]:
    return Counter(record.finish for record in records)


def problems(records: list[EvalRecord]) -> Counter[str]:
    return Counter(record.problem for record in records)


def test_each_peer_has_a_reader_of_its_name() -> None:
    expected = [*("inspect_ai", "lighteval", "lm_eval", "table", "trl", "verl")]
    assert available() == expected


# lighteval: 0.425 of its avg@n:n=4 over ten problems is 17 of 40; 0.4 of n=1 is 4 of 10.


def test_lighteval_samples_get_lightevals_count_of_right_ones() -> None:
    result = reading(LIGHTEVAL, "lighteval", columns={"grader": "exact"})
    assert grades(result.records) == {Grade.CORRECT: 17, Grade.WRONG: 23}
    assert set(problems(result.records).values()) == {4}
    assert {record.benchmark for record in result.records} == {"lab|0"}
    assert "7 problems were partly right" in said(result)


def test_lighteval_with_one_sample_a_problem_needs_no_grader() -> None:
    result = reading(LIGHTEVAL_ONE, "lighteval")
    assert grades(result.records) == {Grade.CORRECT: 4, Grade.WRONG: 6}


def test_lighteval_padding_is_not_counted_and_the_stop_token_is() -> None:
    result = reading(LIGHTEVAL, "lighteval", columns={"grader": "exact"})
    assert "27 token lists were padded" in said(result)
    for record in result.records:
        stop = record.finish is Finish.STOP
        assert record.tokens == count_tokens(record.text or "") + stop


def test_lighteval_does_not_say_which_samples_of_a_partly_right_problem_are_right() -> None:
    message = refusal(LIGHTEVAL, "lighteval")
    assert "2 of its 4 samples are right" in message
    assert "--column grader=exact" in message


def test_lighteval_problems_that_our_grader_counts_otherwise_stay_ungraded() -> None:
    # `number` cannot read the letters that answer half of the problems.
    result = reading(LIGHTEVAL, "lighteval", columns={"grader": "number"})
    assert grades(result.records)[Grade.UNGRADED] == 12
    assert "3 problems are ungraded" in said(result)
    assert "12 of 40 samples have no grade: left out" in said(result)


def test_lighteval_samples_without_the_stop_token_were_cut_also_below_the_cap() -> None:
    # lighteval stops the whole batch when its first sequences have stopped: two were cut at 93.
    result = reading(LIGHTEVAL, "lighteval", columns={"grader": "exact"})
    cut = [r.tokens for r in result.records if r.finish is Finish.LENGTH]
    assert Counter(cut) == {96: 9, 93: 2}
    assert {record.cap_tokens for record in result.records} == {96}


def test_lighteval_lists_without_padding_are_cut_at_the_files_own_limit(tmp_path: Path) -> None:
    # As its vLLM backend writes them: each list ends with the stop token, 1, or at the cap.
    frame = pl.read_parquet(LIGHTEVAL_ONE)
    rows = frame.to_dicts()
    for row in rows:
        response = row["model_response"]
        ids = response["output_tokens"][0]
        response["output_tokens"] = [ids[: ids.index(1) + 1] if 1 in ids else ids]
    pl.DataFrame(rows, schema=frame.schema).write_parquet(path := tmp_path / "d.parquet")
    result = reading(path, "lighteval")
    assert reading(path, "lighteval", cap_tokens=96).records == result.records
    assert "the 3 of 10 that reach their cap are taken as cut" in said(result)
    whole = reading(LIGHTEVAL_ONE, "lighteval").records
    assert [r.tokens for r in result.records] == [r.tokens for r in whole]
    assert [r.finish for r in result.records] == [r.finish for r in whole]


def changed_lighteval(tmp_path: Path, change) -> Path:  # type: ignore[no-untyped-def]
    rows = pl.read_parquet(LIGHTEVAL_ONE).to_dicts()
    change(rows)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path := tmp_path / "details.parquet")
    return path


@pytest.mark.parametrize("empty", [[], [[]]])
def test_lighteval_without_token_lists_needs_a_tokenizer(tmp_path: Path, empty: list) -> None:
    def drop(rows):  # type: ignore[no-untyped-def]
        for row in rows:
            row["model_response"]["output_tokens"] = empty

    path = changed_lighteval(tmp_path, drop)
    assert "give the model's tokenizer" in refusal(path, "lighteval", cap_tokens=96)
    told = {"cap_tokens": 96, "count_tokens": count_tokens}
    assert len(reading(path, "lighteval", **told).records) == 10


def test_lighteval_takes_the_mean_over_samples_among_its_metrics(tmp_path: Path) -> None:
    def add(rows):  # type: ignore[no-untyped-def]
        for row in rows:
            row["metric"] = {"pass@k:k=1": 1.0, "other": 0.3} | row["metric"]
        rows[0]["metric"]["avg@n:n=1"] = float("nan")

    result = reading(changed_lighteval(tmp_path, add), "lighteval")
    assert result.notes[0] == "verdicts from lighteval's avg@n:n=1"
    assert grades(result.records) == {Grade.CORRECT: 4, Grade.WRONG: 5, Grade.UNGRADED: 1}


def test_lighteval_metrics_that_are_no_mean_over_the_samples_are_refused() -> None:
    columns = {"correct": "pass@k:k=2&n=4", "grader": "exact"}
    assert "is no mean over them" in refusal(LIGHTEVAL, "lighteval", columns=columns)
    assert "choose one with --column correct=METRIC" in refusal(
        LIGHTEVAL, "lighteval", columns={"correct": "accuracy"}
    )


# lm-eval: exact_match 0.40 of 40 documents is 16; under two filters 0.35 (14) and 0.


def test_lm_eval_documents_with_one_prompt_are_samples_of_one_problem() -> None:
    result = reading(LM_EVAL, "lm_eval", count_tokens=count_tokens, cap_tokens=96)
    # 12 of 40 were cut in their thinking: its filter found no answer in them.
    assert grades(result.records) == {Grade.CORRECT: 16, Grade.WRONG: 12, Grade.UNPARSED: 12}
    assert list(problems(result.records).items()) == [(str(doc), 4) for doc in range(10)]
    assert {record.benchmark for record in result.records} == {"lab"}
    assert {record.cap_tokens for record in result.records} == {96}


def test_lm_eval_asks_for_a_tokenizer_and_says_that_counts_are_re_made() -> None:
    assert "give the model's tokenizer with --tokenizer" in refusal(
        LM_EVAL, "lm_eval", cap_tokens=96
    )
    result = reading(LM_EVAL, "lm_eval", count_tokens=count_tokens, cap_tokens=96)
    assert "re-made with --tokenizer from the text: without the stop token" in said(result)


def test_lm_eval_filters_are_chosen_never_mixed() -> None:
    told = {"count_tokens": count_tokens, "cap_tokens": 96}
    message = refusal(LM_EVAL_FILTERS, "lm_eval", **told)
    assert "has the filters answer, strict; choose one with --column filter=NAME" in message
    answer = reading(LM_EVAL_FILTERS, "lm_eval", columns={"filter": "answer"}, **told)
    strict = reading(LM_EVAL_FILTERS, "lm_eval", columns={"filter": "strict"}, **told)
    assert grades(answer.records) == {Grade.CORRECT: 14, Grade.WRONG: 13, Grade.UNPARSED: 13}
    assert grades(strict.records) == {Grade.WRONG: 40}


def test_lm_eval_repeats_with_one_verdict_are_refused(tmp_path: Path) -> None:
    line = json.loads(LM_EVAL.read_text(encoding="utf-8").splitlines()[0])
    line["resps"] = [["a", "b"]]
    path = tmp_path / "samples_lab.jsonl"
    path.write_text(json.dumps(line), encoding="utf-8")
    told = {"count_tokens": len, "cap_tokens": 96}
    message = refusal(path, "lm_eval", **told)
    assert "has 2 responses but 1 verdict" in message
    assert "--regrade GRADER (choice, code, exact" in message
    line["exact_match"] = [1.0, 0.0]
    path.write_text(json.dumps(line), encoding="utf-8")
    records = reading(path, "lm_eval", **told).records
    assert [(r.sample, r.text, r.grade) for r in records] == [
        (0, "a", Grade.CORRECT),
        (1, "b", Grade.WRONG),
    ]


def test_lm_eval_repeats_are_each_graded_again_where_that_is_asked_for(tmp_path: Path) -> None:
    line = json.loads(LM_EVAL.read_text(encoding="utf-8").splitlines()[0])
    line |= {"resps": [["so 7", "so 8", "so 7", "8"]], "target": "7"}
    path = tmp_path / "samples_lab.jsonl"
    path.write_text(json.dumps(line), encoding="utf-8")
    told: dict = {"count_tokens": len, "cap_tokens": 96, "grader": "number"}
    records = regrade(path, reading(path, "lm_eval", **told), grader="number").records
    right = [r.grade is Grade.CORRECT for r in sorted(records, key=lambda r: r.sample)]
    assert right == [True, False, True, False]


def test_a_cap_other_than_the_files_own_is_refused() -> None:
    message = refusal(LM_EVAL, "lm_eval", count_tokens=count_tokens, cap_tokens=128)
    assert "was sampled at 96 tokens, but --cap-tokens says 128" in message


# inspect: 24 samples, accuracy 0.333, and 1,067 output tokens in all.


def test_inspect_epochs_are_samples_and_its_usage_is_kept() -> None:
    result = reading(EVAL, "inspect_ai")
    assert grades(result.records) == {Grade.CORRECT: 8, Grade.WRONG: 16}
    assert sum(record.tokens for record in result.records) == 1067
    assert finishes(result.records) == {Finish.STOP: 13, Finish.LENGTH: 11}
    assert set(problems(result.records).values()) == {3}
    assert {r.sample for r in result.records} == {0, 1, 2}
    assert {r.cap_tokens for r in result.records} == {64}
    assert {r.model for r in result.records} == {"lab/model"}


def test_inspect_json_logs_read_as_its_archives_do() -> None:
    records = reading(JSON_LOG, "inspect_ai").records
    whole = json.loads(JSON_LOG.read_text(encoding="utf-8"))
    total = whole["stats"]["model_usage"]["lab/model"]["output_tokens"]
    assert sum(record.tokens for record in records) == total
    by_key = {(r.problem, r.sample): r.text for r in records}
    assert len(by_key) == 4
    # Both logs begin with the same seed, so their first samples are the same.
    assert by_key["chains/1*7*7*4", 0] == reading(EVAL, "inspect_ai").records[0].text


def test_inspects_own_hf_provider_counts_the_padding_and_so_is_not_believed() -> None:
    message = refusal(HF_LOG, "inspect_ai", cap_tokens=64)
    assert "at the length of its batch's longest" in message
    assert "--tokenizer" in message
    told = {"count_tokens": count_tokens, "cap_tokens": 64}
    assert len(reading(HF_LOG, "inspect_ai", **told).records) == 6


def json_log(tmp_path: Path, change) -> Path:  # type: ignore[no-untyped-def]
    log = json.loads(JSON_LOG.read_text(encoding="utf-8"))
    change(log)
    path = tmp_path / "log.json"
    path.write_text(json.dumps(log), encoding="utf-8")
    return path


def test_inspect_samples_that_failed_are_errors_not_wrong(tmp_path: Path) -> None:
    def fail(log):  # type: ignore[no-untyped-def]
        log["samples"][0] |= {"error": {"message": "lost"}, "scores": None, "output": None}

    result = reading(json_log(tmp_path, fail), "inspect_ai")
    assert (result.records[0].grade, result.records[0].finish) == (Grade.UNGRADED, Finish.ERROR)
    assert "1 of 4 samples failed" in said(result)


def test_inspect_samples_that_a_limit_ended_are_cut(tmp_path: Path) -> None:
    def limit(log):  # type: ignore[no-untyped-def]
        log["samples"][0]["limit"] = {"type": "token", "limit": 70}

    before = reading(JSON_LOG, "inspect_ai").records[0].finish
    after = reading(json_log(tmp_path, limit), "inspect_ai").records[0].finish
    assert (before, after) == (Finish.STOP, Finish.LENGTH)


def test_inspect_no_answer_is_ungraded_and_partial_credit_refused(tmp_path: Path) -> None:
    def score(log, value):  # type: ignore[no-untyped-def]
        log["samples"][1]["scores"]["after_thinking"]["value"] = value

    result = reading(json_log(tmp_path, lambda log: score(log, "N")), "inspect_ai")
    assert grades(result.records)[Grade.UNGRADED] == 1
    assert "inspect counts them as wrong" in said(result)
    assert "score 'P' is neither right (1) nor wrong (0)" in refusal(
        json_log(tmp_path, lambda log: score(log, "P")), "inspect_ai"
    )


def test_partial_credit_is_answered_with_a_way_out_that_is_there(tmp_path: Path) -> None:
    def partial(log, **others):  # type: ignore[no-untyped-def]
        log["samples"][1]["scores"]["after_thinking"]["value"] = "P"
        for sample in log["samples"]:
            sample["scores"] |= {name: {"value": value} for name, value in others.items()}

    chosen = {"columns": {"correct": "after_thinking"}}
    message = refusal(json_log(tmp_path, partial), "inspect_ai")
    assert "inspect score LOG), or grade the texts with --regrade GRADER" in message
    assert "correct=SCORER" not in message
    message = refusal(json_log(tmp_path, lambda log: partial(log, f1=0.5)), "inspect_ai", **chosen)
    assert "no other scorer of right or wrong" in message
    path = json_log(tmp_path, lambda log: partial(log, f1=0.5, match="C"))
    assert "--column correct=SCORER: match, or grade" in refusal(path, "inspect_ai", **chosen)


def test_inspect_tokens_of_several_calls_are_summed_and_said(tmp_path: Path) -> None:
    def again(log):  # type: ignore[no-untyped-def]
        log["plan"]["config"]["max_tokens"] = 200
        log["samples"][0]["model_usage"]["lab/model"]["output_tokens"] = 118
        log["samples"][0]["model_usage"]["judge"] = {"output_tokens": 9}

    result = reading(json_log(tmp_path, again), "inspect_ai")
    assert result.records[0].tokens == 118
    assert "1 samples made several calls" in said(result)
    assert "tokens of other models are not counted: judge" in said(result)


def test_inspects_limit_on_each_call_is_no_cap_on_samples_of_several(tmp_path: Path) -> None:
    def again(log):  # type: ignore[no-untyped-def]
        log["plan"]["config"]["max_tokens"] = 96
        log["samples"][0]["model_usage"]["lab/model"]["output_tokens"] = 9000

    path = json_log(tmp_path, again)
    result = reading(path, "inspect_ai")
    assert result.records[0].tokens == 9000
    assert "a limit of max_tokens is on each call and so no cap" in said(result)
    caps = {record.cap_tokens for record in reading(path, "inspect_ai", cap_tokens=9500).records}
    assert caps == {9500}


def test_inspect_thinking_and_attached_texts_are_put_in_order(tmp_path: Path) -> None:
    def think(log):  # type: ignore[no-untyped-def]
        sample = log["samples"][0]
        sample["attachments"] = {"ab": "2+2=4"}
        sample["output"]["choices"][0]["message"]["content"] = [
            {"type": "reasoning", "reasoning": "attachment://ab"},
            {"type": "text", "text": "4"},
        ]

    records = reading(json_log(tmp_path, think), "inspect_ai").records
    assert records[0].text == "<think>2+2=4</think>4"


def test_inspect_scorers_are_chosen_never_mixed(tmp_path: Path) -> None:
    def other(log):  # type: ignore[no-untyped-def]
        log["samples"][0]["scores"]["other"] = {"value": "C"}

    path = json_log(tmp_path, other)
    assert "has the scorers after_thinking, other" in refusal(path, "inspect_ai")
    assert reading(path, "inspect_ai", columns={"correct": "after_thinking"}).records
