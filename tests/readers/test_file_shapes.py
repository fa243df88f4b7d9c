"""The shapes in which other people's files come: each is read as what it says."""

import codecs
import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tersely.core.errors import DataError
from tersely.core.types import Finish, Grade
from tersely.readers.formats import Options, Reading, read

ROW = {"problem": "a", "correct": 1, "tokens": 5, "finish": "stop"}
ROWS = [ROW, ROW | {"problem": "b", "correct": 0}]


def reading(path: Path, name: str = "table", **options: object) -> Reading:
    return read(path, name, Options(run="run", **options))  # type: ignore[arg-type]


def written(path: Path, rows: list, *, end: str = "\n") -> Path:
    path.write_bytes("".join(json.dumps(row) + end for row in rows).encode())
    return path


def parquet(path: Path, rows: list, **settings) -> Path:
    pl.DataFrame(rows, **settings).write_parquet(path)
    return path


SHAPES = {
    "crlf": lambda rows: "".join(json.dumps(row) + "\r\n" for row in rows).encode(),
    "byte-order mark": lambda rows: codecs.BOM_UTF8 + "\n".join(map(json.dumps, rows)).encode(),
    "blank lines": lambda rows: ("\n\n" + "\n \n".join(map(json.dumps, rows))).encode(),
    "a list": lambda rows: json.dumps(rows).encode(),
    "an indented list": lambda rows: b"\n" + json.dumps(rows, indent=2).encode() + b"\n",
    "a marked list": lambda rows: codecs.BOM_UTF8 + json.dumps(rows).encode(),
    "a line of another alphabet": lambda rows: "\n".join(
        json.dumps(row | {"text": "один\u2028два"}, ensure_ascii=False) for row in rows
    ).encode(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_read_from_every_shape_of_json(tmp_path: Path, shape: str) -> None:
    (path := tmp_path / "rows.json").write_bytes(SHAPES[shape](ROWS))
    records = reading(path).records
    assert [(r.problem, r.grade) for r in records] == [("a", Grade.CORRECT), ("b", Grade.WRONG)]


def test_parquet_is_known_by_what_it_holds_not_by_its_name(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.data", ROWS)
    assert [r.problem for r in reading(path).records] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'[{"problem": 1}, 7]', "entry 2 is a int, no object"),
        (b'[{"problem": 1},', "begins as a JSON list and is none"),
        (b'[1]\n{"problem": 1}', "begins as a JSON list and is none"),
        (b"[]", "is empty"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
        (b'{"problem": 1}\n7\n', "line 2 is a int, no object"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (path := tmp_path / "rows").write_bytes(content)
    with pytest.raises(DataError) as error:
        reading(path)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_whole_numbers_that_a_format_made_floats_are_whole(tmp_path: Path, name: str) -> None:
    floats = {"problem": 72.0, "sample": 3.0, "gold": 8.0, "extracted": 8.0, "seed": 2.0}
    rows = [ROW | floats | {"tokens": 5.0, "cap_tokens": 64.0, "correct": 1.0}]
    path = (written if name.endswith("jsonl") else parquet)(tmp_path / name, rows)
    result = reading(path)
    (record,) = result.records
    assert (record.problem, record.sample, record.extracted) == ("72", 3, "8")
    assert (record.seed, record.tokens, record.cap_tokens) == (2, 5, 64)
    assert result.golds == {("rows", "72"): "8"}


def test_numbers_are_written_as_one_writes_them(tmp_path: Path) -> None:
    values = [72, 72.0, Decimal("72.00"), 0.5, Decimal("0.50"), -3.0]
    texts = []
    for number, value in enumerate(values):
        path = parquet(tmp_path / f"{number}.parquet", [ROW | {"extracted": value}])
        texts.append(reading(path).records[0].extracted)
    assert texts == ["72", "72", "72", "0.5", "0.50", "-3"]


def test_a_missing_number_is_no_answer(tmp_path: Path) -> None:
    path = written(tmp_path / "rows", [ROW | {"extracted": float("nan")}])
    assert reading(path).records[0].extracted is None


@pytest.mark.parametrize(
    ("score", "grade"),
    [
        *((right, Grade.CORRECT) for right in ([True], [[1]], ["correct"], "True", "1.0", "yes")),
        *((wrong, Grade.WRONG) for wrong in ([False], [[0.0]], "False", "0", "no", "Incorrect")),
        *((none, Grade.UNGRADED) for none in ([None], "None", "null", "")),
    ],
)
def test_a_verdict_is_read_from_every_shape(tmp_path: Path, score: object, grade: Grade) -> None:
    path = written(tmp_path / "rows", [ROW | {"correct": score}])
    assert reading(path).records[0].grade is grade


def test_verdicts_in_lists_of_a_parquet_file_are_read(tmp_path: Path) -> None:
    rows = [ROW | {"correct": [True]}, ROW | {"correct": [False]}]
    assert [r.grade for r in reading(parquet(tmp_path / "l", rows)).records] == [
        Grade.CORRECT,
        Grade.WRONG,
    ]
    fixed = {"correct": pl.Array(pl.Int8, 1), "tokens": pl.Int64, "problem": pl.String}
    rows = [{"correct": [1], "tokens": 3, "problem": "a"}]
    path = parquet(tmp_path / "a", rows, schema=fixed)
    assert reading(path, cap_tokens=9).records[0].grade is Grade.CORRECT


@pytest.mark.parametrize(
    ("tokens", "cap", "expected"),
    [("12", "64", (12, 64)), ("12.0", 64.0, (12, 64)), (12, None, (12, 32))],
)
def test_counts_and_caps_are_read_from_texts_too(
    tmp_path: Path, tokens: object, cap: object, expected: tuple[int, int]
) -> None:
    cut = ROW | {"finish": "length", "tokens": 32, "problem": "b"}
    rows = [ROW | {"tokens": tokens, "cap_tokens": cap}, cut]
    record = reading(written(tmp_path / "rows", rows)).records[0]
    assert (record.tokens, record.cap_tokens) == expected


@pytest.mark.parametrize("cap", [0, -5, 2.5, "many", True])
def test_a_cap_that_cannot_be_is_refused_by_its_value(tmp_path: Path, cap: object) -> None:
    path = written(tmp_path / "rows", [ROW, ROW | {"cap_tokens": cap}])
    with pytest.raises(DataError, match=f"line 2: {cap!r} is no cap"):
        reading(path)


CHATS = {
    "parts": [{"role": "user", "content": [{"type": "text", "text": "How many?"}]}],
    "two parts": [
        {"role": "user", "content": [{"type": "text", "text": "How "}, {"text": "many?"}]}
    ],
    "input_text": [{"role": "user", "content": [{"type": "input_text", "text": "How many?"}]}],
    "a value within": [
        {"role": "user", "content": [{"type": "text", "text": {"value": "How many?"}}]}
    ],
    "one message": {"role": "user", "content": "How many?"},
    "one message of parts": {"role": "user", "content": [{"type": "text", "text": "How many?"}]},
    "texts alone": ["How ", "many?"],
    "from and value": [{"from": "human", "value": "How many?"}],
    "google's parts": [{"role": "user", "parts": [{"text": "How many?"}]}],
    "a picture too": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:..."}},
                {"type": "text", "text": "How many?"},
            ],
        }
    ],
    "a system message": [
        {"role": "system", "content": None},
        {"role": "user", "content": "How many?"},
    ],
}


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_the_parts_text_is_the_prompt(tmp_path: Path, chat: str, ending: str) -> None:
    rows = [ROW | {"prompt": CHATS[chat], "text": CHATS[chat]}]
    path = (written if ending == "jsonl" else parquet)(tmp_path / "rows", rows)
    (record,) = reading(path).records
    assert (record.prompt, record.text) == ("How many?", "How many?")


@pytest.mark.parametrize(
    "said",
    [
        [{"role": "assistant", "reasoning_content": "hm", "content": "7"}],
        [{"role": "assistant", "reasoning": "hm", "content": [{"type": "text", "text": "7"}]}],
        [{"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "7"}]}],
        [{"content": [{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "7"}]}],
        [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}, "7"],
    ],
)
def test_thinking_in_parts_comes_first(tmp_path: Path, said: object) -> None:
    path = written(tmp_path / "rows", [ROW | {"text": said}])
    assert reading(path).records[0].text == "<think>hm</think>7"


def test_each_sample_may_have_a_cap_of_its_own(tmp_path: Path) -> None:
    # A window of 40 that held prompts of 10 and 20: cut at 30 and at 20.
    rows = [
        {"problem": "a", "correct": 0, "n": 30, "limit": 30},
        {"problem": "b", "correct": 0, "n": 20, "limit": 20},
        {"problem": "c", "correct": 1, "n": 25, "limit": 30},
    ]
    columns = {"tokens": "n", "cap_tokens": "limit"}
    records = reading(written(tmp_path / "rows", rows), columns=columns).records
    assert [r.cap_tokens for r in records] == [30, 20, 30]
    assert [r.finish for r in records] == [Finish.LENGTH, Finish.LENGTH, Finish.STOP]
