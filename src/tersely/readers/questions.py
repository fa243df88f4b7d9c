"""What the problems of an evaluation ask, as far as its files say it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from tersely.core import jsonl
from tersely.core.types import EvalRecord, Problem

Key = tuple[str, str]


def read_asked(file: Path) -> dict[Key, tuple[str, str]]:
    """Question and right answer of each (benchmark, problem) of a file of problems, if it is
    there."""
    problems = jsonl.read(file, Problem) if file.is_file() else []
    return {(p.source, p.id): (p.prompt, p.answer) for p in problems}


def find_questions(
    asked: Mapping[Key, tuple[str, str]], records: pl.LazyFrame | Sequence[EvalRecord]
) -> dict[Key, str]:
    """What each problem asks: by the file of problems, else by the first record of it."""
    if not isinstance(records, pl.LazyFrame):
        return {(r.benchmark, r.problem): r.prompt for r in reversed(records) if r.prompt}
    if asked:
        return {key: question for key, (question, _) in asked.items()}
    prompts = records.filter(pl.col("prompt").is_not_null()).unique(["benchmark", "problem"])
    return {(b, p): prompt for b, p, prompt in prompts.collect().iter_rows()}
