"""Any JSONL or Parquet table with one sample a row, or with lists of the samples of a problem."""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.readers.completing import complete
from tersely.readers.naming import by_question
from tersely.readers.reading import Options, RawSample, Reading, benchmark_name, check_columns
from tersely.readers.rows import (
    Row,
    column_names,
    list_columns,
    mapped,
    read_rows,
    say_rows,
    with_parts,
)
from tersely.readers.scores import cap_of, count_of, finish_of, verdict_names
from tersely.readers.values import as_text, gold_text, prompt_id, whole

SCORES = ("correct", "grade", "score")
OPTIONAL = (
    *("problem", "sample", "tokens", "finish", "benchmark", "model", "text", "extracted", "prompt"),
    *("difficulty", "seed", "gold", "cap_tokens", "thinking_tokens", "turns", "tool_tokens"),
)
# Where the list of rows stands in a file of one JSON object.
ROWS = "rows"
FIELDS = (*SCORES, *OPTIONAL, ROWS)
# What a row may hold a list of, one entry a sample.
OF_SAMPLES = (
    *("correct", "text", "extracted", "tokens", "finish", "cap_tokens", "seed"),
    *("thinking_tokens", "turns", "tool_tokens"),
)
EXPECTED = "one sample a row, with columns problem, correct, tokens and finish"
SCORE_FIX = "map the column of the verdict with --column correct=NAME"


def table(path: Path, *, options: Options) -> Reading:
    """Reads a table by our own column names, or those that ``options.columns`` maps to; ``a.b``
    goes into an object, and ``rows`` says where one JSON object holds the list of rows.

    The verdict is in ``correct``, ``grade`` or ``score``, whichever comes first; samples of a
    problem are numbered in the order of the file unless ``sample`` is a column. To be graded
    again, a table needs no verdict, but ``text`` and ``gold``. Without ``problem``, samples of one
    ``prompt`` and ``gold`` are of one problem. With ``options.by_row`` every row is a problem,
    named by its number. Where texts and verdicts of a row are lists, each entry is a sample.

    Raises:
        ConfigError: a column of ours that is unknown.
        DataError: a column is missing, or a value is not what it claims to be.
    """
    check_columns(options, known=FIELDS, reader="table")
    rows = read_rows(path, expected=EXPECTED, under=options.columns.get(ROWS))
    rows = with_parts(rows, options.columns.values())
    columns = _columns(path, rows, options=options)
    rows = [one for row in rows for one in _unfold(path, row, columns)]
    names = [str(number) if options.by_row else None for number in range(1, len(rows) + 1)]
    raws = [
        _sample(path, row, columns, options=options, name=name)
        for row, name in zip(rows, names, strict=True)
    ]
    if options.by_row:
        notes = ["every row is taken as a problem of its own"]
    elif "problem" not in columns:
        raws, notes = by_question(raws)
    else:
        notes = _several_prompts(raws)
    others = [name for name in column_names(rows) if name not in columns.values()]
    usable = verdict_names({name: [row.values.get(name) for row in rows] for name in others})
    fix = f"{SCORE_FIX}, one of {', '.join(usable)}" if usable else SCORE_FIX
    return complete(path, raws, options=options, score_fix=fix, notes=notes)


def _several_prompts(raws: Sequence[RawSample]) -> list[str]:
    """What to say of problems whose samples were asked different things."""
    first: dict[tuple[str, str], RawSample] = {}
    unlike: dict[tuple[str, str], tuple[str, str]] = {}
    for raw in raws:
        key = raw.benchmark, raw.problem
        other = first.setdefault(key, raw)
        if raw.prompt != other.prompt:
            unlike.setdefault(key, (other.place, raw.place))
    if not unlike:
        return []
    (_, problem), (one, two) = next(iter(unlike.items()))
    return [
        f"{len(unlike)} problems have samples of different prompts (first {problem!r}: {one} and "
        f"{two}): if they are different questions, give each a problem or a benchmark of its own"
    ]


def _columns(path: Path, rows: Sequence[Row], *, options: Options) -> dict[str, str]:
    """The file's column of each of our fields that it has; the verdict's is under ``correct``."""
    names = column_names(rows)
    columns = {
        field: mapped(path, rows, options.columns.get(field, field), field=field)
        for field in OPTIONAL
        if field in options.columns or field in names
    }
    if not (options.by_row or "problem" in columns or "prompt" in columns):
        raise DataError(
            f"{path} has neither a column problem nor a column prompt; it has "
            f"{list_columns(rows)}; map one with --column problem=NAME or --column prompt=NAME; to "
            "compare files whose n-th rows are the same problem, compare --pair-by row"
            f"{say_rows(rows)}"
        )
    asked = [options.columns[field] for field in SCORES if field in options.columns]
    there = [*asked, *(field for field in SCORES if field in names)]
    if not there and options.grader is not None:
        return columns
    score = [*there, "correct"][0]
    return columns | {"correct": mapped(path, rows, score, field="correct")}


def _sample(
    path: Path, row: Row, columns: dict[str, str], *, options: Options, name: str | None
) -> RawSample:
    place = f"{path}: {row.place}"

    def get(field: str) -> Any:
        value = row.values.get(columns[field]) if field in columns else None
        return None if isinstance(value, float) and math.isnan(value) else value

    by = "problem" if "problem" in columns else "prompt"
    problem = as_text(get(by)) if by == "problem" else prompt_id(get(by))
    if name is None and (get(by) is None or problem is None):
        raise DataError(f"{place} has {get(by)!r} under {columns[by]}; give every row its problem")
    return RawSample(
        place=row.place,
        problem=name or problem or "",
        benchmark=benchmark_name(path, options, own=as_text(get("benchmark"))),
        score=get("correct"),
        tokens=get("tokens"),
        finish=finish_of(get("finish"), place=place),
        sample=None if name else _whole(get("sample"), place=place, column=columns.get("sample")),
        model=as_text(get("model")),
        text=as_text(get("text")),
        prompt=as_text(get("prompt")),
        extracted=as_text(get("extracted")),
        difficulty=_number(get("difficulty"), place=place, column=columns.get("difficulty")),
        gold=gold_text(get("gold")),
        cap_tokens=cap_of(get("cap_tokens"), place=place),
        seed=_whole(get("seed"), place=place, column=columns.get("seed")) or 0,
        reasoning=get("thinking_tokens"),
        turns=count_of(get("turns"), field="turns", place=place),
        tool_tokens=count_of(get("tool_tokens"), field="tool_tokens", place=place),
    )


def _unfold(path: Path, row: Row, columns: dict[str, str]) -> Iterator[Row]:
    """A row for each sample, where the row has lists of them; else the row itself.

    Raises:
        DataError: its lists are not equally long, or are empty.
    """
    lists = {
        column: value
        for column in (columns[field] for field in OF_SAMPLES if field in columns)
        if isinstance(value := row.values.get(column), list)
    }
    first, verdict = columns.get("text"), columns.get("correct")
    # Texts alone in a list may be the parts of one.
    alone = verdict is not None and verdict not in lists
    if alone or first not in lists or any(isinstance(each, dict) for each in lists[first]):
        yield row
        return
    count = len(lists[first])
    for column, entries in lists.items():
        if len(entries) != count or not entries:
            raise DataError(
                f"{path}: {row.place} has {count} entries under {first} but {len(entries)} under "
                f"{column}; give each sample an entry in every list"
            )
    for number in range(count):
        place = row.place if number == 0 else f"{row.place}, sample {number}"
        own = {column: entries[number] for column, entries in lists.items()}
        yield Row(place, row.values | own)


def _number(value: object, *, place: str, column: str | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise DataError(f"{place}: {column} {value!r} is no number; correct it or leave it out")
    return float(value)


def _whole(value: object, *, place: str, column: str | None) -> int | None:
    number = whole(value)
    if number is None and value is not None:
        raise DataError(f"{place}: {column} {value!r} is no whole number; correct it")
    return number
