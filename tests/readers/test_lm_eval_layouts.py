"""lm-eval's older files, and files from which it dropped the thinking, as a user meets them."""

import json
from pathlib import Path

import pytest

from tersely.core.errors import DataError
from tersely.core.types import Grade
from tersely.readers.formats import Options, Reading, read

NAME = "samples_sums_2024-05-06T07-08-09.000000.jsonl"


def document(number: int, text: str, score: float, **more: object) -> dict[str, object]:
    return {
        "doc_id": number,
        "doc": {"question": f"{number}+1?", "answer": str(number + 1)},
        "target": str(number + 1),
        "arguments": [[f"{number}+1?", {"until": [], "max_gen_toks": 32}]],
        "resps": [[text]],
        "filtered_resps": [text.split()[-1]],
        "doc_hash": "a",
        "prompt_hash": "b",
        "target_hash": "c",
        "exact_match": score,
    } | more


def written(tmp_path: Path, rows: list[dict[str, object]], *, indent: int | None = None) -> Path:
    path = tmp_path / NAME
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) if indent is None else json.dumps(rows, indent=indent))
    return path


def words(text: str) -> int:
    return len(text.split())


def reading(path: Path, **options: object) -> Reading:
    told: dict = {"count_tokens": words, "cap_tokens": 32, **options}
    return read(path, "lm_eval", Options(run="r", **told))


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as error:
        reading(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


OLD = [document(0, "it is 1", 1.0), document(1, "it may well be 9", 0.0)]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_without_filters_and_metrics_is_read_with_its_lengths(
    tmp_path: Path, indent: int | None
) -> None:
    records = reading(written(tmp_path, OLD, indent=indent)).records
    assert [r.tokens for r in records] == [3, 5]
    assert [r.grade for r in records] == [Grade.CORRECT, Grade.WRONG]
    assert [(r.problem, r.prompt) for r in records] == [("0", "0+1?"), ("1", "1+1?")]
    assert {(r.benchmark, r.cap_tokens) for r in records} == {("sums", 32)}


def test_a_response_without_content_is_an_empty_text_without_an_answer(tmp_path: Path) -> None:
    # As an API sends it where thinking took all of the cap.
    empty = document(2, "-", 0.0, resps=[[None]], filtered_resps=[None])
    result = reading(written(tmp_path, [*OLD, empty]))
    assert [(r.text, r.tokens) for r in result.records][1:] == [("it may well be 9", 5), ("", 0)]
    assert result.records[2].grade is Grade.UNPARSED
    assert "1 responses are null: taken as empty texts without an answer" in result.notes


def test_filters_without_a_name_are_numbered_and_chosen(tmp_path: Path) -> None:
    strict = [row | {"exact_match": 0.0} for row in OLD]
    path = written(tmp_path, [*strict, *OLD])
    assert "has the filters 1, 2; choose one with --column filter=NAME" in refusal(path)
    chosen = [reading(path, columns={"filter": number}).records for number in ("1", "2")]
    assert [[r.grade for r in records] for records in chosen] == [
        [Grade.WRONG, Grade.WRONG],
        [Grade.CORRECT, Grade.WRONG],
    ]


def test_two_metrics_without_a_list_are_chosen_among(tmp_path: Path) -> None:
    path = written(tmp_path, [row | {"f1": 0.5} for row in OLD])
    assert "has the metrics exact_match, f1; choose one" in refusal(path)
    assert len(reading(path, columns={"correct": "exact_match"}).records) == 2


def test_numbers_of_documents_that_became_floats_are_whole(tmp_path: Path) -> None:
    path = written(tmp_path, [row | {"doc_id": float(row["doc_id"])} for row in OLD])  # type: ignore[arg-type]
    assert [r.problem for r in reading(path).records] == ["0", "1"]


THINKING = [
    document(0, "<think> so it is 1 </think> it is 1", 1.0),
    document(1, "<think> it may be 9 or", 0.0),
]


def test_thinking_that_the_file_holds_is_counted(tmp_path: Path) -> None:
    assert [r.tokens for r in reading(written(tmp_path, THINKING)).records] == [9, 6]


def test_a_file_that_holds_the_thinking_of_cut_samples_only_is_refused(tmp_path: Path) -> None:
    stripped = [document(0, "it is 1", 1.0), THINKING[1]]
    message = refusal(written(tmp_path, stripped))
    assert "1 of 2 texts open their thinking and none ends it" in message
    assert "run it again without think_end_token" in message
    assert "--from table" in message


@pytest.mark.parametrize(
    "settings",
    ["pretrained=m,think_end_token=</think>", {"pretrained": "m", "think_end_token": "</think>"}],
)
def test_results_that_name_the_end_of_thinking_tell_that_it_was_dropped(
    tmp_path: Path, settings: object
) -> None:
    path = written(tmp_path, OLD)
    results = tmp_path / NAME.replace("samples_sums_", "results_").replace("jsonl", "json")
    results.write_text(json.dumps({"config": {"model_args": settings}}))
    assert "was made with think_end_token" in refusal(path)
    results.write_text(json.dumps({"config": {"model_args": {"think_end_token": None}}}))
    assert len(reading(path).records) == 2


def test_where_nothing_tells_of_dropped_thinking_it_is_said_what_counts_would_mean(
    tmp_path: Path,
) -> None:
    notes = reading(written(tmp_path, OLD)).notes
    assert any("these counts are of the answers alone" in note for note in notes)
    notes = reading(written(tmp_path, THINKING)).notes
    assert not any("of the answers alone" in note for note in notes)
