"""lighteval's details: ``details_TASK_DATE.parquet``, written with ``--save-details``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int

from tersely.core.errors import DataError
from tersely.core.types import Finish, Grade
from tersely.readers.completing import complete
from tersely.readers.older_lighteval import as_newer, is_older
from tersely.readers.padding import Unpadded, remove_padding
from tersely.readers.reading import Options, RawSample, Reading, check_columns
from tersely.readers.rows import Row, as_table, frame_rows, read_frame
from tersely.readers.values import as_list, as_text, gold_text
from tersely.tasks import grading

EXPECTED = "lighteval's details_*.parquet, with doc, metric and model_response"
SCORE_FIX = (
    "choose a metric of right or wrong with --column correct=METRIC, or grade the texts again with "
    "--regrade GRADER"
)
PARTS = {
    "doc": ("id", "task_name", "query", "choices", "gold_index", "generation_size"),
    "metric": (),
    "model_response": ("text", "output_tokens"),
}
FIELDS = ("correct", "grader")
MARKS = (frozenset(PARTS), frozenset({"predictions", "full_prompt"}))
SHARE = re.compile(r"(?:^|_)(?:avg@n|pass@k:k=1(?!\d)|pass@1(?!\d))")
NUMBER = re.compile(r"(?:n=|pass@1:)(\d+)")


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """How a row's metric becomes verdicts; None: all is graded again and needs none. ``unlike``
    counts rows that grade otherwise here."""

    path: Path
    metric: str | None
    grader: str | None
    regraded_all: bool
    regraded: list[str]
    unlike: list[str]


class _End(NamedTuple):
    """What the token list of a sample tells of its end; None where it does not."""

    tokens: int | None
    finish: Finish | None


def lighteval(path: Path, *, options: Options) -> Reading:
    """Reads one task's details; a row is a problem with all of its samples.

    lighteval keeps one figure a problem, not a verdict a sample. Where that is neither 0 nor 1,
    ``options.columns["grader"]`` names the grader of ours that tells which samples are right; a
    problem where its count is not lighteval's stays ungraded. The details hold no reason why a
    sample ended. Its transformers backend pads the lists of tokens: the padding is taken off, and
    shows the stop token, without which a sample was cut. Lists of other backends do not. Details
    of versions before 0.9 have another layout, and no cap.

    Raises:
        ConfigError: a column of ours that is unknown.
        DataError: the file is not lighteval's, or lacks what was not stated.
    """
    check_columns(options, known=FIELDS, reader="lighteval")
    frame, older_notes = read_frame(path, expected=EXPECTED), list[str]()
    if is_older(frame.columns):
        frame, older_notes = as_newer(path, frame, options=options)
    _demand_fields(path, frame)
    # Token lists stay arrays: as rows of Python numbers they would fill the memory.
    unpadded = remove_padding(_token_lists(frame))
    response = pl.col("model_response").struct
    lists = response.field("output_tokens").list.len()
    rows = frame_rows(
        frame.with_columns(model_response=pl.struct(response.field("text"), lists=lists))
    )
    judge = _Judge(
        path=path,
        metric=_metric(path, rows, options=options),
        grader=options.columns.get("grader", options.grader),
        regraded_all=options.grader is not None,
        regraded=[],
        unlike=[],
    )
    judged = [(row, _verdicts(judge, row)) for row in rows]
    raws = _samples(judged, _ends(path, rows, unpadded), options=options)
    reading = complete(
        path,
        raws,
        options=options,
        score_fix=SCORE_FIX,
        verdicts=None if judge.metric is None else f"lighteval's {judge.metric}",
        notes=_notes(judge, judged, padded=unpadded.padded),
    )
    return reading._replace(notes=(*older_notes, *reading.notes))


def _demand_fields(path: Path, frame: pl.DataFrame) -> None:
    """Checks the columns and fields by which lighteval's details are known."""
    for column, fields in PARTS.items():
        kind = frame.schema.get(column)
        known = [f.name for f in kind.fields] if isinstance(kind, pl.Struct) else []
        lacking = [field for field in fields if field not in known]
        if lacking or not known or frame[column].has_nulls():
            raise DataError(
                f"{path} lacks {column} with {', '.join(lacking) or 'fields in every row'}; it "
                f"has {', '.join(frame.columns)}. Expected {EXPECTED}; is --from right? If another "
                f"tool wrote it, {as_table(frame.columns)}"
            )
    _check_whole(path, frame["doc"].struct.field("generation_size"))
    _check_whole(path, frame["model_response"].struct.field("output_tokens"))


def _check_whole(path: Path, column: pl.Series) -> None:
    kind: Any = column.dtype
    while isinstance(kind, pl.List):
        kind = kind.inner
    if not (kind.is_integer() or kind == pl.Null) or kind in (pl.Int128, pl.UInt128):
        raise DataError(
            f"{path}: {column.name} holds {kind}, no whole numbers of 64 bits; correct the file"
        )


def _token_lists(frame: pl.DataFrame) -> list[Int[np.ndarray, " T"]]:
    """The token list of every sample, row by row."""
    lists = frame["model_response"].struct.field("output_tokens")
    if not isinstance(lists.dtype, pl.List) or not isinstance(lists.dtype.inner, pl.List):
        return [np.empty(0, dtype=np.int64)] * int(lists.list.len().sum() or 0)
    samples = lists.filter(lists.list.len() > 0).explode()
    tokens = samples.filter(samples.list.len() > 0).explode().fill_null(-1)
    ends = samples.list.len().fill_null(0).cum_sum().to_list()
    flat = tokens.to_numpy().astype(np.int64, copy=False)
    return [flat[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def _metric(path: Path, rows: Sequence[Row], *, options: Options) -> str | None:
    """The metric to read: the one asked for, the only one, or the one that is a mean; None where
    none was asked for, several may be meant and all is graded again."""
    names: list[str] = list(dict.fromkeys(name for row in rows for name in row.values["metric"]))
    asked = options.columns.get("correct")
    if asked in names:
        return str(asked)
    shares = [name for name in names if SHARE.search(name)]
    shares = [name for name in shares if "avg@n" in name] or shares
    if asked is None and len(names) == 1:
        return names[0]
    if asked is None and len(shares) == 1:
        return shares[0]
    if asked is None and options.grader is not None:
        return None
    raise DataError(
        f"{path} has the metrics {', '.join(names)}; choose one with --column correct=METRIC"
    )


def _verdicts(judge: _Judge, row: Row) -> list[tuple[object, str | None]]:
    """Score and extracted answer of each sample of the problem that the metric looked at."""
    texts = row.values["model_response"]["text"] or []
    if judge.metric is None:
        return [(None, None)] * len(texts)
    value = row.values["metric"].get(judge.metric)
    stated = NUMBER.search(judge.metric)
    n = min(int(stated[1]), len(texts)) if stated else len(texts)
    if n == 1 or value is None or value != value:  # None or NaN: no figure
        return [(value, None)] * n
    place = f"{judge.path}: {row.place}"
    if not SHARE.search(judge.metric):
        if judge.regraded_all:
            return [(None, None)] * n
        raise DataError(
            f"{place} has {n} samples, but {judge.metric} is no mean over them; run lighteval "
            f"with avg@n, choose it with --column correct=METRIC, or grade the texts again with "
            f"--regrade GRADER"
        )
    right = value * n
    if abs(right - round(right)) > 1e-6 or not 0 <= value <= 1:
        raise DataError(f"{place}: {judge.metric} {value!r} is no share of {n}; {SCORE_FIX}")
    if round(right) in (0, n):
        return [(value, None)] * n
    return _regrade(judge, row, texts[:n], right=round(right))


def _regrade(
    judge: _Judge, row: Row, texts: Sequence[str], *, right: int
) -> list[tuple[object, str | None]]:
    if judge.grader is None:
        raise DataError(
            f"{judge.path}: {row.place}: {right} of its {len(texts)} samples are right, but "
            f"lighteval does not keep which; say how to tell with --column grader=exact or "
            f"grader=number: the counts are checked against lighteval's"
        )
    gold = _gold(row.values["doc"]) or ""
    grade = grading.load(judge.grader)
    verdicts = [grade(text, gold) for text in texts]
    if sum(verdict.grade is Grade.CORRECT for verdict in verdicts) != right:
        judge.unlike.append(row.place)
        return [(None, None)] * len(texts)
    judge.regraded.append(row.place)
    return [(verdict.grade is Grade.CORRECT, verdict.extracted) for verdict in verdicts]


def _gold(doc: dict[str, Any]) -> str | None:
    """The right answer: the first, if there are several."""
    index = next(iter(as_list(doc["gold_index"])), doc["gold_index"])
    choices = as_list(doc["choices"])
    known = isinstance(index, int) and 0 <= index < len(choices)
    return gold_text(choices[index]) if known else None


def _ends(path: Path, rows: Sequence[Row], unpadded: Unpadded) -> list[list[_End]]:
    """How each sample ended, by row; all None where the row has no token lists."""
    stopped: Sequence[bool | None] = unpadded.stopped or [None] * len(unpadded.tokens)
    left = zip(unpadded.tokens, stopped, strict=True)
    ends = []
    for row in rows:
        response = row.values["model_response"]
        texts, lists = response["text"] or [], response["lists"] or 0
        if lists not in (0, len(texts)):
            raise DataError(
                f"{path}: {row.place} has {len(texts)} texts but {lists} lists of tokens; expected "
                f"{EXPECTED}"
            )
        ends.append([_end(*next(left)) for _ in range(lists)] or [_end(None, None)] * len(texts))
    return ends


def _end(tokens: int | None, stopped: bool | None) -> _End:
    if stopped is None:
        return _End(tokens or None, None)
    return _End(tokens or None, Finish.STOP if stopped else Finish.LENGTH)


def _samples(
    judged: Sequence[tuple[Row, list[tuple[object, str | None]]]],
    ends: Sequence[Sequence[_End]],
    *,
    options: Options,
) -> list[RawSample]:
    raws = []
    for (row, verdicts), row_ends in zip(judged, ends, strict=True):
        doc: dict[str, Any] = row.values["doc"]
        texts = row.values["model_response"]["text"]
        for sample, (score, extracted) in enumerate(verdicts):
            raws.append(
                RawSample(
                    place=f"{row.place}, sample {sample}",
                    problem=as_text(doc["id"]) or "",
                    benchmark=options.benchmark or str(doc["task_name"]),
                    score=score,
                    tokens=row_ends[sample].tokens,
                    finish=row_ends[sample].finish,
                    sample=sample,
                    # A model's max_new_tokens overrides it and is not in the file.
                    cap_tokens=doc["generation_size"] if options.cap_tokens is None else None,
                    text=texts[sample],
                    prompt=doc["query"],
                    extracted=extracted,
                    gold=_gold(doc),
                )
            )
    return raws


def _notes(
    judge: _Judge, judged: Sequence[tuple[Row, list[tuple[object, str | None]]]], *, padded: int
) -> list[str]:
    notes = []
    left = sum(len(row.values["model_response"]["text"] or []) - len(v) for row, v in judged)
    if left:
        notes.append(f"{left} samples that {judge.metric} did not look at are left out")
    if judge.regraded:
        notes.append(
            f"{len(judge.regraded)} problems were partly right: which samples, is by our grader "
            f"{judge.grader}, whose count is lighteval's"
        )
    if judge.unlike:
        notes.append(
            f"{len(judge.unlike)} problems are ungraded, since our grader {judge.grader} finds "
            f"another count of right samples than lighteval: {', '.join(judge.unlike[:5])}"
        )
    if padded:
        notes.append(
            f"{padded} token lists were padded to their batch's longest: padding is not counted, "
            f"and a sample without the stop token that it shows is taken as cut"
        )
    return notes
