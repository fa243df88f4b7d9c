"""TRL's logged completions: ``OUTPUT_DIR/completions/completions_STEP.parquet``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.readers.completing import complete, from_signs
from tersely.readers.naming import by_question
from tersely.readers.reading import Options, RawSample, Reading, benchmark_name, check_columns
from tersely.readers.rows import (
    Row,
    check_one_step,
    column_names,
    demand,
    map_columns,
    read_rows,
)
from tersely.readers.scores import finish_of, name_verdicts
from tersely.readers.values import as_text, gold_text, prompt_id

EXPECTED = "a file of TRL's completions, with step, prompt, completion and advantage"
OWN = ("step", "prompt", "completion", "advantage")
FIELDS = ("correct", "tokens", "finish", "gold")
MARKS = (frozenset(OWN),)


def trl(path: Path, *, options: Options) -> Reading:
    """Reads one step's completions; the same prompt with the same right answer is the same problem.

    Rewards are columns named after their functions: with one besides TRL's own it is the
    verdict, with several ``options.columns["correct"]`` names it. TRL keeps neither token counts
    nor reasons why samples ended; columns that a reward function logs with ``log_extra`` can be
    mapped as ``tokens``, ``finish`` and ``gold``.

    Raises:
        ConfigError: a column of ours that is unknown.
        DataError: the file is not TRL's, or lacks what was not stated or chosen.
    """
    check_columns(options, known=FIELDS, reader="trl")
    rows = read_rows(path, expected=EXPECTED)
    demand(path, rows, OWN, expected=EXPECTED)
    check_one_step(path, rows)
    reward = _reward(path, rows, options=options)
    columns = {**({} if reward is None else {"correct": reward}), **options.columns}
    get = map_columns(path, rows, columns)
    raws, notes = by_question([_sample(path, row, get, options=options) for row in rows])
    raws, signs = from_signs(raws)
    others = [name for name in column_names(rows) if name not in (*OWN, reward)]
    return complete(
        path,
        raws,
        options=options,
        score_fix="it is a shaped reward; "
        + name_verdicts({name: [row.values.get(name) for row in rows] for name in others}),
        no_tokens="TRL's completions hold no token counts",
        verdicts=None if reward is None else f"TRL's reward {reward}",
        notes=(*signs, *notes),
    )


def _sample(path: Path, row: Row, get: Callable[[Row, str], Any], *, options: Options) -> RawSample:
    prompt = row.values["prompt"]
    return RawSample(
        place=row.place,
        problem=prompt_id(prompt),
        benchmark=benchmark_name(path, options),
        score=get(row, "correct"),
        tokens=get(row, "tokens"),
        finish=finish_of(get(row, "finish"), place=f"{path}: {row.place}"),
        text=as_text(row.values["completion"]),
        prompt=as_text(prompt),
        gold=gold_text(get(row, "gold")),
    )


def _reward(path: Path, rows: Sequence[Row], *, options: Options) -> str | None:
    """The reward that is the verdict; None where several may be and none is needed."""
    if asked := options.columns.get("correct"):
        return asked
    known = (*OWN, *options.columns.values())
    others = [name for name in column_names(rows) if name not in known]
    if len(others) != 1 and options.grader is not None:
        return None
    if len(others) != 1:
        raise DataError(
            f"{path} has {len(others)} columns besides TRL's own: {', '.join(others) or 'none'}; "
            f"say which holds the verdict with --column correct=NAME"
        )
    return others[0]
