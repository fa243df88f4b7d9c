"""What a mistyped path, side or setting is told, in a line that names the fix."""

import json

import pytest
from typer.testing import CliRunner

from tersely.cli import app

ROWS = [{"problem": "p", "correct": True, "tokens": 263, "finish": "stop"}]


def refused(words, *expected):
    result = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "80"})
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    for said in expected:
        assert said in line


def setting(entry):
    return ("train", "demo", "--dry-run", "--set", entry)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train", "nope.toml"), "no such file: nope.toml; give a TOML file"),
        (("train", "."), ". is a folder; give a recipe in it, such as recipe.toml"),
        (
            setting("evaluation.budgets=[]"),
            "evaluation.budgets = [] has too few entries; give 1 or more",
        ),
        (setting("learner.steps=inf"), "learner.steps = inf is not a whole number"),
        (setting("learner.steps=1.5"), "learner.steps = 1.5 is not a whole number"),
        (setting("learner.steps=0"), "learner.steps = 0 is below 1; set learner.steps >= 1"),
        (setting("learner.learning_rate=nan"), "is not finite; set a number"),
        (setting("model.path=3"), "model.path = 3 is not a text"),
    ],
)
def test_what_cannot_be_taken_is_said_in_plain_words(words, expected):
    refused(words, expected)


def test_resuming_where_no_run_is_loads_nothing(tmp_path):
    words = ("train", "demo", "--resume", "--out", tmp_path / "none")
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 2
    assert "nothing to resume" in result.stderr
    assert "loading" not in result.stderr
    assert not (tmp_path / "none").exists()


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


def test_a_side_that_is_not_there_is_told_which_are(table):
    for number in (0, 3):
        words = ("compare", table, table, "--from", f"{number}:table")
        refused(words, f"--from {number}:table: there are 2 evaluations; give a number from 1 to 2")


def test_a_table_that_is_read_as_ours_names_the_option(table):
    refused(("compare", table, table), "holds no records of tersely's", "--from 1:table")


def test_a_tokenizer_that_is_not_there_is_named_with_its_side(table):
    words = ("compare", table, table, table, "--from", "table", "--tokenizer", "3:nowhere")
    refused(words, "--tokenizer 3:nowhere: there is no")


def test_a_folder_that_cannot_be_made_names_a_way_out():
    words = ("eval", "--model", "lab", "--benchmark", "lab", "--out", "/proc/x")
    refused(words, "/proc/x: No such file or directory; give another path")


def test_a_stated_cap_below_a_sample_is_told_what_it_must_be(table):
    words = ("compare", table, table, "--from", "table", "--cap-tokens", "1:200")
    refused(words, "263 tokens, above the cap of 200; state a cap of 263 or more")


def test_a_csv_that_is_read_as_verls_is_called_one(tmp_path):
    file = tmp_path / "steps.csv"
    file.write_text("step,len\n1,2\n2,3\n")
    refused(
        ("diagnose", file, "--from", "verl"), "is CSV, no log of verl's; read it with --from csv"
    )
