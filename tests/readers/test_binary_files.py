"""A binary file given to a reader that wants text: one line says what it is and what to do."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tersely.core import jsonl
from tersely.core.contents import as_utf8, kind_of
from tersely.core.errors import DataError
from tersely.core.parsing import parse_json, parse_toml
from tersely.core.types import StepRecord
from tersely.readers.evaluations import load
from tersely.readers.formats import Options, read
from tersely.readers.steplogs import Writer, read_steps
from tersely.tasks.tables import read_rows

FIXTURES = Path(__file__).parent / "fixtures"
FRAME = pl.DataFrame({"id": ["a"], "acc": [1], "response": ["x"]})


def written(write) -> bytes:  # type: ignore[no-untyped-def]
    write(target := io.BytesIO())
    return target.getvalue()


def zipped(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return target.getvalue()


def tarred() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("rows.jsonl"), io.BytesIO())
    return target.getvalue()


def database() -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table t (x)")
        return connection.serialize()


KINDS = {
    "a Parquet file": written(FRAME.write_parquet),
    "an Arrow file": written(FRAME.write_ipc),
    "an Arrow stream": written(FRAME.write_ipc_stream),
    "a NumPy array (.npy)": written(lambda f: np.save(f, np.zeros(3))),
    "a NumPy archive (.npz)": written(lambda f: np.savez(f, rewards=np.zeros(3))),
    "a PyTorch file": zipped("rollout/data.pkl", "rollout/version"),
    "an Office file (.xlsx, .docx)": zipped("[Content_Types].xml", "xl/workbook.xml"),
    "a zip archive": zipped("rows.jsonl"),
    "a damaged zip archive": b"PK\x03\x04 and no more",
    "an inspect-ai log (.eval)": zipped("header.json", "samples/1.json"),
    "a Python pickle": pickle.dumps([{"problem": "a"}]),
    "an SQLite database": database(),
    "a tar archive": tarred(),
    "text in UTF-16 without the mark that says so": '{"problem": 1}'.encode("utf-16-le"),
    "a binary file": b"\x01\x02\x00\x03\x00\x00\x09" * 9,
}
PACKED = {
    "packed with gzip": gzip.compress(b"{}\n"),
    "packed with bzip2": bz2.compress(b"{}\n"),
    "packed with xz": lzma.compress(b"{}\n"),
}


@pytest.mark.parametrize("kind", [*KINDS, *PACKED])
def test_each_kind_is_told(kind: str) -> None:
    assert kind_of((KINDS | PACKED)[kind]) == kind


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"a": "\\u0000"}', "PK,a\n", "BZh,ORC\n", "%,PDF", "один", "PAR,1"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_no_binary_file(text: str, encoding: str) -> None:
    assert kind_of(text.encode(encoding)) is None
    assert as_utf8(text.encode(encoding)).decode() == text


def refusal(call, path: Path, *arguments, **named) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError) as error:
        call(path, *arguments, **named)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("reader", ["lm_eval", "verl", "table", "trl", "lighteval", "inspect_ai"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_says_what_it_was_given(tmp_path: Path, reader: str, kind: str) -> None:
    reads_parquet = reader in ("table", "trl", "lighteval")
    is_parquet, is_zip = kind == "a Parquet file", KINDS[kind].startswith(b"PK")
    if (is_parquet and reads_parquet) or (is_zip and reader == "inspect_ai"):
        pytest.skip("read, and refused by what is in it")
    (path := tmp_path / "given").write_bytes(KINDS[kind])
    message = refusal(read, path, reader, Options(run="r"))
    assert f"given is {kind}; expected" in message
    assert "--from" in message


@pytest.mark.parametrize("writer", Writer)
@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_of_steps_says_what_it_was_given(
    tmp_path: Path, writer: Writer, kind: str
) -> None:
    (path := tmp_path / "given").write_bytes(KINDS[kind])
    if writer is Writer.TRL and "UTF-16" in kind:
        pytest.skip("JSON tells its encoding")
    columns = {} if writer is Writer.TERSELY else {"tokens_mean": "x"}
    assert kind in refusal(read_steps, path, writer=writer, columns=columns)


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_files_say_what_they_are_instead(tmp_path: Path, kind: str) -> None:
    (path := tmp_path / "given").write_bytes(KINDS[kind])
    assert kind in refusal(load, path)
    assert kind in refusal(jsonl.read, path, StepRecord)
    assert kind in refusal(lambda file: list(read_rows(file)), path)
    for parse in (parse_json, parse_toml):
        if parse is parse_json and "UTF-16" in kind:
            continue  # JSON tells its encoding
        with pytest.raises(ValueError, match="it is ") as error:
            parse(KINDS[kind])
        assert kind in str(error.value)


@pytest.mark.parametrize(
    ("columns", "way_out"),
    [
        (("doc", "metric", "model_response"), "read it with --from lighteval"),
        (("predictions", "full_prompt", "gold"), "read it with --from lighteval"),
        (("step", "prompt", "completion", "advantage"), "read it with --from trl"),
        (("id", "acc", "response"), "--from table --column problem=id --column text=response"),
        (("x",), "--from table --column problem=NAME --column correct=NAME"),
    ],
)
def test_parquet_given_to_lm_eval_names_the_reader_that_fits(
    tmp_path: Path, columns: tuple[str, ...], way_out: str
) -> None:
    pl.DataFrame({name: ["a"] for name in columns}).write_parquet(path := tmp_path / "x.jsonl")
    assert way_out in refusal(read, path, "lm_eval", Options(run="r"))


def test_json_lines_in_utf_16_are_read(tmp_path: Path) -> None:
    row = {"problem": "a", "correct": 1, "tokens": 5, "finish": "stop"}
    (path := tmp_path / "rows.jsonl").write_bytes((json.dumps(row) + "\n").encode("utf-16"))
    assert len(read(path, "table", Options(run="r")).records) == 1


def test_a_packed_log_of_inspect_is_read_whatever_its_name(tmp_path: Path) -> None:
    content = (FIXTURES / "inspect_ai" / "lab.json").read_bytes()
    (path := tmp_path / "log.json.gz").write_bytes(gzip.compress(content))
    plain = read(FIXTURES / "inspect_ai" / "lab.json", "inspect_ai", Options(run="r"))
    assert read(path, "inspect_ai", Options(run="r")).records == plain.records
