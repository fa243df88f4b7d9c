"""``--budget-of``: what budgets count, named wherever a budget stands."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tersely.cli import app


@pytest.fixture
def sides(tmp_path: Path) -> list[str]:
    paths = []
    for side, step in (("one", 1), ("two", 2)):
        path = tmp_path / f"{side}.jsonl"
        rows = [
            {
                "problem": f"p{at}",
                "correct": (at * step) % 3 != 0,
                "tokens": 10 + at,
                "finish": "stop",
                "turns": 1 + at % 4,
                "tool_tokens": at % 5,
            }
            for at in range(24)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        paths.append(str(path))
    return paths


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_a_report_of_turns_names_them_and_no_token_budget(sides: list[str], tmp_path: Path):
    said = run("report", sides[0], "--from", "table", "--budget-of", "turns")
    assert said.exit_code == 0, said.output
    assert "turns within the budget" in " ".join(said.output.split())
    page = (tmp_path / "one-report.html").read_text(encoding="utf-8")
    assert "turn budget (log scale)" in page
    assert "Accuracy within 4 turns" in page
    assert "token budget" not in page


def test_json_says_what_budgets_count_and_gives_accuracy_within_turns(sides: list[str]):
    said = run("report", sides[0], "--from", "table", "--budget-of", "turns", "--json", "--quiet")
    document = json.loads(said.stdout)
    assert document["budget_of"] == "turns"
    within = {
        f["budget_tokens"]: f["estimate"] for f in document["figures"] if f["name"] == "accuracy"
    }
    # Of 24 problems 6 have one turn (0, 4, 8, ...), every third of all is wrong: 0 and 12 here.
    assert within[1] == pytest.approx(4 / 24)
    assert within[4] == pytest.approx(16 / 24)
    assert {f["budget_of"] for f in document["figures"]} == {"turns"}


def test_a_comparison_of_tokens_without_tools_names_them(sides: list[str]):
    said = run("compare", *sides, "--from", "table", "--budget-of", "model-tokens")
    assert said.exit_code == 0, said.output
    assert "tokens without tools" in said.output
    assert "at 30 tokens without tools" in " ".join(said.output.split())


def test_a_front_of_three_is_of_what_budgets_count(sides: list[str], tmp_path: Path):
    words = ("compare", *sides, sides[0], "--from", "table", "--budget-of", "turns")
    said = run(*words)
    assert said.exit_code == 0, said.output
    assert "Pareto front: accuracy against mean turns" in said.output
    assert "within 4 turns" in said.output
    (file,) = tmp_path.glob("compare-*-and-2-others.html")
    page = file.read_text(encoding="utf-8")
    assert "Within 4 turns" in page
    document = json.loads(run(*words, "--json", "--quiet").stdout)
    assert document["budget_of"] == "turns"
    # Turns of 24 samples: 1, 2, 3, 4 six times each; within 4 turns 2.5 of them in the mean.
    last = document["fronts"][-1]
    assert last["budget_tokens"] == 4
    assert all(p["tokens"]["estimate"] == pytest.approx(2.5) for p in last["points"].values())


def change(path: str, **values: int) -> str:
    file = Path(path)
    rows = [{**json.loads(line), **values} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("of", ["model-tokens", "turns"])
def test_a_front_of_samples_that_a_lower_cap_cuts_is_of_tokens_only(sides: list[str], of: str):
    # Where in a sample of 1,000 tokens the 600 of tools stand is not known: cut at 500, it spent
    # anything from 0 to 400 of its own.
    change(sides[0], tokens=1000, tool_tokens=600, cap_tokens=1000)
    change(sides[1], tokens=400, tool_tokens=100, cap_tokens=500)
    words = (*sides, sides[0], "--from", "table", "--quiet")
    said = run("compare", *words, "--budget-of", of)
    assert said.exit_code == 2
    (line,) = [line for line in said.output.splitlines() if line.startswith("error:")]
    assert f"--budget-of {of}: the lowest cap, 500 tokens, cuts 24 graded samples of " in line
    assert "compare two at a time" in line
    assert run("compare", *words).exit_code == 0
    assert run("compare", *sides, "--from", "table", "--budget-of", of).exit_code == 0


def test_no_turn_at_all_is_not_believed(sides: list[str]):
    said = run("report", change(sides[0], turns=0), "--from", "table", "--budget-of", "turns")
    assert said.exit_code == 2
    (line,) = [line for line in said.output.splitlines() if line.startswith("error:")]
    assert "24 of 24 graded samples of one say that they took 0 turns" in line
    assert "--column turns=NAME" in line


@pytest.mark.parametrize("command", ["report", "compare", "advise"])
def test_a_file_without_any_token_is_refused_in_one_line(sides: list[str], command: str):
    zero = change(sides[0], tokens=0, tool_tokens=0, correct=False)
    files = [zero] if command == "report" else [zero, sides[1]]
    said = run(command, *files, "--from", "table")
    assert said.exit_code == 2
    (line,) = [line for line in said.output.splitlines() if line.startswith("error:")]
    assert "one: not one of its 24 graded samples has a token" in line
    assert "tokens=NAME, or --tokenizer MODEL" in line
