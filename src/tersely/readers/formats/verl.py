"""verl's dumps, one JSONL file a step: ``trainer.validation_data_dir`` or ``rollout_data_dir``."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tersely.readers.completing import complete, from_signs
from tersely.readers.naming import by_question
from tersely.readers.reading import Options, RawSample, Reading, benchmark_name, check_columns
from tersely.readers.rows import Row, check_one_step, column_names, demand, map_columns, read_jsonl
from tersely.readers.scores import count_of, finish_of, name_verdicts
from tersely.readers.values import as_text, gold_text, prompt_id

OWN = ("input", "output", "gts", "score", "step", "num_turns")
EXPECTED = "one of verl's dumps, with input, output and score on every line"
FIELDS = ("correct", "tokens", "finish", "gold", "turns", "tool_tokens")
MARKS = (frozenset({"input", "output", "score", "step"}),)
# What verl's agent loops count, where the reward function returns it: messages of both sides.
NUM_TURNS = "num_turns"


def verl(path: Path, *, options: Options) -> Reading:
    """Reads one step's dump; the same input with the same right answer is the same problem.

    The verdict is ``acc`` if the reward function gives it, else ``score``, which must then be 0
    or 1, or 1 and -1 alone: with a length term or an overlong penalty in it, it is no verdict.
    verl keeps neither token counts nor reasons why samples ended, unless the reward function
    returns them: ``options.columns`` maps ``correct``, ``tokens``, ``finish`` and ``gold``
    (else ``gts``), and ``turns`` and ``tool_tokens`` of agent loops. verl's ``num_turns`` counts
    messages of both sides, 2 for one question and its answer: the model's turns are half of it,
    rounded down.

    Raises:
        ConfigError: a column of ours that is unknown.
        DataError: the file is not verl's, or lacks what was not stated.
    """
    check_columns(options, known=FIELDS, reader="verl")
    rows = read_jsonl(path, expected=EXPECTED)
    demand(path, rows, ("input", "output", "score"), expected=EXPECTED)
    check_one_step(path, rows)
    names = column_names(rows)
    gold = {"gold": "gts"} if "gts" in names else {}
    turns = {"turns": NUM_TURNS} if NUM_TURNS in names else {}
    own = {"correct": "acc" if "acc" in names else "score", **gold, **turns}
    columns = {**own, **options.columns}
    both_sides = columns.get("turns") == NUM_TURNS
    get = map_columns(path, rows, columns)
    read = [_sample(path, row, get, options=options) for row in rows]
    if both_sides:
        read = [replace(raw, turns=None if raw.turns is None else raw.turns // 2) for raw in read]
    raws, notes = by_question(read)
    raws, signs = (raws, []) if "acc" in names else from_signs(raws)
    others = {n: [row.values.get(n) for row in rows] for n in names if n not in OWN}
    return complete(
        path,
        raws,
        options=options,
        score_fix=f"it may be a shaped reward: {name_verdicts(others)}",
        no_tokens="verl's dumps hold no token counts",
        verdicts=f"verl's {columns['correct']}",
        notes=(*signs, *notes),
    )


def _sample(path: Path, row: Row, get: Callable[[Row, str], Any], *, options: Options) -> RawSample:
    return RawSample(
        place=row.place,
        problem=prompt_id(row.values["input"]),
        benchmark=benchmark_name(path, options, own=as_text(row.values.get("data_source"))),
        score=get(row, "correct"),
        tokens=get(row, "tokens"),
        finish=finish_of(get(row, "finish"), place=f"{path}: {row.place}"),
        text=as_text(row.values["output"]),
        prompt=as_text(row.values["input"]),
        extracted=as_text(row.values.get("pred")),
        gold=gold_text(get(row, "gold")),
        turns=count_of(get(row, "turns"), field="turns", place=f"{path}: {row.place}"),
        tool_tokens=count_of(
            get(row, "tool_tokens"), field="tool_tokens", place=f"{path}: {row.place}"
        ),
    )
