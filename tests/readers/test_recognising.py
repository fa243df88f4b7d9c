"""Which tool wrote a file, told by what it holds and not by its name."""

import gzip
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from tersely.core.errors import ConfigError, DataError
from tersely.readers import formats
from tersely.readers.recognising import Holds, recognise

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures"
OLD = HERE.parent / "fixtures" / "before_h"
SAMPLES = [
    (FIXTURES / "lighteval" / "details_lab.parquet", "lighteval"),
    (next((FIXTURES / "lm_eval").glob("samples_lab_2*.jsonl")), "lm_eval"),
    (next((FIXTURES / "lm_eval").glob("samples_lab_filters_*.jsonl")), "lm_eval"),
    (FIXTURES / "verl" / "10.jsonl", "verl"),
    (FIXTURES / "trl" / "completions_00002.parquet", "trl"),
    (FIXTURES / "inspect_ai" / "lab.eval", "inspect_ai"),
    (FIXTURES / "inspect_ai" / "hf.eval", "inspect_ai"),
    (FIXTURES / "inspect_ai" / "lab.json", "inspect_ai"),
    (OLD / "evaluation" / "records.jsonl", "tersely"),
    (OLD / "run" / "eval" / "step-000002.jsonl", "tersely"),
]
TRL_STATE = {"log_history": [{"step": 1, "reward": 0.5, "loss": 0.1}]}
VERL_LINE = {"step": 1, "data": {"response_length/mean": 90.0}}
STEPS = {
    "state": (json.dumps(TRL_STATE, indent=2), "trl"),
    "one line": (json.dumps(TRL_STATE), "trl"),
    "swift": ('{"loss": 0.1, "reward": 0.5, "global_step/max_steps": "1/9"}\n', "trl"),
    "printed": ("0%| |\n{'loss': 0.1, 'reward': 0.5, 'grad_norm': 0.2}\n", "trl"),
    "metrics": (json.dumps(VERL_LINE) + "\n", "verl"),
    "console": ("(pid=7) step:1 - actor/entropy:0.4 - response_length/mean:90\n", "verl"),
    "commas": ("step,accuracy\n1,0.5\n", "csv"),
    "semicolons": ("Step;Laenge\n1;90,5\n", "csv"),
    "marked": ("\ufeffstep,accuracy\n1,0.5\n", "csv"),
}
TABLE = {"problem": "a", "correct": True, "tokens": 5, "finish": "stop"}


@pytest.mark.parametrize(
    ("file", "source"), SAMPLES, ids=lambda value: getattr(value, "name", value)
)
def test_samples_are_recognised_whatever_the_file_is_called(tmp_path, file, source):
    assert recognise(file) == (file, Holds.SAMPLES, source)
    other = tmp_path / "download"
    shutil.copy(file, other)
    assert recognise(other) == (other, Holds.SAMPLES, source)
    if source != "tersely" and file.suffix == ".jsonl":
        packed = tmp_path / "samples.gz"
        packed.write_bytes(gzip.compress(file.read_bytes()))
        assert recognise(packed).source == source


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_recognised(tmp_path, name):
    text, source = STEPS[name]
    file = tmp_path / "log"
    file.write_text(text, encoding="utf-8")
    assert recognise(file) == (file, Holds.STEPS, source)
    assert recognise(file, source=source) == (file, Holds.STEPS, source)


@pytest.mark.parametrize("name", ["console", "commas", "printed", "state"])
def test_steps_are_recognised_in_utf_16_and_packed(tmp_path, name):
    text, source = STEPS[name]
    for content in (text.encode("utf-16"), gzip.compress(text.encode())):
        (file := tmp_path / "log").write_bytes(content)
        assert recognise(file) == (file, Holds.STEPS, source)


def test_of_a_tool_that_writes_both_the_file_says_which_it_is(tmp_path):
    state = tmp_path / "trainer_state.json"
    state.write_text(json.dumps(TRL_STATE))
    assert recognise(state, source="trl").holds is Holds.STEPS
    assert recognise(FIXTURES / "trl" / "completions_00002.parquet", source="trl").holds is (
        Holds.SAMPLES
    )
    assert recognise(FIXTURES / "verl" / "10.jsonl", source="verl").holds is Holds.SAMPLES
    assert recognise(OLD / "run" / "steps.jsonl", source="tersely").holds is Holds.STEPS
    assert recognise(OLD / "evaluation" / "records.jsonl", source="tersely").holds is Holds.SAMPLES


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_rows_of_no_known_tool_are_a_table(tmp_path, ending):
    file = tmp_path / f"mine.{ending}"
    if ending == "parquet":
        pl.DataFrame([TABLE]).write_parquet(file)
    else:
        file.write_text(json.dumps([TABLE] if ending == "json" else TABLE, indent=None))
    assert recognise(file) == (file, Holds.SAMPLES, "table")


def test_a_table_with_a_column_step_is_no_step_log(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({**TABLE, "step": 3, "accuracy": 1, "reward": 1}) + "\n")
    assert recognise(file).source == "table"


def test_folders_of_ours_are_what_they_hold():
    assert recognise(OLD / "run") == (OLD / "run", Holds.STEPS, "tersely")
    assert recognise(OLD / "evaluation") == (OLD / "evaluation", Holds.SAMPLES, "tersely")


def test_a_folder_of_another_tool_is_read_if_one_file_in_it_can_be(tmp_path):
    file = SAMPLES[1][0]
    inside = tmp_path / "results" / "model" / file.name
    inside.parent.mkdir(parents=True)
    shutil.copy(file, inside)
    (inside.parent / "results_2026.json").write_text("{}")
    assert recognise(tmp_path) == (inside, Holds.SAMPLES, "lm_eval")
    shutil.copy(file, inside.with_name("samples_other_2026-11-22T16-47-07.051039.jsonl"))
    with pytest.raises(ConfigError, match=r"holds 2 files, results/model/.*; give one of them"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file is empty; give a file that holds samples or steps"),
        (b" \n\n", "file is empty"),
        (b"hello world\n", "of no kind that is known"),
        (b"problem,correct,tokens\na,1,9\n", "a CSV is of steps"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "is a PNG image, which is not read"),
        (bytes(90) + b"events", "is a binary file, which is not read"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
        (b"[]", "of no kind that is known"),
        (b"\xff\xfe\x00", "is no text"),
    ],
)
def test_anything_else_is_refused_with_the_names_there_are(tmp_path, content, said):
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(DataError, match=said):
        recognise(file)


def test_an_empty_folder_a_missing_path_and_an_unknown_source_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no file that a tool is known to write"):
        recognise(tmp_path)
    with pytest.raises(ConfigError, match="there is no"):
        recognise(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="did you mean 'lighteval'"):
        recognise(tmp_path, source="light-eval")


def test_no_reader_takes_the_file_of_another():
    """Each set of marks belongs to one reader: none holds another's."""
    marks = [(name, mark) for name in formats.available() for mark in formats.marks_of(name)]
    for name, mark in marks:
        assert not [n for n, other in marks if n != name and mark <= other]


def test_of_a_folder_the_one_table_is_read_and_several_are_named(tmp_path):
    table = tmp_path / "base.parquet"
    pl.DataFrame([TABLE]).write_parquet(table)
    (tmp_path / "readme.txt").write_text("Rollouts of the base model.")
    assert recognise(tmp_path) == (table, Holds.SAMPLES, "table")
    shutil.copy(table, tmp_path / "after.parquet")
    with pytest.raises(
        ConfigError, match=r"holds 2 files, after\.parquet, base\.parquet; give one"
    ):
        recognise(tmp_path)
    # What is called as tools call it is meant.
    shutil.copy(FIXTURES / "trl" / "completions_00002.parquet", tmp_path)
    assert recognise(tmp_path).source == "trl"
