"""A server whose replies a test words, and problems to ask it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from serving import write_benchmark

sys.path.insert(0, str(Path(__file__).parents[2] / "engines" / "http"))
from faulty_server import Server, reply, running


@pytest.fixture
def server():
    with running(Server(models=reply({"data": []}))) as one:
        yield one


@pytest.fixture
def benchmark(tmp_path):
    return write_benchmark(tmp_path / "problems.jsonl")
