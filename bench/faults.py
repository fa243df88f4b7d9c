"""How many of 2,000 samples arrive, each once, through fifteen kinds of passing fault."""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "engines" / "http"))
from faulty_server import Answer, Body, Raw, Server, choice, completion, reply, running

PROBLEMS, SAMPLES = 500, 4
TIMEOUT_S = 4.0
MOST_OF_A_REQUEST = 2
HTML = b"<!doctype html><html><body>Bad gateway</body></html>"
ERROR = {"error": {"message": "overloaded", "type": "server_error", "code": 500}}


def whole(body: Body) -> Body:
    """The chat completion that a request asks for: its text tells which."""
    number = body["messages"][0]["content"].split()[1].rstrip(":")
    text = f"Thinking of {number} with seed {body['seed']}, it is \\boxed{{{number}}}"
    return completion(choice(text), tokens=len(text) // 3)


def _head(body: bytes, *, length: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + body


def _with(body: Body, **fields: Any) -> Answer:
    return reply(whole(body) | fields)


def _ended(body: Body, finish: str) -> Answer:
    return reply(completion(choice("", finish=finish), tokens=0))


def _raw(body: Body) -> bytes:
    return json.dumps(whole(body)).encode()


FAULTS: dict[str, Callable[[Body], Answer]] = {
    "500": lambda body: reply(ERROR, status=500),
    "502": lambda body: (502, {"Content-Type": "text/html"}, HTML),
    "503": lambda body: reply(ERROR, status=503),
    "429 with Retry-After": lambda body: reply(ERROR, status=429, **{"Retry-After": "1"}),
    "connection reset": lambda body: Raw(b"", reset=True),
    "closed in the body": lambda body: Raw(_head(_raw(body)[:60], length=len(_raw(body)))),
    "slow": lambda body: Raw(_head(_raw(body), length=len(_raw(body))), after_s=TIMEOUT_S / 2),
    "malformed JSON": lambda body: (200, {}, _raw(body)[:-3]),
    "empty body": lambda body: (200, {}, b""),
    "200 with HTML": lambda body: (200, {"Content-Type": "text/html"}, HTML),
    "200 with an error": lambda body: reply(ERROR),
    "finish_reason error": lambda body: _ended(body, "error"),
    "no choices": lambda body: _with(body, choices=[]),
    "timeout": lambda body: Raw(b"", after_s=2 * TIMEOUT_S),
    "Content-Length too large": lambda body: Raw(_head(_raw(body), length=9_999)),
}


class Faulty:
    """Answers requests, a share of them with a fault first; no request meets more than two."""

    def __init__(self, *, seed: int, share: float) -> None:
        self.met: Counter[str] = Counter()
        self.requests = 0
        self._rng, self._share, self._lock = random.Random(seed), share, Lock()
        self._of_request: Counter[str] = Counter()

    def answer(self, body: Body) -> Answer:
        """What this request gets now."""
        request = json.dumps(body)
        with self._lock:
            self.requests += 1
            if self._rng.random() < self._share and self._of_request[request] < MOST_OF_A_REQUEST:
                kind = self._rng.choice(sorted(FAULTS))
                self._of_request[request] += 1
                self.met[kind] += 1
                return FAULTS[kind](body)
        return reply(whole(body))


def write_problems(file: Path, count: int) -> None:
    """Problems whose answer is their number."""
    rows = [
        {"id": f"p{n}", "prompt": f"Question {n}: which number is this?", "answer": str(n)}
        for n in range(count)
    ]
    file.write_text("".join(json.dumps(row | {"grader": "math"}) + "\n" for row in rows))


def evaluate(url: str, problems: Path, out: Path, *options: object) -> subprocess.CompletedProcess:
    """One run of the command; repeated with the same folder it goes on there."""
    words = ("--endpoint", url, "--model", "m", "--benchmark", problems, "--out", out)
    fixed = ("--samples", SAMPLES, "--cap-tokens", 512, "--timeout-s", TIMEOUT_S)
    command = [sys.executable, "-m", "tersely", "eval", *words, *fixed, *options]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The records of a file; none where there is none."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def main() -> None:
    """Runs the command once and prints what arrived and which faults were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.2, help="of requests that meet a fault")
    given = parser.parse_args()
    faulty = Faulty(seed=given.seed, share=given.share)
    with tempfile.TemporaryDirectory() as made, running(Server(answer=faulty.answer)) as server:
        folder = Path(made)
        write_problems(folder / "problems.jsonl", PROBLEMS)
        began = time.monotonic()
        done = evaluate(server.url, folder / "problems.jsonl", folder / "out")
        seconds = time.monotonic() - began
        records = read_lines(folder / "out" / "records.jsonl")
    print("| fault | met |\n|---|---|")
    for kind in FAULTS:
        print(f"| {kind} | {faulty.met[kind]:,} |")
    pairs = {(record["problem"], record["sample"]) for record in records}
    right = sum(record["grade"] == "correct" for record in records)
    print(
        f"\n{len(pairs):,} of {PROBLEMS * SAMPLES:,} samples arrived, in {len(records):,} records, "
        f"{right:,} of them right; {faulty.requests:,} requests, {sum(faulty.met.values()):,} of "
        f"them with a fault; exit {done.returncode} after {seconds:.0f} s"
    )
    if done.returncode:
        print(done.stderr.splitlines()[-1])


if __name__ == "__main__":
    main()
