"""One problem of thirty that a server never answers as it should: what the others lose by it."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from faults import (
    ERROR,
    HTML,
    SAMPLES,
    TIMEOUT_S,
    Answer,
    Body,
    Raw,
    Server,
    choice,
    completion,
    evaluate,
    read_lines,
    reply,
    running,
    whole,
    write_problems,
)

PROBLEMS, RUNS = 30, 3
ALL = PROBLEMS * SAMPLES
REFUSED = {"error": {"message": "this prompt is refused", "type": "invalid_request_error"}}
STREAM = b'data: {"choices": [{"index": 0, "delta": {"content": "It is"}}]}\n\ndata: [DONE]\n\n'


def _counted(body: Body, tokens: Any) -> Answer:
    return reply(whole(body) | {"usage": {"completion_tokens": tokens}})


def _chosen(*choices: Body) -> Answer:
    return reply(completion(*choices, tokens=9))


KINDS: dict[str, Callable[[Body], Answer]] = {
    "400": lambda body: reply(REFUSED, status=400),
    "404": lambda body: reply(REFUSED, status=404),
    "413": lambda body: reply(REFUSED, status=413),
    "422": lambda body: reply(REFUSED, status=422),
    "500": lambda body: reply(ERROR, status=500),
    "content filter": lambda body: _chosen(choice("", finish="content_filter")),
    "200 with an error": lambda body: reply(ERROR),
    "no choices": lambda body: _chosen(),
    "finish_reason error": lambda body: _chosen(choice("", finish="error")),
    "content null": lambda body: _chosen(choice(None)),
    "no usage": lambda body: reply({k: v for k, v in whole(body).items() if k != "usage"}),
    "0 tokens": lambda body: _counted(body, 0),
    "-5 tokens": lambda body: _counted(body, -5),
    "17.5 tokens": lambda body: _counted(body, 17.5),
    "tokens above the cap": lambda body: _counted(body, 100_000),
    "two choices": lambda body: _chosen(choice("It is 1"), choice("It is 2", index=1)),
    "no JSON": lambda body: (200, {"Content-Type": "text/html"}, HTML),
    "a stream": lambda body: (200, {"Content-Type": "text/event-stream"}, STREAM),
    "connection closed": lambda body: Raw(b""),
    "timeout": lambda body: Raw(b"", after_s=2 * TIMEOUT_S),
}


class Outcome(NamedTuple):
    """What a kind of refusal did, after three runs of the command."""

    kind: str
    kept: int
    failed: int
    requests: tuple[int, ...]
    exits: tuple[int, ...]
    drawn: bool
    last: str


def measure(kind: str, *, bad: int, tries: int) -> Outcome:
    """Three runs of the command, and a report of what they left."""
    requests = []

    def answer(body: Body) -> Answer:
        requests[-1] += 1
        is_bad = body["messages"][0]["content"].startswith(f"Question {bad}:")
        return KINDS[kind](body) if is_bad else reply(whole(body))

    exits, last = [], ""
    with tempfile.TemporaryDirectory() as made, running(Server(answer=answer)) as server:
        problems, out = Path(made) / "problems.jsonl", Path(made) / "out"
        write_problems(problems, PROBLEMS)
        for _ in range(RUNS):
            requests.append(0)
            done = evaluate(server.url, problems, out, "--tries", tries)
            exits.append(done.returncode)
            said = [line for line in done.stderr.splitlines() if line.strip()]
            last = said[-1] if done.returncode and said else last
        report = [sys.executable, "-m", "tersely", "report", str(out)]
        drawn = subprocess.run(report, capture_output=True).returncode == 0
        pairs = {
            (r["problem"], r["sample"]): _has_failed(r) for r in read_lines(out / "records.jsonl")
        }
        for file in out.glob("fail*.jsonl"):
            pairs |= {(r["problem"], r["sample"]): True for r in read_lines(file)}
    failed = sum(pairs.values())
    kept = len(pairs) - failed
    return Outcome(kind, kept, failed, tuple(requests), tuple(exits), drawn, last)


def _has_failed(record: dict[str, Any]) -> bool:
    return record["finish"] == "error" or bool(record.get("failure"))


def _row(o: Outcome) -> str:
    asked = f"{sum(o.requests):,} ({', '.join(map(str, o.requests))})"
    exits, drawn = ", ".join(map(str, o.exits)), "yes" if o.drawn else "no"
    return f"| {o.kind} | {o.kept} | {o.failed} | {asked} | {exits} | {drawn} |"


def main() -> None:
    """A row a kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bad", type=int, default=17, help="which of the thirty is refused")
    parser.add_argument("--tries", type=int, default=2, help="of a request, in a run")
    parser.add_argument("--only", choices=sorted(KINDS), help="one kind, and what was said last")
    given = parser.parse_args()
    kinds = [given.only] if given.only else list(KINDS)
    lost, last = 0, ""
    print(f"| refusal | kept of {ALL} | failed | requests of {RUNS} runs | exits | report |")
    print("|---|---|---|---|---|---|")
    with ThreadPoolExecutor(4) as pool:
        for o in pool.map(lambda kind: measure(kind, bad=given.bad, tries=given.tries), kinds):
            print(_row(o), flush=True)
            lost += o.kept < ALL - SAMPLES
            last = o.last
    print(f"\n{lost} of {len(kinds)} kinds cost samples of other problems")
    if given.only:
        print(last)


if __name__ == "__main__":
    main()
