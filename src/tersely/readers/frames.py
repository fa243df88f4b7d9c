"""A file of evaluation records as columns, read without its texts."""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tersely.core import jsonl
from tersely.core.contents import kind_of
from tersely.core.errors import DataError
from tersely.core.order import natural_pair
from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.records import (
    ENDED,
    NO_ANSWER,
    RIGHT,
    UNKNOWN_ANSWER,
    UNKNOWN_LOOP,
    UNKNOWN_TOKENS,
    UNKNOWN_TURNS,
    Samples,
)

# What a page can carry: a few traces a problem, and no more text than a browser likes.
TRACES_A_PROBLEM = 2
TRACE_CHARACTERS = 4_000_000

_REQUIRED = ("run", "benchmark", "problem", "sample", "grade", "tokens", "finish")


_SCHEMA: dict[str, Any] = {
    "schema": pl.Int64,
    "run": pl.String,
    "model": pl.String,
    "benchmark": pl.String,
    "problem": pl.String,
    "sample": pl.Int64,
    "grade": pl.String,
    "tokens": pl.Int64,
    "finish": pl.String,
    "cap_tokens": pl.Int64,
    "extracted": pl.String,
    "answer_tokens": pl.Int64,
    "thinking_tokens": pl.Int64,
    "answered_budgets": pl.List(pl.Int64),
    "difficulty": pl.Float64,
    "effort": pl.String,
    "failure": pl.String,
    "loops": pl.Boolean,
    "turns": pl.Int64,
    "tool_tokens": pl.Int64,
}


def read_frame(file: Path) -> tuple[pl.DataFrame, list[str]]:
    """The numbers of a records file, without its texts, and notes on it.

    A last line that is still being written, or that a crash tore, is left out and noted.

    Raises:
        DataError: naming file and line, if a line is no evaluation record.
    """
    _check_text(file)
    try:
        frame = scan(file, _SCHEMA).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        with file.open("rb") as content:
            if content.read(1) != b"{":
                raise DataError(
                    f"{file} holds no evaluation records; if another tool wrote it, name it with "
                    "--from"
                ) from None
        jsonl.read(file, EvalRecord)  # names the line, if one is to blame
        raise DataError(f"{file} cannot be read: {error}") from error
    torn = f"The last line of {file.name} is not whole and was left out."
    notes = [torn] if _is_torn(file) else []
    _check_frame(frame, file)
    return frame, notes


def _check_text(file: Path) -> None:
    with file.open("rb") as content:
        head = content.read(8192)
    # An archive is told by its members, which it lists at its end.
    kind = kind_of(file.read_bytes() if head.startswith(b"PK") else head)
    if kind is not None:
        raise DataError(
            f"{file} holds no evaluation records, but is {kind}; if another tool wrote it, name it "
            "with --from"
        )


def _answer_numbers() -> pl.Expr:
    """A number for each answer: equal ones are votes for the same in a majority."""
    grade = pl.col("grade")
    wrong = pl.when(grade == Grade.WRONG.value).then(pl.col("extracted"))
    return (
        pl.when(grade == Grade.CORRECT.value)
        .then(RIGHT)
        .when(wrong.is_not_null())
        .then(wrong.rank("dense").cast(pl.Int64))
        .when(grade == Grade.UNPARSED.value)
        .then(NO_ANSWER)
        .otherwise(UNKNOWN_ANSWER)
    )


def _derive(frame: pl.DataFrame, *, prefix_budgets: Sequence[int]) -> pl.DataFrame:
    return frame.select(
        correct=pl.col("grade") == Grade.CORRECT.value,
        finished=pl.col("finish").is_in([end.value for end in ENDED]),
        end_unknown=pl.col("finish") == Finish.UNKNOWN.value,
        graded=(pl.col("grade") != Grade.UNGRADED.value) & (pl.col("finish") != Finish.ERROR.value),
        answer=_answer_numbers(),
        answer_tokens=pl.col("answer_tokens").fill_null(UNKNOWN_TOKENS),
        thinking=pl.col("thinking_tokens").fill_null(UNKNOWN_TOKENS),
        loops=pl.col("loops").cast(pl.Int64).fill_null(UNKNOWN_LOOP),
        turns=pl.col("turns").fill_null(UNKNOWN_TURNS),
        tool_tokens=pl.col("tool_tokens").fill_null(UNKNOWN_TOKENS),
        **{
            f"within {b}": pl.col("answered_budgets").list.contains(b).fill_null(False)
            for b in prefix_budgets
        },
    )


def as_samples(frame: pl.DataFrame, *, prefix_budgets: Sequence[int] = ()) -> Samples:
    """A frame of records as columns; see ``Samples``."""
    found = sorted(frame.select("benchmark", "problem").unique().rows(), key=natural_pair)
    keys = pl.DataFrame(found, schema={"benchmark": pl.String, "problem": pl.String}, orient="row")
    placed = frame.select("benchmark", "problem").join(
        keys.with_row_index("row"), on=["benchmark", "problem"], how="left", maintain_order="left"
    )
    columns = _derive(frame, prefix_budgets=prefix_budgets)
    known = bool(frame["answered_budgets"].is_not_null().any())
    used = list(prefix_budgets) if known else []
    return Samples(
        runs=_distinct(frame, "run"),
        models=_distinct(frame, "model"),
        caps=tuple(frame["cap_tokens"].unique().to_list()),
        keys=tuple(found),
        row_N=placed["row"].cast(pl.Int64).to_numpy(),
        sample_N=frame["sample"].to_numpy(),
        correct_N=columns["correct"].to_numpy(),
        finished_N=columns["finished"].to_numpy(),
        graded_N=columns["graded"].to_numpy(),
        end_unknown_N=columns["end_unknown"].to_numpy(),
        tokens_N=frame["tokens"].to_numpy(),
        answer_N=columns["answer"].cast(pl.Int64).to_numpy(),
        answer_tokens_N=columns["answer_tokens"].to_numpy(),
        prefix_budgets_C=np.array(used, dtype=np.int64),
        prefix_NC=columns.select([f"within {b}" for b in used]).to_numpy().astype(bool)
        if used
        else np.zeros((len(frame), 0), dtype=bool),
        thinking_N=columns["thinking"].to_numpy(),
        loops_N=columns["loops"].to_numpy(),
        turns_N=columns["turns"].to_numpy(),
        tool_tokens_N=columns["tool_tokens"].to_numpy(),
    )


def read_traces(file: Path, *, only_model: str | None = None) -> list[EvalRecord]:
    """Records with text: the first samples of every problem, sample by sample, while they fit.

    Args:
        only_model: the model whose records are meant; None: all.
    """
    slim = {"model": pl.String, "problem": pl.String, "sample": pl.Int64, "text": pl.String}
    meant = pl.lit(True) if only_model is None else pl.col("model") == only_model
    sizes = (
        scan(file, slim)
        .select("model", "problem", "sample", characters=pl.col("text").str.len_chars())
        .with_row_index("line")
        .filter(meant, pl.col("sample") < TRACES_A_PROBLEM, pl.col("characters") > 0)
        .collect()
        .sort("sample", "problem")
    )
    fits = sizes.filter(pl.col("characters").cum_sum() <= TRACE_CHARACTERS)
    lines = set(fits["line"].to_list())
    with file.open("rb") as content:
        filled = (line for line in content if line.strip())
        kept = [line.rstrip(b"\n") for number, line in enumerate(filled) if number in lines]
    records = jsonl.parse(kept, EvalRecord, name=f"{file}, kept texts")
    return sorted(records, key=lambda r: (natural_pair((r.benchmark, r.problem)), r.sample))


def scan(file: Path, schema: Mapping[str, Any]) -> pl.LazyFrame:
    """The wanted fields of all whole lines; other fields are not looked at."""
    if not _is_torn(file):
        return pl.scan_ndjson(glob.escape(str(file)), schema=schema)
    whole = file.read_bytes().rpartition(b"\n")[0]
    return pl.read_ndjson(whole, schema=schema).lazy() if whole else pl.LazyFrame(schema=schema)


def _is_torn(file: Path) -> bool:
    with file.open("rb") as content:
        if content.seek(0, 2) == 0:
            return False
        content.seek(-1, 2)
        return content.read(1) != b"\n"


def _check_frame(frame: pl.DataFrame, file: Path) -> None:
    schemas = frame["schema"].unique().to_list()
    if schemas == [None]:
        raise DataError(
            f"{file} holds no records of tersely's; name the tool that wrote it with --from, such "
            "as --from table"
        )
    if any(found != jsonl.SCHEMA for found in schemas):
        raise DataError(
            f"{file}: schema {schemas}, but this version of tersely reads schema {jsonl.SCHEMA}; "
            "if another tool wrote the file, name it with --from"
        )
    for name in _REQUIRED:
        if frame[name].null_count():
            line = int(frame[name].is_null().arg_true()[0]) + 1
            raise DataError(f"{file}:{line}: {name} is missing; every record needs it")
    for name, known in (("grade", list(Grade)), ("finish", list(Finish))):
        found = frame[name].unique(maintain_order=True)
        other = found.filter(~found.is_in([str(value) for value in known]))
        if len(other):
            listed = ", ".join(known)
            raise DataError(f"{file}: {name} is {other[0]!r}; it must be one of {listed}")


def _distinct(frame: pl.DataFrame, column: str) -> tuple[str, ...]:
    return tuple(frame[column].drop_nulls().unique().sort().to_list())
