"""False accepts and rejects of the maths grader and of math-verify, on answers of known truth."""

import logging
from collections.abc import Sequence
from itertools import groupby
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from typing import NamedTuple

from grading_corpus import Pair, corpus, judged_by_hand, stated

from tersely.core.types import Grade, Problem
from tersely.tasks import grading

LIMIT_S = 15.0


class Errors(NamedTuple):
    """Wrong answers that were taken for right, and right ones that were not."""

    accepts: int
    rejects: int


def measure(*, seed: int) -> tuple[list[Pair], list[bool], list[bool]]:
    """The pairs, what the grader accepts of them and what math-verify accepts."""
    pairs = [*corpus(seed=seed), *judged_by_hand()]
    return pairs, _ours(pairs), _theirs(pairs)


def measure_stated(*, seed: int) -> dict[str, tuple[list[Pair], list[bool]]]:
    """Replies for the graders of letters and of numbers, and what these accept of them."""
    return {name: (pairs, _ours(pairs, grader=name)) for name, pairs in stated(seed=seed).items()}


def errors(pairs: Sequence[Pair], accepted: Sequence[bool]) -> Errors:
    """Counts of both kinds of error."""
    both = list(zip(pairs, accepted, strict=True))
    return Errors(
        sum(taken and not pair.right for pair, taken in both),
        sum(pair.right and not taken for pair, taken in both),
    )


def table(pairs: Sequence[Pair], ours: Sequence[bool], theirs: Sequence[bool]) -> str:
    """Markdown: a row a form, with the pairs and each side's errors."""
    rows = ["| form | right, wrong pairs | tersely | math-verify |", "|---|---|---|---|"]
    done = sorted(zip(pairs, ours, theirs, strict=True), key=lambda each: _row(each[0]))
    for form, members in groupby(done, key=lambda each: _row(each[0])):
        mine, a, b = zip(*members, strict=True)
        rows.append(_line(form, mine, errors(mine, a), errors(mine, b)))
    rows.append(_line("all", pairs, errors(pairs, ours), errors(pairs, theirs)))
    return "\n".join(rows)


def _row(pair: Pair) -> str:
    return "judged by hand" if pair.form.startswith("by hand") else pair.form


def _line(form: str, pairs: Sequence[Pair], ours: Errors, theirs: Errors) -> str:
    right = sum(pair.right for pair in pairs)
    counts = f"{right}, {len(pairs) - right}"
    return f"| {form} | {counts} | {ours[0]}, {ours[1]} | {theirs[0]}, {theirs[1]} |"


def _ours(pairs: Sequence[Pair], *, grader: str = "math") -> list[bool]:
    asked = [
        (Problem(id="p", prompt="?", answer=pair.gold, source="s", grader=grader), pair.reply)
        for pair in pairs
    ]
    return [verdict.grade is Grade.CORRECT for verdict in grading.grade_all(asked)]


def _theirs(pairs: Sequence[Pair]) -> list[bool]:
    """As math-verify's own page uses it; what takes longer than the limit is not accepted."""
    channel, process = _start()
    accepted = []
    for pair in pairs:
        channel.send((pair.gold, pair.reply))
        if channel.poll(LIMIT_S):
            accepted.append(bool(channel.recv()))
        else:
            process.kill()
            accepted.append(False)
            channel, process = _start()
    process.kill()
    return accepted


def _start() -> tuple[Connection, Process]:
    here, there = Pipe()
    process = Process(target=_serve, args=(there,), daemon=True)
    process.start()
    here.recv()
    return here, process


def _serve(channel: Connection) -> None:
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    channel.send(True)
    while True:
        gold, reply = channel.recv()
        channel.send(verify(parse(f"${gold}$"), parse(reply)))
