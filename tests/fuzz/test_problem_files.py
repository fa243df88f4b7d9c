"""Problem files that nobody would write, in each of the four formats."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
from calling import call, folder, often
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed_bytes, changed_tree

FIXTURES = Path(__file__).parents[1] / "fixtures" / "before_h"
OURS = [json.loads(line) for line in (FIXTURES / "run/problems.jsonl").read_text().splitlines()]
OURS = [{k: v for k, v in row.items() if k != "schema"} for row in OURS[:3]]
SEEDS: list[list[Any]] = [
    OURS,
    [{"prompt": f"What is {n} + 1?", "answer": str(n + 1), "grader": "math"} for n in range(3)],
    [{"prompt": f"Is it {n}?", "answer": "B", "grader": "choice", "id": f"q{n}"} for n in range(2)],
    [{"prompt": f"Sum to {n}.", "answer": n, "grader": "number", "difficulty": n} for n in (3, 4)],
    [
        {
            "data_source": "openai/gsm8k",
            "prompt": [{"role": "user", "content": f"How many are {n}?"}],
            "reward_model": {"style": "rule", "ground_truth": str(n)},
            "extra_info": {"id": f"v{n}", "difficulty": 2.5},
        }
        for n in range(2)
    ],
    [
        {
            "prompt": "Write f(x) that gives x.",
            "grader": "code",
            "answer": json.dumps({"inputs": ["1\n"], "outputs": ["1\n"]}),
        },
        {"prompt": "Say it in lower case.", "answer": "[]", "grader": "instructions"},
        {"prompt": "Sort 2, 1.", "answer": "1, 2", "grader": "ordered"},
    ],
]
QUERIES = (
    "",
    "",
    "",
    "",
    "?",
    "?answer=gold",
    "?answer=a.0",
    "?grader=math",
    "?x=1",
    "?=",
    "?answer",
)


def _as_lines(rows: Any) -> bytes:
    lines = rows if isinstance(rows, list) else [rows]
    return b"".join(json.dumps(row).encode() + b"\n" for row in lines)


def _as_csv(rows: Any) -> bytes:
    rows = [row if isinstance(row, dict) else {"x": row} for row in rows or ()]
    sheet = io.StringIO()
    names = list(dict.fromkeys(str(key) for row in rows for key in row))
    writer = csv.writer(sheet)
    writer.writerow(names)
    writer.writerows([[row.get(name) for name in names] for row in rows])
    return sheet.getvalue().encode(errors="surrogatepass")


def _as_parquet(rows: Any) -> bytes:
    packed = io.BytesIO()
    try:
        pl.DataFrame(rows, strict=False, infer_schema_length=None).write_parquet(packed)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError, AttributeError):
        return _as_lines(rows)
    return packed.getvalue()


WRITERS = {
    ".jsonl": _as_lines,
    ".json": lambda rows: json.dumps(rows).encode(),
    ".csv": _as_csv,
    ".parquet": _as_parquet,
}


@st.composite
def problem_files(draw: Any) -> tuple[str, bytes]:
    """A file's ending and its content: rows changed, or the bytes of unchanged ones."""
    ending = draw(st.sampled_from(sorted(WRITERS)))
    rows = draw(st.sampled_from(SEEDS))
    if draw(st.integers(0, 2)):
        return ending, WRITERS[ending](draw(changed_tree(rows, keep_root=True)))
    return ending, draw(changed_bytes(WRITERS[ending](rows)))


@often(60)
@given(file=problem_files(), query=st.sampled_from(QUERIES))
def test_a_problem_file_is_read_or_refused(file: tuple[str, bytes], query: str) -> None:
    ending, content = file
    with folder() as here:
        (here / f"set{ending}").write_bytes(content)
        call("benchmarks", f"{here / f'set{ending}'}{query}", kind="problems")
