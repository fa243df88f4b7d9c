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
        PLAIN.replace("\n", "\r"),
        DECIMAL.replace("\n", "\r"),
        "sep=;\r" + PLAIN.replace(",", ";").replace("\n", "\r"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        codecs.BOM_UTF8 + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        gzip.compress(PLAIN.encode(), mtime=0),
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
        (f"it,len,{'x' * 140_000}\n1,2,3\n", "has a cell of more than 131,072 characters"),
        (f"it,len,text\n1,2,{'x' * 140_000}\n", "has a cell of more than 131,072 characters"),
        ('it,len\n1,"2\n' + "2,3\n" * 40_000, "a quote that nothing closes"),
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


OURS = "step,tokens_mean,accuracy\n1,90,0.5\n2,80,0.6\n"


@pytest.mark.parametrize(
    "content",
    [
        OURS,
        # pandas' index, as to_csv() writes it, and a named column of no use.
        ",step,tokens_mean,accuracy\n0,1,90,0.5\n1,2,80,0.6\n",
        " ,step,x,,tokens_mean,accuracy\n0,1,a,b,90,0.5\n1,2,a,b,80,0.6\n",
        '"";step;tokens_mean;accuracy\n0;1;90;0,5\n1;2;80;0,6\n',
        ",step,tokens_mean,accuracy,\n0,1,90,0.5,\n1,2,80,0.6,\n",
        "step,tokens_mean,accuracy,,\n1,90,0.5,,,\n2,80,0.6\n",
        "step, tokens_mean, accuracy\n1, 90, 0.5\n\n2, 80, 0.6\n",
        "step,step,x,x,tokens_mean,accuracy\n1,1,3,4,90,0.5\n2,2,5,6,80,0.6\n",
        # A share in percent with its sign is no other number.
        "step,tokens_mean,accuracy\n1,90,50%\n2,80,60 %\n",
        # Rows that are no step: of a summary, or of another table.
        "step,tokens_mean,accuracy\n1,90,0.5\n,7,0.1\n2,80,0.6\nmean,85,0.55\n",
    ],
)
def test_columns_that_bear_our_names_are_read_whatever_stands_beside_them(
    tmp_path: Path, content: str
) -> None:
    (file := tmp_path / "log.csv").write_text(content)
    log = read_steps(file, writer=Writer.CSV, columns={})
    assert log.step_N.tolist() == [1, 2]
    assert log.columns["tokens_mean"].tolist() == [90, 80]
    assert log.columns["accuracy"].tolist() == pytest.approx([0.5, 0.6])
    assert log.repeated_steps == 0


def test_a_column_that_the_user_names_stands_before_one_of_our_name(tmp_path: Path) -> None:
    (file := tmp_path / "log.csv").write_text("step,tokens_mean,len\n1,90,9\n2,80,8\n")
    log = read_steps(file, writer=Writer.CSV, columns={"tokens_mean": "len"})
    assert log.columns["tokens_mean"].tolist() == [9, 8]
    log = read_steps(file, writer=Writer.CSV, columns={"target_tokens": "tokens_mean"})
    assert log.columns["target_tokens"].tolist() == [90, 80]
    assert "tokens_mean" not in log.columns


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("it,len,len\n1,5,6\n", "has two columns 'len' that differ ('5' and '6'); give one"),
        ("it,len,\n1,0,5\n", "log.csv:2 has more cells than the first line has names"),
        ("it,len,accuracy\n1,5,50\n", "accuracy is 50 at step 1, and must be a share from 0 to 1;"),
        ("it,len,solved_share\n1,5,-1\n", "solved_share is -1 at step 1, and must be a share"),
        (
            "it,len\n1,5\n2,-3\n",
            "tokens_mean (column len) is -3 at step 2, and must be a number of",
        ),
    ],
)
def test_what_no_step_can_have_is_refused(tmp_path: Path, content: str, message: str) -> None:
    said = refusal(tmp_path, content)
    assert message in said
    # No negative share is one in percent.
    percent = "a share" in said and "is -" not in said
    assert ("divide the column by 100 if it is in percent" in said) == percent


def test_infinite_and_rounded_shares_are_no_percent(tmp_path: Path) -> None:
    log = read(tmp_path, "it,len,accuracy\n1,5,1.0000001\n2,6,inf\n3,7,nan\n")
    assert log.columns["accuracy"][0] == pytest.approx(1)
