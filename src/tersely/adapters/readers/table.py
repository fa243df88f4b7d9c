"""Any JSONL or Parquet table with one sample a row."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tersely.adapters.completing import complete
from tersely.adapters.reading import Options, RawSample, Reading, check_columns
from tersely.adapters.rows import Row, column_names, mapped, read_jsonl, read_parquet
from tersely.adapters.scores import finish_of
from tersely.adapters.values import as_text
from tersely.core.errors import DataError

SCORES = ("correct", "grade", "score")
REQUIRED = ("problem",)
OPTIONAL = (
    *("sample", "tokens", "finish", "benchmark", "model", "text", "extracted", "prompt"),
    *("difficulty", "seed"),
)
EXPECTED = "one sample a row, with columns problem, correct, tokens and finish"
SCORE_FIX = "map the column of the verdict with --column correct=NAME"


def table(path: Path, *, options: Options) -> Reading:
    """Reads a table by our own column names, or those that ``options.columns`` maps to.

    The verdict is in ``correct``, ``grade`` or ``score``, whichever comes first; samples of a
    problem are numbered in the order of the file unless ``sample`` is a column.

    Raises:
        ConfigError: a column of ours that is unknown.
        DataError: a column is missing, or a value is not what it claims to be.
    """
    check_columns(options, known=(*SCORES, *REQUIRED, *OPTIONAL), reader="table")
    read = read_parquet if path.suffix in (".parquet", ".pq") else read_jsonl
    rows = read(path, expected=EXPECTED)
    columns = _columns(path, rows, options=options)
    return complete(
        path,
        [_sample(path, row, columns, options=options) for row in rows],
        options=options,
        score_fix=SCORE_FIX,
    )


def _columns(path: Path, rows: Sequence[Row], *, options: Options) -> dict[str, str]:
    """The file's column of each of our fields that it has; the verdict's is under ``correct``."""
    names = column_names(rows)
    columns = {
        field: mapped(path, rows, options.columns.get(field, field), field=field)
        for field in (*REQUIRED, *OPTIONAL)
        if field in REQUIRED or field in options.columns or field in names
    }
    asked = [options.columns[field] for field in SCORES if field in options.columns]
    score = [*asked, *(field for field in SCORES if field in names), "correct"][0]
    return columns | {"correct": mapped(path, rows, score, field="correct")}


def _sample(path: Path, row: Row, columns: dict[str, str], *, options: Options) -> RawSample:
    place = f"{path}: {row.place}"

    def get(field: str) -> Any:
        value = row.values.get(columns[field]) if field in columns else None
        return None if isinstance(value, float) and math.isnan(value) else value

    if get("problem") is None:
        raise DataError(f"{place} has no {columns['problem']}; give every row its problem")
    return RawSample(
        place=row.place,
        problem=str(get("problem")),
        benchmark=options.benchmark or _text(get("benchmark")) or path.stem,
        score=get("correct"),
        tokens=get("tokens"),
        finish=finish_of(get("finish"), place=place),
        sample=_whole(get("sample"), place=place, column=columns.get("sample")),
        model=_text(get("model")),
        text=as_text(get("text")),
        prompt=as_text(get("prompt")),
        extracted=_text(get("extracted")),
        difficulty=_number(get("difficulty"), place=place, column=columns.get("difficulty")),
        seed=_whole(get("seed"), place=place, column=columns.get("seed")) or 0,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: object, *, place: str, column: str | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{place}: {column} {value!r} is no number; correct it or leave it out")
    return float(value)


def _whole(value: object, *, place: str, column: str | None) -> int | None:
    number = _number(value, place=place, column=column)
    if number is None:
        return None
    if not number.is_integer():
        raise DataError(f"{place}: {column} {value!r} is no whole number; correct it")
    return int(number)
