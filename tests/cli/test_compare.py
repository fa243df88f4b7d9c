"""``compare`` of two, three and more evaluations, as a user calls it."""

import csv
import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tersely.lab
from tersely.cli import app

FIXTURES = Path(__file__).parents[1] / "readers" / "fixtures"
LM_EVAL = FIXTURES / "lm_eval" / "samples_lab_2026-11-22T16-47-07.051039.jsonl"
LIGHTEVAL = FIXTURES / "lighteval" / "details_lab.parquet"
LAB = Path(tersely.lab.__file__).parent / "checkpoint"
TABLE = ("--from", "table")


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "80"})


def told(result):
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def refused(result, *expected):
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    for words in expected:
        assert words in line


def rows_of(seed, *, right=0.5, longest=1000, problems=40, samples=4):
    """Rows without names: a question, a verdict, a length."""
    draw = random.Random(seed)
    return [
        {
            "prompt": f"What is {p} + {p}?",
            "correct": draw.random() < right,
            "tokens": draw.randint(longest // 4, longest),
            "finish": "stop",
            "cap_tokens": 1024,
        }
        for p in range(problems)
        for _ in range(samples)
    ]


def save(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def base(tmp_path):
    return save(tmp_path / "base.jsonl", rows_of(1))


def named(rows, prefix):
    return [row | {"problem": f"{prefix}{at // 4}"} for at, row in enumerate(rows)]


def without_prompt(rows):
    return [{key: value for key, value in row.items() if key != "prompt"} for row in rows]


SAME_QUESTIONS = {
    "names of its own": lambda rows: named(rows, "run7-"),
    "another benchmark": lambda rows: [row | {"benchmark": "other"} for row in rows],
    "a newline at the end": lambda rows: [row | {"prompt": row["prompt"] + "\n"} for row in rows],
    "chat messages": lambda rows: [
        row | {"prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows
    ],
    "a template": lambda rows: [
        row | {"prompt": f"Question: {row['prompt']}\nAnswer:"} for row in rows
    ],
}


@pytest.mark.parametrize("kind", SAME_QUESTIONS)
def test_the_same_questions_under_other_names_are_paired(base, tmp_path, kind):
    other = save(tmp_path / "other.jsonl", SAME_QUESTIONS[kind](rows_of(2)))
    said = told(call("compare", base, other, *TABLE))
    assert "n = 40 problems × 4 samples" in said
    assert "40 problems of other are paired by what they ask" in said


def test_other_questions_are_not_paired_and_the_way_out_is_named(base, tmp_path):
    rows = [row | {"prompt": row["prompt"].replace("What", "How much")} for row in rows_of(2)]
    refused(
        call("compare", base, save(tmp_path / "o.jsonl", rows), *TABLE),
        "share no problem",
        "base has 40",
        "no question is in both",
        "--column problem=NAME",
    )


def test_names_that_number_the_rows_of_differently_ordered_files_are_refused(tmp_path):
    rows = rows_of(1)
    left = save(tmp_path / "left.jsonl", named(rows, ""))
    right = save(tmp_path / "right.jsonl", named(rows[4:] + rows[:4], ""))
    refused(call("compare", left, right, *TABLE), "'0' asks", "--pair-by question")
    said = told(call("compare", left, right, *TABLE, "--pair-by", "question"))
    assert "+0.0 pp" in said or "0.0 pp" in said


def test_rows_without_name_or_question_are_paired_only_on_demand(base, tmp_path):
    left = save(tmp_path / "left.jsonl", without_prompt(rows_of(1)))
    right = save(tmp_path / "right.jsonl", without_prompt(rows_of(2)))
    short = save(tmp_path / "short.jsonl", without_prompt(rows_of(2))[:-1])
    refused(call("compare", left, right, *TABLE), "column prompt", "--pair-by row")
    said = told(call("compare", left, right, *TABLE, "--pair-by", "row"))
    assert "n = 160 problems × 1 sample" in said
    refused(call("compare", left, short, *TABLE, "--pair-by", "row"), "160 rows and short 159")


def test_each_evaluation_has_its_own_reader(tmp_path):
    options = ("--column", "1:grader=number", "--tokenizer", f"2:{LAB}", "--out", tmp_path)
    for readers in (
        ("--from", "lighteval", "--from", "lm_eval"),
        ("--from", "1:lighteval", "--from", "2:lm_eval"),
    ):
        said = told(call("compare", LIGHTEVAL, LM_EVAL, *readers, *options))
        # Of ten problems three have no graded sample on one side.
        assert "n = 7 problems × 4 samples" in said


def test_a_folder_of_ours_is_read_as_ours_beside_a_file_of_another_tool(tmp_path):
    ours = Path(__file__).parents[1] / "fixtures" / "before_h" / "evaluation"
    asked = [json.loads(line) for line in (ours / "problems.jsonl").read_text().splitlines()]
    rows = [
        {"prompt": each["prompt"], "correct": True, "tokens": 9, "finish": "stop"} for each in asked
    ]
    theirs = save(tmp_path / "theirs.jsonl", rows)
    said = told(call("compare", ours, theirs, *TABLE, "--out", tmp_path, "--protocol", "finished"))
    assert "theirs are paired by what they ask" in said


FILTERS = next((FIXTURES / "lm_eval").glob("samples_lab_filters_*"))


def test_what_a_reader_asks_for_is_named_with_the_evaluations_number(base, tmp_path):
    readers = ("--from", "1:table", "--from", "2:lm_eval")
    options = ("--tokenizer", f"2:{LAB}", "--cap-tokens", "2:96", "--out", tmp_path)
    asked = call("compare", base, FILTERS, *readers, *options)
    refused(asked, "has the filters answer, strict; choose one with --column 2:filter=NAME")
    for column in ("2:filter=answer", "filter=answer"):
        done = call("compare", base, FILTERS, *readers, *options, "--column", column)
        refused(done, "share no problem")  # each was read

    half = save(tmp_path / "half.jsonl", [row | {"correct": 0.5} for row in rows_of(2)])
    for sides, place in (((half, base), 1), ((base, half), 2)):
        refused(call("compare", *sides, *TABLE), f"--column {place}:correct=NAME")
    models = [row | {"model": str(n % 2)} for n, row in enumerate(rows_of(2))]
    two = save(tmp_path / "two.jsonl", models)
    refused(call("compare", base, two, *TABLE), "choose one with --only-model 2:NAME")
    lighteval = call("compare", base, LIGHTEVAL, "--from", "1:table", "--from", "2:lm_eval")
    refused(lighteval, "read it with --from 2:lighteval")


def test_a_column_that_one_reader_has_goes_to_its_files_alone(tmp_path):
    rows = save(tmp_path / "rows.jsonl", [r | {"n": r["tokens"]} for r in rows_of(1)])
    grader = ("--column", "grader=number", "--column", "problem=n", "--tokenizer", f"2:{LAB}")
    readers = ("--from", "1:table", "--from", "2:lighteval")
    refused(call("compare", rows, LIGHTEVAL, *readers, *grader), "share no problem")
    both = (*readers, "--column", "correct=acc")
    refused(call("compare", rows, LIGHTEVAL, *both), "its number: --column 1:correct=acc")
    neither = (*readers, "--column", "filter=x")
    said = ("no column 'filter' of --from table, lighteval to map", "choose one of correct, ")
    refused(call("compare", rows, LIGHTEVAL, *neither), *said)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--from", "table", "--from", "table"), ("--from is given 2 times for 3", "3 times")),
        ((*TABLE, "--cap-tokens", "4:99"), ("--cap-tokens 4:99", "from 1 to 3")),
        ((*TABLE, "--cap-tokens", "many"), ("'many'", "--cap-tokens 4096")),
        ((*TABLE, "--cap-tokens", "1:9", "--cap-tokens", "1:8"), ("twice for evaluation 1",)),
        ((*TABLE, "--benchmark", "a", "--benchmark", "2:b"), ("with and without a number",)),
        (("--from", "2:table", "--regrade", "math"), ("--regrade math", "--regrade 2:math")),
        (
            ("--from", "2:table", "--from", "3:verl", "--column", "tokens=t"),
            ("--column 2:tokens=t",),
        ),
        (("--from", "2:table", "--pair-by", "row"), ("--pair-by row is for tables",)),
    ],
)
def test_an_option_of_one_side_is_assigned_or_refused(base, options, expected):
    refused(call("compare", base, base, base, *options), *expected)


@pytest.fixture
def four(tmp_path):
    """A good short one, a good long one, a poor long one, and the good short one's twin."""
    made = {
        "long": rows_of(1, right=0.9),
        "short": rows_of(2, right=0.9, longest=300),
        "poor": rows_of(3, right=0.2),
        "twin": rows_of(4, right=0.9, longest=300),
    }
    return [save(tmp_path / f"{name}.jsonl", rows) for name, rows in made.items()]


def test_three_and_more_keep_their_pairs_and_add_a_front(four, tmp_path):
    figures = tmp_path / "figures.csv"
    done = call("compare", *four, *TABLE, "--csv", figures, "--md", tmp_path / "figures.md")
    said = told(done)
    for name in ("short", "poor", "twin"):
        assert f"long → {name}" in said
    assert "Holm's correction for the 12 tests at a budget" in said
    assert "Holm's correction for the 3 comparisons" in said
    rows = list(csv.DictReader(figures.read_text().splitlines()))
    place = {
        r["evaluation"]: r["side"]
        for r in rows
        if r["name"] == "accuracy" and r["budget_tokens"] == "1024"
        if r["side"].startswith(("behind", "on the front"))
    }
    assert place["poor"] == "behind"
    # Two of the same kind cannot be told apart: whichever is ahead, it is not settled.
    assert place["short"].endswith("not settled")
    assert place["twin"].endswith("not settled")
    text = (tmp_path / "compare-long-and-3-others.html").read_text()
    assert "Accuracy against mean tokens" in text
    assert "# long against short, poor, twin" in (tmp_path / "figures.md").read_text()


def test_three_are_cut_to_the_problems_and_the_cap_of_all(tmp_path):
    capped = [row | {"tokens": min(row["tokens"], 512), "cap_tokens": 512} for row in rows_of(3)]
    files = [
        save(tmp_path / "a.jsonl", rows_of(1)),
        save(tmp_path / "b.jsonl", rows_of(2)[:120]),
        save(tmp_path / "c.jsonl", capped),
    ]
    said = told(call("compare", *files, *TABLE))
    assert "n = 30 problems × 4 samples" in said
    assert "left out: 10 of a, 10 of c" in said
    assert "a, b cut at 512 tokens" in said


def test_one_evaluation_is_no_comparison(base):
    refused(call("compare", base), "two evaluations or more", "tersely report")


def test_two_tables_without_caps_are_compared_at_the_usual_number_of_budgets(tmp_path):
    files = []
    for name, seed, longest in (("a", 1, 526), ("b", 2, 263)):
        rows = [
            {**row, "cap_tokens": None, "tokens": min(row["tokens"], longest)}
            for row in rows_of(seed)
        ]
        files.append(save(tmp_path / f"{name}.jsonl", rows))
    result = call("compare", *files, *TABLE, "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["budgets_tokens"] == [32, 65, 131, 263, 526]


def test_a_table_of_one_verdict_tells_no_detectable_difference(base, tmp_path):
    rows = [{**row, "correct": False} for row in rows_of(1)]
    result = call("report", save(tmp_path / "wrong.jsonl", rows), *TABLE, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["detectable"] is None
