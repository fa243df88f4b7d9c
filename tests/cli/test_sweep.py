"""``sweep`` as a user calls it, against servers of every kind."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
import sweeping

sys.path.insert(0, str(Path(__file__).parents[1] / "engines" / "http"))
from faulty_server import Server, reply, running

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import EvalRecord

PROBLEMS, SAMPLES = 40, 4
EFFORTS = ("--efforts", "low,medium,high")


@pytest.fixture
def server():
    with running(Server(models=reply({"data": [{"id": "m"}]}))) as one:
        yield one


@pytest.fixture
def benchmark(tmp_path):
    file = tmp_path / "problems.jsonl"
    rows = [
        {"id": f"p{i}", "prompt": f"Say which number this one has: {i}", "answer": str(i)}
        | {"source": "made", "grader": "number"}
        for i in range(PROBLEMS)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "80"})


def sweep(server, benchmark, out, *words, code=0):
    result = call(
        *("sweep", benchmark, "--endpoint", server.url, "--model", "m", "--out", out, "--json"),
        *("--samples", SAMPLES, "--cap-tokens", 1000, "--tries", 1, *words),
    )
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if result.stdout else result


def verdicts(document):
    return {each["name"]: each.get("verdict") for each in document["levels"]}


def refused(result, *expected, code=2):
    assert result.exit_code == code, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    for words in expected:
        assert words in line


KINDS = {
    "working": ("obeyed", "obeyed", "obeyed"),
    "idle": ("ignored", "ignored", "ignored"),
    "deaf": ("ignored", "ignored", "ignored"),
    "reversed_order": ("wrong order", "wrong order", "wrong order"),
    "half_idle": ("obeyed in part", "obeyed in part", "obeyed"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_server_is_named_right(server, benchmark, tmp_path, kind) -> None:
    server.answer = getattr(sweeping, kind)
    document = sweep(server, benchmark, tmp_path / "s", *EFFORTS)
    expected = dict(zip(("low", "medium", "high"), KINDS[kind], strict=True))
    assert verdicts(document) == expected, document["levels"]
