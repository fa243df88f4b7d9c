"""Files that no tool should have written are refused in one line, by the command line itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.flows.recipe.recipe import shipped

BEFORE = Path(__file__).parents[1] / "fixtures" / "before_h"
LIGHTEVAL = Path(__file__).parents[1] / "readers/fixtures/lighteval/details_lab_one.parquet"
DEEP = "[" * 100_000
DIGITS = "9" * 5000


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def refused(done, *expected, code=2):
    assert done.exit_code == code, done.output
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    *_, last = done.stderr.splitlines()
    assert last.startswith("error: "), done.stderr
    assert done.stderr.count("error:") == 1
    assert len(last) < 2_200
    for words in expected:
        assert words in last


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "command"),
    [
        ("records.jsonl", DEEP + "\n", ("report",)),
        ("records.jsonl", DEEP + "\n", ("lint", "--records")),
        ("log.json", DEEP, ("report", "--from", "inspect_ai", "--cap-tokens", "9")),
        ("trainer_state.json", DEEP, ("diagnose", "--from", "trl")),
        ("10.jsonl", '{"step": 1, "data": ' + DEEP + "\n", ("diagnose", "--from", "verl")),
        ("steps.jsonl", DEEP + "\n", ("diagnose",)),
        ("recipe.toml", f"a = {DEEP}", ("train", "--dry-run")),
        ("study.toml", f"a = {DEEP}", ("study", "--dry-run")),
    ],
)
def test_a_file_nested_deeper_than_python_reads_is_refused(tmp_path, name, content, command):
    refused(call(*command, written(tmp_path / name, content)), name)


@pytest.mark.parametrize("file", ["manifest.json", "recipe.toml"])
def test_a_run_folder_with_a_file_nested_too_deeply_is_refused(tmp_path, file):
    folder = shutil.copytree(BEFORE / "run", tmp_path / "run")
    written(folder / file, DEEP)
    refused(call("report", folder), file)


@pytest.mark.parametrize("command", [("train", "--dry-run"), ("study", "--dry-run")])
def test_a_number_of_5000_digits_in_a_toml_file_is_refused(tmp_path, command):
    file = written(tmp_path / "a.toml", f"seed = {DIGITS}\n")
    refused(call(*command, file), "is not TOML", "4300 digits")


def test_a_number_of_5000_digits_behind_set_is_refused():
    refused(call("train", "--dry-run", "--set", f"target.tokens={DIGITS}"), "target.tokens", "999")


@pytest.mark.parametrize(
    "key", ["learner.steps", "sampling.cap_tokens", "evaluation.samples", "problems.train_limit"]
)
def test_a_count_beyond_all_use_is_refused_before_anything_is_made(key):
    refused(call("train", "--dry-run", "--set", f"{key}={10**13}"), key, str(10**13))


@pytest.mark.parametrize(
    ("writer", "log"),
    [
        ("trl", {"log_history": [1, 2]}),
        ("trl", {"log_history": [[{"step": 1}]]}),
        ("trl", {"log_history": 7}),
        ("verl", {"step": 1, "data": 7}),
        ("verl", {"step": 1, "data": [1]}),
        ("verl", {"step": 1, "data": "text"}),
    ],
)
def test_a_step_log_whose_rows_are_no_objects_is_refused(tmp_path, writer, log):
    file = written(tmp_path / "log", json.dumps(log) + "\n")
    refused(call("diagnose", file, "--from", writer), str(file))


def test_a_csv_step_log_in_another_encoding_is_refused(tmp_path):
    file = written(tmp_path / "log.csv", "step,länge\n1,2\n".encode("latin-1"))
    refused(call("diagnose", file, "--from", "csv", "--column", "tokens_mean=x"), "is not CSV")


def test_a_csv_step_log_without_its_first_line_is_refused(tmp_path):
    file = written(tmp_path / "log.csv", "\n\n1\n".join(["a", "2,3\n"]))
    refused(call("diagnose", file, "--from", "csv", "--column", "tokens_mean=x"), "it has")


def test_a_step_log_beside_a_damaged_recipe_is_refused(tmp_path):
    shutil.copy(BEFORE / "run/steps.jsonl", tmp_path)
    written(tmp_path / "recipe.toml", "learner = [")
    refused(call("diagnose", tmp_path), "recipe.toml is damaged")


@pytest.mark.parametrize("query", ["", "?answer=gold", "?grader=math"])
def test_a_csv_problem_with_more_cells_than_columns_is_refused(tmp_path, query):
    file = written(tmp_path / "set.csv", "prompt,answer\nHow many, if any?,2\n")
    refused(call("benchmarks", f"{file}{query}"), "more cells than the 2 of the first line")


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd"])
def test_records_that_only_look_packed_are_refused(tmp_path, start):
    whole = (BEFORE / "evaluation/records.jsonl").read_bytes()
    refused(call("report", written(tmp_path / "records.jsonl", start + whole)), "records.jsonl")


def test_lighteval_tokens_of_128_bits_are_refused(tmp_path):
    frame = pl.read_parquet(LIGHTEVAL)
    rows = frame.to_dicts()
    rows[0]["model_response"]["output_tokens"][0][0] = 2**100
    pl.DataFrame(rows, strict=False).write_parquet(tmp_path / "d.parquet")
    refused(call("report", tmp_path / "d.parquet", "--from", "lighteval"), "64 bits")


def test_a_key_that_holds_a_line_break_is_refused_in_one_line(tmp_path):
    recipe = shipped("demo").read_text().replace("[target]", '[target]\n"a\\nb" = 1')
    refused(call("train", written(tmp_path / "r.toml", recipe), "--dry-run"), "a\\nb")


@pytest.mark.parametrize("said", ["[/x] is it?", "[bold]", "\\[", ":key: [red]"])
def test_a_text_that_looks_like_markup_is_printed_as_it_is(tmp_path, said):
    text = (BEFORE / "study/small.toml").read_text()
    text = text.replace("Does anything happen?", said.replace("\\", "\\\\"))
    file = written(tmp_path / "s.toml", text)
    done = call("study", file, "--dry-run", "--out", tmp_path / "o", "--results", tmp_path / "r")
    assert done.exit_code == 0, done.output
    assert said in done.output


def test_a_recipe_that_an_editor_began_with_a_byte_order_mark_is_read(tmp_path):
    file = written(tmp_path / "r.toml", b"\xef\xbb\xbf" + shipped("demo").read_bytes())
    assert call("train", file, "--dry-run").exit_code == 0


def test_a_terminal_that_knows_no_signs_but_ascii_does_not_end_a_report(tmp_path):
    command = [sys.executable, "-m", "tersely", "report", str(BEFORE / "evaluation")]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert b"report:" in done.stdout


@pytest.mark.parametrize(
    "gold",
    [
        DEEP,
        json.dumps({"instruction_id_list": ["length_constraints:number_words"], "kwargs": [{}]}),
        json.dumps({"instruction_id_list": ["keywords:existence"], "kwargs": [None]}),
        json.dumps(
            {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["("]}]}
        ),
    ],
)
def test_instructions_that_could_not_be_checked_are_refused_before_sampling(tmp_path, gold):
    row = {"prompt": "Say it.", "answer": gold, "grader": "instructions"}
    file = written(tmp_path / "set.jsonl", json.dumps(row) + "\n")
    refused(call("benchmarks", file), "1 of 1 gold answers")


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize(
    ("twice", "said"),
    [
        ('"loss": 1, "loss": 2', "has the key 'loss' twice, as 1 and as 2; keep one of them"),
        ('"loss": {"a": 1, "a": [2]}', "has the key 'a' twice, as 1 and as [2]"),
        (f'"loss": {DIGITS}', "has a number of more than 4300 digits; write a shorter one"),
    ],
)
def test_json_that_can_be_read_in_two_ways_or_hardly_is_refused(tmp_path, twice, said, end):
    rows = '{"step": 1, "loss": 1}\n{"step": 2, ' + twice + "}" + end
    refused(call("diagnose", written(tmp_path / "a.jsonl", rows)), "a.jsonl:2", said)
    data = '{"step": 1, "data": {"actor/lr": 1}}\n{"step": 2, "data": {' + twice + "}}" + end
    refused(call("diagnose", written(tmp_path / "b.jsonl", data)), "b.jsonl:2", said)
    samples = '{"problem": 1, "correct": 1, "tokens": 9, ' + twice + "}" + end
    file = written(tmp_path / "c.jsonl", samples)
    refused(call("report", "--from", "table", file, "--cap-tokens", "9"), "c.jsonl:1", said)


def test_a_key_that_stands_twice_with_one_value_is_read(tmp_path):
    rows = '{"step": 1, "loss": NaN, "loss": NaN}\n{"step": 2, "loss": 2, "loss": 2}\n'
    assert call("diagnose", written(tmp_path / "a.jsonl", rows)).exit_code == 0
