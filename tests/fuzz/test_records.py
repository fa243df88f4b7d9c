"""Evaluation records and rollouts that nobody would write: our own and those of other tools."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from calling import call, folder, often
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed_bytes, changed_tree

import tersely.lab
from tersely.readers.archive import Archive

BEFORE = Path(__file__).parents[1] / "fixtures" / "before_h"
FIXTURES = Path(__file__).parents[1] / "readers" / "fixtures"
LAB = Path(tersely.lab.__file__).parent / "checkpoint"


class Seed(NamedTuple):
    """A file that is read, and the options that it is read with."""

    file: Path
    options: tuple[object, ...]


MOST_ROWS = 8
CAP = ("--cap-tokens", 96)
COUNTED = (*CAP, "--tokenizer", LAB)
SAMPLES = sorted((FIXTURES / "lm_eval").glob("samples_*.jsonl"))
SEEDS = (
    Seed(BEFORE / "evaluation/records.jsonl", ()),
    Seed(BEFORE / "run/eval/step-000002.jsonl", ()),
    *(Seed(file, ("--from", "lm_eval", *COUNTED)) for file in SAMPLES),
    Seed(FIXTURES / "verl/10.jsonl", ("--from", "verl", *COUNTED)),
    Seed(FIXTURES / "trl/completions_00002.parquet", ("--from", "trl", *COUNTED, "--column",
         "correct=accuracy_reward")),
    Seed(FIXTURES / "inspect_ai/lab.json", ("--from", "inspect_ai", *CAP)),
    Seed(FIXTURES / "inspect_ai/lab.eval", ("--from", "inspect_ai", *CAP)),
    Seed(FIXTURES / "lighteval/details_lab.parquet", ("--from", "lighteval", *CAP, "--column",
         "grader=exact")),
    Seed(FIXTURES / "lighteval/details_lab_one.parquet", ("--from", "lighteval")),
)  # fmt: skip
TABLE = [
    {"problem": n // 2, "correct": n % 3 == 0, "tokens": 20 + n, "finish": "stop", "text": f"a {n}"}
    for n in range(6)
]
LISTS = [
    {
        "idx": n,
        "question": f"{n}+1?",
        "gt": str(n + 1),
        "code": [f"it is \\boxed{{{n + 1}}}", "is it \\boxed{3}"],
        "pred": [str(n + 1), "3"],
        "score": [True, n == 2],
    }
    for n in range(3)
]


LIST_COLUMNS = [
    word
    for pair in (
        *("problem=idx", "prompt=question", "gold=gt"),
        *("text=code", "correct=score", "extracted=pred"),
    )
    for word in ("--column", pair)
]


def _as_lines(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _as_parquet(rows: list[Any]) -> bytes:
    packed = io.BytesIO()
    try:
        pl.DataFrame(rows, strict=False, infer_schema_length=None).write_parquet(packed)
    except Exception:  # polars panics in ways of its own at what no column can hold
        return _as_lines(rows)
    return packed.getvalue()


def _rows_of(file: Path) -> Any:
    """The file's values, and of its rows the first few, so that an example is quick."""
    match file.suffix:
        case ".eval":
            with Archive(file, expected="") as archive:
                return {name: archive.load(name) for name in archive.names()}
        case ".json":
            return json.loads(file.read_bytes())
        case ".parquet":
            return pl.read_parquet(file).to_dicts()[:MOST_ROWS]
    return [json.loads(line) for line in file.read_bytes().splitlines()][:MOST_ROWS]


# Read once: hypothesis wants strategies that draw from nothing else.
FILES = (*(seed.file for seed in SEEDS), *BEFORE.rglob("*.json"), *BEFORE.rglob("*.jsonl"))
ROWS = {file: _rows_of(file) for file in FILES}


def _as_archive(members: dict[str, Any]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name, tree in members.items():
            made.writestr(name or "x", json.dumps(tree))
    return packed.getvalue()


WRITERS = {
    ".eval": _as_archive,
    ".json": lambda tree: json.dumps(tree).encode(),
    ".parquet": _as_parquet,
    ".jsonl": _as_lines,
}


@st.composite
def changed_file(draw: Any, file: Path) -> bytes:
    """The file with its values changed, or its bytes."""
    if not draw(st.integers(0, 3)):
        return draw(changed_bytes(file.read_bytes()))
    return WRITERS[file.suffix](draw(changed_tree(ROWS[file], keep_root=True)))


@st.composite
def records(draw: Any) -> tuple[str, bytes, tuple[object, ...]]:
    """A file's name, its content and the options to read it with."""
    seed = draw(st.sampled_from((*SEEDS, TABLE, LISTS)))
    if isinstance(seed, Seed):
        return seed.file.name, draw(changed_file(seed.file)), seed.options
    content = _as_lines(draw(changed_tree(seed, keep_root=True)))
    if seed is LISTS:
        return "lists.jsonl", content, ("--from", "table", *LIST_COLUMNS, *COUNTED)
    return "table.jsonl", content, ("--from", "table", *draw(st.sampled_from(((), COUNTED))))


@often(18)
@given(told=records(), regrade=st.sampled_from(("", "", "", "math", "number", "exact")))
def test_report_draws_or_refuses_any_records(told: Any, regrade: str) -> None:
    name, content, options = told
    with folder() as here:
        (here / name).write_bytes(content)
        again = ("--regrade", regrade) if regrade and "--from" in options else ()
        out = ("--out", here, "--csv", here / "a.csv", "--md", here / "a.md")
        call("report", here / name, *options, *again, *out, kind="records")


@often(12)
@given(told=records())
def test_compare_draws_or_refuses_any_records(told: Any) -> None:
    name, content, options = told
    with folder() as here:
        (here / name).write_bytes(content)
        whole = next((seed.file for seed in SEEDS if seed.file.name == name), here / name)
        call("compare", whole, here / name, *options, "--out", here, kind="records")


@often(12)
@given(told=records(), way=st.sampled_from(((), ("--json",), ("--suggest",))))
def test_lint_judges_or_refuses_any_rollouts(told: Any, way: tuple[str, ...]) -> None:
    name, content, options = told
    with folder() as here:
        (here / name).write_bytes(content)
        call("lint", "--records", here / name, *options, *way, kind="records")


@often(18)
@given(data=st.data())
def test_a_changed_folder_is_reported_or_refused(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from((BEFORE / "evaluation", BEFORE / "run")))
    files = sorted(file for file in source.rglob("*") if file.is_file() and file.suffix != ".md")
    chosen = data.draw(st.sampled_from(files))
    with folder() as here:
        for file in files:
            there = here / file.relative_to(source)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(file.read_bytes())
        place = here / chosen.relative_to(source)
        if data.draw(st.integers(0, 9)) == 0:
            place.unlink()
        elif chosen in ROWS:
            place.write_bytes(data.draw(changed_file(chosen)))
        else:
            place.write_bytes(data.draw(changed_bytes(chosen.read_bytes())))
        command = data.draw(st.sampled_from(("report", "diagnose", "compare", "lint")))
        match command:
            case "compare":
                call("compare", source, here, "--out", here / "page", kind="folder")
            case "lint":
                call("lint", "--records", here, kind="folder")
            case _:
                call(command, here, kind="folder")
