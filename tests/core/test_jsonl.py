import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tersely.core import jsonl, zstandard
from tersely.core.errors import DataError
from tersely.core.types import EvalRecord, Finish, Grade, Problem, Rollout, StepRecord

RECORD = EvalRecord(
    run="r",
    benchmark="b",
    problem="p\u2028</script>\n",
    sample=0,
    grade=Grade.CORRECT,
    tokens=3,
    finish=Finish.STOP,
    cap_tokens=8,
    seed=1,
    pieces=("1", "+", "<eos>"),
)


def step_record(**changes):
    values = {
        name: (1 if hint is int else 0.5) for name, hint in StepRecord.__annotations__.items()
    }
    return StepRecord(**(values | changes))


def test_records_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "eval.jsonl"
    other = replace(RECORD, sample=1, pieces=None, difficulty=0.25, text="é" * 3)
    jsonl.append(path, RECORD)
    jsonl.append(path, other)
    back = jsonl.read(path, EvalRecord)
    assert back == [RECORD, other]
    assert isinstance(back[0].grade, Grade)
    assert isinstance(back[0].pieces, tuple)
    assert path.read_bytes().count(b"\n") == 2


def test_nan_is_stored_as_null_and_comes_back_as_nan(tmp_path):
    path = tmp_path / "steps.jsonl"
    jsonl.append(path, step_record(wrong_tokens_mean=math.nan, grad_norm=-math.inf))
    line = json.loads(path.read_text())
    assert line["schema"] == 1
    assert line["wrong_tokens_mean"] is None
    (back,) = jsonl.read(path, StepRecord)
    assert math.isnan(back.wrong_tokens_mean)
    assert back.grad_norm == -math.inf
    assert back.accuracy == 0.5


def test_none_of_an_optional_float_stays_none_and_nan_there_is_refused(tmp_path):
    path = tmp_path / "problems.jsonl"
    problem = Problem(id="a", prompt="?", answer="1", source="s")
    jsonl.append(path, problem)
    assert jsonl.read(path, Problem)[0].difficulty is None
    with pytest.raises(DataError, match="difficulty=nan"):
        jsonl.append(path, replace(problem, difficulty=math.nan))
    assert len(jsonl.read(path, Problem)) == 1


def test_numpy_scalars_are_stored_as_plain_numbers(tmp_path):
    path = tmp_path / "eval.jsonl"
    jsonl.append(path, replace(RECORD, difficulty=np.float64(0.5)))
    assert jsonl.read(path, EvalRecord) == [replace(RECORD, difficulty=0.5)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, r"f\.jsonl:2: unknown key 'colour'"),
        ({"schema": 2}, r"f\.jsonl:2: schema 2, but this version of tersely reads schema 1"),
        ({"schema": None}, r"f\.jsonl:2: schema None"),
        ({"tokens": 3.0}, r"f\.jsonl:2: tokens: "),
        ({"tokens": True}, r"f\.jsonl:2: tokens: expected a whole number, got True"),
        ({"tokens": None}, r"f\.jsonl:2: tokens: "),
        ({"difficulty": "hard"}, r"f\.jsonl:2: difficulty: expected a number"),
        ({"grade": "maybe"}, r"f\.jsonl:2: grade: 'maybe' is not a valid Grade"),
        ({"run": 1}, r"f\.jsonl:2: run: expected str, got 1"),
        ({"pieces": "abc"}, r"f\.jsonl:2: pieces: expected a list"),
        ({"pieces": [1]}, r"f\.jsonl:2: pieces: expected str"),
    ],
)
def test_a_foreign_line_is_refused_by_file_line_and_key(tmp_path, change, message):
    path = tmp_path / "f.jsonl"
    jsonl.append(path, RECORD)
    line = json.loads(path.read_text()) | change
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    with pytest.raises(DataError, match=message):
        jsonl.read(path, EvalRecord)


def test_a_missing_key_is_refused_unless_the_field_has_a_default(tmp_path):
    path = tmp_path / "f.jsonl"
    jsonl.append(path, RECORD)
    line = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in line.items() if k != "pieces"}) + "\n")
    assert jsonl.read(path, EvalRecord) == [replace(RECORD, pieces=None)]
    path.write_text(json.dumps({k: v for k, v in line.items() if k != "seed"}) + "\n")
    with pytest.raises(DataError, match=r"f\.jsonl:1: missing key 'seed' of eval record"):
        jsonl.read(path, EvalRecord)


def test_a_last_line_cut_anywhere_is_repaired_to_the_lines_before_it(tmp_path):
    path = tmp_path / "f.jsonl"
    jsonl.append(path, RECORD)
    first_bytes = path.stat().st_size
    jsonl.append(path, replace(RECORD, sample=1))
    whole = path.read_bytes()
    for size in range(first_bytes + 1, len(whole) - 1, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="torn"):
            jsonl.read(path, EvalRecord)
        with pytest.raises(DataError, match="torn"):
            jsonl.append(path, RECORD)
        assert jsonl.repair_torn_tail(path) == size - first_bytes
        assert jsonl.read(path, EvalRecord) == [RECORD]


def test_a_line_whole_but_for_its_newline_is_kept(tmp_path):
    path = tmp_path / "f.jsonl"
    jsonl.append(path, RECORD)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert jsonl.repair_torn_tail(path) == 0
    assert path.read_bytes() == whole
    assert jsonl.repair_torn_tail(path) == 0


@pytest.mark.parametrize("bad", ["{", "", "[1]", '{"a": NaN}', "\0\0"])
def test_damage_before_the_last_line_is_not_repaired(tmp_path, bad):
    path = tmp_path / "f.jsonl"
    jsonl.append(path, RECORD)
    damaged = bad.encode() + b"\n" + path.read_bytes() + b'{"torn'
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"f\.jsonl:1"):
        jsonl.repair_torn_tail(path)
    assert path.read_bytes() == damaged


def test_an_empty_file_holds_no_records(tmp_path):
    path = tmp_path / "f.jsonl"
    path.touch()
    assert jsonl.read(path, EvalRecord) == []
    assert jsonl.repair_torn_tail(path) == 0


def test_a_record_with_an_array_has_no_json_form(tmp_path):
    rollout = Rollout(
        problem_id="a",
        sample=0,
        prompt_ids=(1,),
        completion_ids=(2,),
        logprobs=np.zeros(1),
        entropy=0.0,
        finish=Finish.STOP,
        policy_step=0,
        text="",
    )
    with pytest.raises(TypeError, match="no JSON form"):
        jsonl.append(tmp_path / "f.jsonl", rollout)


def test_write_replaces_the_whole_file_or_leaves_it_as_it_was(tmp_path):
    path = tmp_path / "f.jsonl"
    jsonl.append(path, RECORD)
    others = [replace(RECORD, sample=index) for index in (1, 2)]
    jsonl.write(path, others)
    assert jsonl.read(path, EvalRecord) == others
    problem = Problem(id="a", prompt="?", answer="1", source="s", difficulty=math.nan)
    with pytest.raises(DataError, match="difficulty=nan"):
        jsonl.write(path, [RECORD, problem])
    assert jsonl.read(path, EvalRecord) == others


def test_a_file_called_zst_is_packed_and_read_as_a_plain_one(tmp_path):
    records = [replace(RECORD, sample=n, text="é\x01\r\n\t,\"' " * 9) for n in range(3000)]
    plain, packed, renamed = (tmp_path / name for name in ("a.jsonl", "a.jsonl.zst", "b.jsonl"))
    for path in (plain, packed):
        jsonl.write(path, records)
    assert packed.stat().st_size < plain.stat().st_size / 20
    renamed.write_bytes(packed.read_bytes())
    for path in (plain, packed, renamed):
        assert jsonl.read(path, EvalRecord) == records


def test_no_records_are_none_when_packed(tmp_path):
    jsonl.write(tmp_path / "a.jsonl.zst", [])
    assert jsonl.read(tmp_path / "a.jsonl.zst", EvalRecord) == []


def test_the_same_records_are_packed_to_the_same_bytes(tmp_path):
    records = [replace(RECORD, sample=n, seed=n * n) for n in range(300)]
    for name in ("a.jsonl.zst", "b.jsonl.zst"):
        jsonl.write(tmp_path / name, records)
    assert (tmp_path / "a.jsonl.zst").read_bytes() == (tmp_path / "b.jsonl.zst").read_bytes()


@pytest.mark.parametrize("place", range(4, 2000, 97))
def test_a_bit_that_differs_in_a_packed_file_is_told_in_one_line(tmp_path, place):
    path = tmp_path / "a.jsonl.zst"
    jsonl.write(path, [replace(RECORD, sample=n, seed=n * n) for n in range(300)])
    content = bytearray(path.read_bytes())
    content[4 + place % (len(content) - 4)] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged") as raised:
        jsonl.read(path, EvalRecord)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.6, 0.9, 0.999])
def test_a_packed_file_that_is_cut_off_is_told_in_one_line(tmp_path, share):
    path = tmp_path / "a.jsonl.zst"
    jsonl.write(path, [replace(RECORD, sample=n, seed=n * n) for n in range(3000)])
    whole = path.read_bytes()
    path.write_bytes(whole[: max(4, int(len(whole) * share))])
    with pytest.raises(DataError, match=r"a\.jsonl\.zst is packed .* damaged: .*restore") as raised:
        jsonl.read(path, EvalRecord)
    assert "\n" not in str(raised.value)


def test_bytes_that_are_not_packed_lines_are_told_in_one_line(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    for rest in (b"", b"\xff" * 90, b"{}\n" * 40):
        path.write_bytes(zstandard.START + rest)
        with pytest.raises(DataError, match="damaged") as raised:
            jsonl.read(path, EvalRecord)
        assert "\n" not in str(raised.value)
