"""``tersely benchmarks``: the list, and files of problems."""

import json
from pathlib import Path

from typer.testing import CliRunner

from tersely.cli import app
from tersely.tasks.benchmarks import ALL
from tersely.tasks.sources import load


def run(*words: str):
    return CliRunner().invoke(app, ["benchmarks", *words])


def test_every_set_is_listed_with_its_dataset() -> None:
    shown = run().stdout
    assert all(name in shown for name in ALL)


def test_what_is_written_reads_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "sums.jsonl"
    name = "gym:chain_sum?size=4&seed=2"
    result = run(name, "--out", str(file))
    assert result.exit_code == 0, result.output
    assert load(str(file)) == load(name)


def test_a_gold_answer_that_its_grader_rejects_is_refused_or_left_out_and_named(
    tmp_path: Path,
) -> None:
    given, file = tmp_path / "given.jsonl", tmp_path / "kept.jsonl"
    rows = [
        {"id": "good", "prompt": "1+1?", "answer": "2", "grader": "number"},
        {"id": "bad", "prompt": "1+2?", "answer": "three", "grader": "number"},
    ]
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused = run(str(given), "--out", str(file))
    assert refused.exit_code == 2
    assert "bad: 'three'" in refused.stderr
    assert not file.exists()
    kept = run(str(given), "--out", str(file), "--leave-out")
    assert kept.exit_code == 0
    assert "left out bad: 'three' (grader number says ungraded)" in kept.stderr
    assert [problem.id for problem in load(str(file))] == ["good"]
