"""Details of lighteval before 0.9, in the layout that came after: one column for each thing.

0.5 to 0.7 wrote every value as Python prints it; before and after, lists are lists.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tersely.core.errors import DataError
from tersely.readers.packing import plain_stem
from tersely.readers.reading import Options, benchmark_name
from tersely.readers.rows import Row, as_frame, as_table, frame_rows
from tersely.readers.values import as_dict, as_list, prompt_id

OWN = ("predictions", "metrics", "example", "full_prompt", "cont_tokens", "specifics")
NAME = re.compile(r"details_(.+?)_(\d{4}-\d\d-\d\dT[\d\-.:]+)")
# Python prints these and does not read them.
NO_NUMBER = re.compile(r"(?<=: )(?:nan|-?inf)(?=[,}])")


class Older(NamedTuple):
    """Details in the newer layout, and what there is to say of them."""

    frame: pl.DataFrame
    notes: list[str]


def is_older(columns: Iterable[str]) -> bool:
    """Whether these are columns of the older layout."""
    names = set(columns)
    return not names & {"doc", "model_response"} and len(names & set(OWN)) > 1


def as_newer(path: Path, frame: pl.DataFrame, *, options: Options) -> Older:
    """The details as 0.9 would have written them.

    The task is in the file's name alone, and no row has a name: a row is a problem, named by its
    question. The layout holds no cap.

    Raises:
        DataError: a column is missing, a value cannot be read, or a row holds no generated text.
    """
    _demand(path, frame.columns)
    rows, notes = [_values(path, row) for row in frame_rows(frame)], []
    tokens = [_token_lists(values) for values in rows]
    if any(lists is None for lists in tokens):
        tokens = [[] for _ in rows]
        notes = ["the file's lists of tokens cannot be read and are not used"]
    task = NAME.fullmatch(plain_stem(path))
    benchmark = benchmark_name(path, options, own=task[1] if task else None)
    names = _names([_question(values) for values in rows])
    newer = [
        {
            "doc": {
                "id": name,
                "task_name": benchmark,
                "query": _question(values),
                "choices": _golds(values),
                "gold_index": 0,
                "generation_size": None,
            },
            "metric": _metrics(values),
            "model_response": {"text": values["predictions"], "output_tokens": lists},
        }
        for values, lists, name in zip(rows, tokens, names, strict=True)
    ]
    if not any(row["metric"] for row in newer):
        raise DataError(f"{path} has no metric that is a number; {as_table(frame.columns)}")
    return Older(as_frame(path, newer), notes)


def _demand(path: Path, columns: Sequence[str]) -> None:
    lacking = [name for name in ("predictions", "metrics") if name not in columns]
    if not {"example", "full_prompt"} & set(columns):
        lacking.append("example")
    if lacking:
        raise DataError(
            f"{path} lacks {', '.join(lacking)} of lighteval's details before 0.9; it has "
            f"{', '.join(columns)}; {as_table(columns)}"
        )


def _values(path: Path, row: Row) -> dict[str, Any]:
    """The row's values, those that stand as printed read; lists of tokens may be None."""
    values = dict(row.values)
    for column in ("predictions", "metrics", "gold", "choices", "gold_index", "cont_tokens"):
        if isinstance(values.get(column), str):
            values[column] = _literal(values[column])
    texts = as_list(values["predictions"])
    if not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(
            f"{path}: {row.place} holds no generated text under predictions but "
            f"{row.values['predictions']!r:.60}; expected details of a generative task"
        )
    if not isinstance(values["metrics"], dict):
        raise DataError(
            f"{path}: {row.place}: metrics {row.values['metrics']!r:.60} is no object; correct it"
        )
    return {**values, "predictions": texts}


def _literal(text: str) -> Any:
    """What Python printed; None where that cannot be read again, as of a tensor."""
    try:
        return ast.literal_eval(NO_NUMBER.sub("None", text) if text[:1] == "{" else text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _question(values: dict[str, Any]) -> str:
    return str(values.get("example") or values.get("full_prompt") or "")


def _names(questions: Sequence[str]) -> list[str]:
    """A name for each row: rows of one question are still problems of their own."""
    seen: Counter[str] = Counter()
    names = []
    for question in questions:
        seen[question] += 1
        again = "" if seen[question] == 1 else f"#{seen[question]}"
        names.append(f"{prompt_id(question)}{again}")
    return names


def _golds(values: dict[str, Any]) -> list[str]:
    """The right answer first; empty where the row has none."""
    choices, index = as_list(values.get("choices")), as_list(values.get("gold_index"))
    chosen = [choices[n] for n in index if isinstance(n, int) and 0 <= n < len(choices)]
    return [str(gold) for gold in as_list(values.get("gold")) or chosen]


def _metrics(values: dict[str, Any]) -> dict[str, float]:
    found = as_dict(values["metrics"])
    return {
        str(name): float(value) for name, value in found.items() if isinstance(value, int | float)
    }


def _token_lists(values: dict[str, Any]) -> list[list[int]] | None:
    """The tokens of each prediction; None where they cannot be read."""
    if values.get("cont_tokens", []) is None:
        return None
    lists = as_list(values.get("cont_tokens"))
    if len(lists) == 1 and all(isinstance(each, list | tuple) for each in as_list(lists[0])):
        lists = as_list(lists[0])
    plain = [as_list(each) for each in lists]
    if not any(plain):
        return []
    whole = all(isinstance(token, int) for each in plain for token in each)
    return plain if whole and len(plain) == len(values["predictions"]) else None
