"""An evaluation in which nothing is right and most answers hold the right one is doubted."""

import json

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import EvalRecord, Finish, Grade, Problem

DOUBT = "none of 4 graded samples is right, yet"


def call(*words):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stderr, " ".join(done.stdout.split())


def rows(tmp_path, *texts, right=0, gold="4", **rest):
    path = tmp_path / "rows.jsonl"
    made = [
        {"problem": str(n), "text": text, "gold": gold, "correct": n < right} | rest
        for n, text in enumerate(texts)
    ]
    counted = [row | {"tokens": 9, "finish": rest.get("finish", "stop")} for row in made]
    path.write_text("".join(json.dumps(row) + "\n" for row in counted))
    return path


SAID = ("So it is 4.", "<think>4?</think> The answer is **4**", "There are 4 of them.", "I say 5.")


def test_it_is_said_as_a_warning_and_under_the_table_with_what_to_do(tmp_path) -> None:
    told = ("--from", "table", "--out", tmp_path)
    path = rows(tmp_path, *SAID)
    warned, printed = call("report", path, *told)
    (line,) = [line for line in warned.splitlines() if line.startswith("warning:")]
    assert f"{DOUBT} 3 of 4 answers" in line
    assert "the grader (the file's own)" in line
    assert "--regrade NAME" in line
    assert DOUBT in printed
    warned, _ = call("report", path, *told, "--regrade", "exact")
    assert "the grader (exact)" in warned
    warned, printed = call("report", path, *told, "--regrade", "number")
    assert "yet" not in warned + printed
    _, printed = call("compare", path, path, *told)
    assert DOUBT in printed


def test_it_is_said_of_an_evaluation_of_ours_with_the_grader_to_name(tmp_path) -> None:
    problem = Problem(id="a", prompt="2 + 2?", answer="4", source="b", grader="exact")
    jsonl.write(tmp_path / "problems.jsonl", [problem])
    record = {"run": "r", "benchmark": "b", "problem": "a", "grade": Grade.WRONG, "tokens": 9}
    record |= {"finish": Finish.STOP, "cap_tokens": 64, "seed": 0}
    made = [EvalRecord(**record, sample=n, text=text) for n, text in enumerate(SAID)]
    jsonl.write(tmp_path / "records.jsonl", made)
    warned, printed = call("report", tmp_path)
    # Two texts a problem are looked at.
    assert f"{DOUBT} 2 of 2 answers" in warned
    assert "FILE?grader=NAME" in warned
    assert DOUBT in printed


@pytest.mark.parametrize(
    ("texts", "rest"),
    [
        (SAID, {"right": 1}),
        (("So it is 5.",) * 4, {}),
        (("So it is 14, 4.5 or -4.",) * 4, {}),
        (("<think>4, or 6?</think>It is 6.",) * 4, {}),
        ((*SAID[:2], "6", "7"), {}),
        (SAID, {"finish": "length"}),
        (("",) * 4, {}),
    ],
)
def test_what_is_wrong_is_not_doubted(tmp_path, texts, rest) -> None:
    warned, printed = call("report", rows(tmp_path, *texts, **rest), "--from", "table")
    assert "yet" not in warned + printed
