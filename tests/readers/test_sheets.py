"""Step logs as spreadsheets and loggers of other countries write them."""

import codecs
import gzip
from pathlib import Path

import pytest

from tersely.core.errors import DataError
from tersely.readers.steplogs import Writer, read_steps

COLUMNS = {"step": "it", "tokens_mean": "len"}
PLAIN = "it,len\n1,0.5\n2,1234.25\n"
DECIMAL = "it;len\n1;0,5\n2;1234,25\n"


def read(tmp_path: Path, content: bytes | str):  # type: ignore[no-untyped-def]
    (file := tmp_path / "log.csv").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    return read_steps(file, writer=Writer.CSV, columns=COLUMNS)


def refusal(tmp_path: Path, content: bytes | str) -> str:
    with pytest.raises(DataError) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("\n", "\r\n"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        codecs.BOM_UTF8 + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        gzip.compress(PLAIN.encode()),
        DECIMAL,
        DECIMAL.replace(";", "\t"),
        DECIMAL.encode("utf-16"),
        'it,len\n1,"0,5"\n2,"1234,25"\n',
        # The comma of a name that is not asked for separates nothing.
        "it;len;a,b\n1;0,5;x\n2;1234,25;y, z\n",
    ],
)
def test_every_shape_holds_the_same_numbers(tmp_path: Path, content: bytes | str) -> None:
    log = read(tmp_path, content)
    assert log.step_N.tolist() == [1, 2]
    assert log.columns["tokens_mean"].tolist() == [0.5, 1234.25]


def test_a_clear_decimal_comma_tells_of_the_others(tmp_path: Path) -> None:
    log = read(tmp_path, "it;len\n1;0,5\n2;1,234\n")
    assert log.columns["tokens_mean"].tolist() == [0.5, 1.234]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("it;len\n1;1,234\n2;2,345\n", "the comma of '1,234' may stand before decimals or"),
        ("it;len\n1;1.234,5\n", "the comma of '1.234,5'"),
        ("it;len\n1;1,234.5\n", "the comma of '1,234.5'"),
        ("it;len\n1;0.5\n2;0,5\n", "the comma of '0,5'"),
        ("it,len\n1,0,5\n", "log.csv:2 has more cells than the first line has names"),
        ("it,len\n1,0\n".encode("utf-16-le"), "is text in UTF-16 without the mark"),
        (b"it,len\n1,\xff\n", "is not CSV: 'utf-8' codec can't decode byte 0xff"),
        (b"PAR1\x00\x00", "is a Parquet file, no CSV"),
        (b"PK\x03\x04\x00", "is a damaged zip archive, no CSV"),
        ("a;b,c\n1;2,3\n", "can be read with commas or semicolons"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(
    tmp_path: Path, content: bytes | str, message: str
) -> None:
    assert message in refusal(tmp_path, content)


def test_verls_console_output_is_read_in_utf_16(tmp_path: Path) -> None:
    (file := tmp_path / "console.log").write_bytes(
        "step:1 - response_length/mean:9.5\n".encode("utf-16")
    )
    log = read_steps(file, writer=Writer.VERL, columns={})
    assert log.columns["tokens_mean"].tolist() == [9.5]
