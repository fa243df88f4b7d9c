"""Details of lighteval before 0.9, made by hand after its source: ``DetailsLogger.Detail``."""

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tersely.core.errors import DataError
from tersely.core.types import Finish, Grade
from tersely.readers.formats import Options, Reading, read
from tersely.readers.regrading import regrade

NAME = "details_lighteval|gsm8k|0_2024-11-20T10-11-12.123456"


def detail(question: str, texts: list[str], tokens: list[list[int]], **metrics: float) -> dict:
    return {
        "choices": [],
        "cont_tokens": [tokens],
        "example": question,
        "full_prompt": f"<user>{question}",
        "gold": ["4"],
        "gold_index": [],
        "input_tokens": [[1, 2]],
        "instruction": "",
        "metrics": metrics,
        "num_asked_few_shots": 0,
        "num_effective_few_shots": 0,
        "padded": [0],
        "pred_logits": [],
        "predictions": texts,
        "specifics": None,
        "truncated": [0],
    }


ROWS = [
    detail("2+2?", ["it is 4"], [[5, 6, 7]], extractive_match=1.0),
    detail("1+3?", ["it may well be 9"], [[5, 6, 7, 8, 9]], extractive_match=0.0),
]


def as_printed(rows: list[dict]) -> list[dict]:
    """As 0.5 to 0.7 wrote them: ``{k: str(v) for k, v in asdict(detail).items()}``."""
    return [{key: str(value) for key, value in row.items()} for row in rows]


def parquet(tmp_path: Path, rows: list[dict]) -> Path:
    path = tmp_path / f"{NAME}.parquet"
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    return path


def jsonl(tmp_path: Path, rows: list[dict]) -> Path:
    path = tmp_path / f"{NAME}.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def reading(path: Path, **options: object) -> Reading:
    return read(path, "lighteval", Options(run="r", **options))  # type: ignore[arg-type]


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as error:
        reading(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("written", [parquet, jsonl])
@pytest.mark.parametrize("shape", [list, as_printed])
def test_each_older_layout_is_read_with_its_counts_and_verdicts(
    tmp_path: Path, written, shape
) -> None:
    result = reading(written(tmp_path, shape(ROWS)), cap_tokens=5)
    assert [r.grade for r in result.records] == [Grade.CORRECT, Grade.WRONG]
    assert [(r.tokens, r.finish) for r in result.records] == [(3, Finish.STOP), (5, Finish.LENGTH)]
    assert [r.prompt for r in result.records] == ["2+2?", "1+3?"]
    assert {r.benchmark for r in result.records} == {"lighteval|gsm8k|0"}
    assert set(result.golds.values()) == {"4"}


@pytest.mark.parametrize("shape", [list, as_printed])
def test_samples_of_a_share_are_told_apart_by_a_grader(tmp_path: Path, shape) -> None:
    rows = [
        detail("2+2?", ["4", "4", "5", "4"], [[1], [1], [1], [1]], **{"pass@1:4_samples": 0.75})
    ]
    path = parquet(tmp_path, shape(rows))
    records = reading(path, columns={"grader": "exact"}).records
    assert Counter(r.grade for r in records) == {Grade.CORRECT: 3, Grade.WRONG: 1}
    assert "3 of its 4 samples are right" in refusal(path)


def test_a_question_that_stands_twice_is_two_problems(tmp_path: Path) -> None:
    records = reading(parquet(tmp_path, [ROWS[0], ROWS[0]]), cap_tokens=9).records
    assert len({r.problem for r in records}) == 2


def test_one_list_a_prediction_is_read_as_one_in_a_list_of_its_own(tmp_path: Path) -> None:
    rows = [row | {"cont_tokens": row["cont_tokens"][0]} for row in ROWS]
    assert [r.tokens for r in reading(parquet(tmp_path, rows)).records] == [3, 5]


def test_printed_tensors_and_nan_are_no_counts_and_no_verdict(tmp_path: Path) -> None:
    rows = as_printed(ROWS)
    rows[0]["cont_tokens"] = "[[tensor([5, 6])]]"
    rows[0]["metrics"] = "{'extractive_match': nan}"
    path = parquet(tmp_path, rows)
    assert "give the model's tokenizer" in refusal(path)
    result = reading(path, count_tokens=lambda text: len(text.split()))
    assert [r.tokens for r in result.records] == [3, 5]
    assert [r.grade for r in result.records] == [Grade.UNGRADED, Grade.WRONG]
    assert "lists of tokens cannot be read" in result.notes[0]


def test_metrics_that_tell_no_sample_are_passed_over_where_all_is_graded_again(
    tmp_path: Path,
) -> None:
    rows = [detail("2+2?", ["4", "5"], [[1], [1, 2]], extractive_match=1.0, qem=1.0)]
    path = parquet(tmp_path, rows)
    assert "choose one with --column correct=METRIC" in refusal(path)
    assert "--regrade GRADER" in refusal(path, columns={"correct": "qem"})
    for columns in ({}, {"correct": "qem"}):
        found = reading(path, grader="exact", columns=columns)
        again = regrade(path, found, grader="exact").records
        assert [r.grade for r in again] == [Grade.CORRECT, Grade.WRONG]


@pytest.mark.parametrize(
    ("gone", "way_out"),
    [
        (
            ("metrics",),
            "--from table --column prompt=example --column text=predictions --regrade GRADER",
        ),
        (("predictions",), "--from table --column prompt=example --column correct=NAME"),
        (("example", "full_prompt"), "--column problem=NAME --column text=predictions"),
    ],
)
def test_a_missing_column_is_refused_with_the_table_as_a_way_out(
    tmp_path: Path, gone: tuple[str, ...], way_out: str
) -> None:
    rows = [{k: v for k, v in row.items() if k not in gone} for row in ROWS]
    message = refusal(parquet(tmp_path, rows))
    assert f"lacks {gone[0]}" in message
    assert way_out in message


def test_the_way_out_of_missing_metrics_reads_the_file(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "metrics"} for row in ROWS]
    path = parquet(tmp_path, rows)
    columns = {"prompt": "example", "text": "predictions"}
    told = Options(run="r", columns=columns, grader="exact", count_tokens=len)
    assert len(read(path, "table", told).records) == 2


def test_log_likelihoods_are_refused_as_no_text(tmp_path: Path) -> None:
    rows = [ROWS[0] | {"predictions": [-1.5, -2.5]}]
    assert "row 1 holds no generated text" in refusal(parquet(tmp_path, rows))
