"""Evaluations through a server whose replies a test words."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "engines" / "http"))
from faulty_server import choice, completion, reply

from tersely.core import jsonl
from tersely.core.types import EvalRecord, SamplingSpec
from tersely.engines.http.sampler import Endpoint
from tersely.flows.evaluate.plan import Plan
from tersely.flows.observer import Quiet
from tersely.metrics.budgets import Protocol

PROBLEMS, SAMPLES = 5, 6


class Order(Quiet):
    """Notes what happened in which order."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_sampling(self, what, total, done):
        self.seen.append((what, total, done))

    def on_sample(self, record):
        self.seen.append((record.problem, record.sample))


def write_benchmark(file):
    """Problems whose prompt ends in their number, which is the answer."""
    rows = [
        {"id": f"p{i}", "prompt": f"Say which number this one has: {i}", "answer": str(i)}
        for i in range(PROBLEMS)
    ]
    rows = [row | {"source": "made", "grader": "number"} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def plan(server, benchmark, out, *, samples=SAMPLES, endpoint=(), limit=None, **spec):
    return Plan(
        model="m",
        benchmark=str(benchmark),
        out=out,
        spec=SamplingSpec(samples=samples, seed=0, **{"cap_tokens": 400, **spec}),
        budgets=(400,),
        protocol=Protocol.FINISHED,
        limit=limit,
        endpoint=Endpoint(url=server.url, model="m", backoff_s=0.002, tries=2, **dict(endpoint)),
    )


def answers(text, *, tokens=60, finish="stop", **message):
    """A server that says this, with the problem's number for # and the seed for @."""

    def answer(body):
        number = body["messages"][0]["content"].split()[-1]

        def filled(said):
            return said.replace("#", number).replace("@", str(body["seed"]))

        # The sampler asks for one token to tell a server's repeating from a model's.
        said = "Say" if body["max_tokens"] == 1 else filled(text)
        fields = {name: filled(value) for name, value in message.items()}
        used = min(tokens, body["max_tokens"])
        return reply(completion(choice(said, finish=finish, **fields), tokens=used))

    return answer


def records_of(out):
    return jsonl.read(out / "records.jsonl", EvalRecord)


def pairs_of(out):
    return {(r.problem, r.sample) for r in records_of(out)}
