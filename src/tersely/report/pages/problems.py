"""The problems of one evaluation, and of two, as tables that the browser sorts and filters."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely.core.order import natural
from tersely.metrics.budgets import Protocol, score
from tersely.metrics.changes import ProblemChange
from tersely.metrics.numbers import defined
from tersely.metrics.records import SampleTable
from tersely.readers.questions import Key
from tersely.report.pages.html import Grid
from tersely.report.pages.traces import PageTrace

SOLVED = (
    ("all", "all problems"),
    ("every", "solved by every sample"),
    ("some", "solved by some samples"),
    ("none", "solved by none"),
    ("cut", "with truncated samples"),
)
CHANGED = (
    ("all", "all problems"),
    ("lost", "lost: solved before, by none now"),
    ("won", "won: solved by none before"),
    ("worse", "a smaller share right"),
    ("better", "a larger share right"),
)


class ProblemCount(NamedTuple):
    """One problem of an evaluation; hits are within the budget, tries are graded samples."""

    benchmark: str
    problem: str
    hits: int
    tries: int
    tokens: float
    tokens_correct: float
    truncated: int


def count_problems(
    table: SampleTable, *, budget_tokens: int, protocol: Protocol
) -> list[ProblemCount]:
    """Every problem's hits within a budget and its lengths, in table order."""
    hits = score(table, budgets_B=np.array([budget_tokens]), protocol=protocol)
    columns = (
        np.nansum(hits.hits_PSB[:, :, 0], axis=1).astype(np.int64),
        table.graded_PS.sum(axis=1),
        _mean_tokens(table, table.graded_PS),
        _mean_tokens(table, table.right_PS),
        (table.graded_PS & ~table.finished_PS).sum(axis=1),
    )
    return [
        ProblemCount(*key, *row)
        for key, *row in zip(table.keys, *(c.tolist() for c in columns), strict=True)
    ]


def list_problems(
    problems: Sequence[ProblemCount], *, budget_tokens: int, traces: Mapping[Key, PageTrace]
) -> Grid:
    """One row a problem; the trace it opens is its place in ``traces``."""
    place = {key: at for at, key in enumerate(traces)}
    return Grid(
        columns=[
            _column("benchmark", "text"),
            _column("problem", "text"),
            _column(f"right within {budget_tokens:,}", "hits"),
            _column("mean tokens", "tokens"),
            _column("mean tokens given correct", "tokens"),
            _column("truncated", "hits"),
        ],
        rows=[
            {
                "cells": [
                    p.benchmark,
                    p.problem,
                    [p.hits, p.tries],
                    defined(p.tokens),
                    defined(p.tokens_correct),
                    [p.truncated, p.tries],
                ],
                "groups": _solved(p),
                "trace": place.get((p.benchmark, p.problem)),
            }
            for p in problems
        ],
        groups=SOLVED,
        benchmarks=sorted({p.benchmark for p in problems}, key=natural),
    )


def list_changed(
    changes: Sequence[ProblemChange],
    *,
    names: tuple[str, str],
    traces: Mapping[Key, PageTrace],
) -> Grid:
    """One row a problem of both evaluations."""
    place = {key: at for at, key in enumerate(traces)}
    return Grid(
        columns=[
            _column("benchmark", "text"),
            _column("problem", "text"),
            *(_column(f"right, {name}", "hits") for name in names),
            _column("difference", "points"),
            *(_column(f"mean tokens, {name}", "tokens") for name in names),
            _column("ratio", "ratio"),
        ],
        rows=[
            {
                "cells": _change_cells(c),
                "groups": _changed(c),
                "trace": place.get((c.benchmark, c.problem)),
            }
            for c in changes
        ],
        groups=CHANGED,
        benchmarks=sorted({c.benchmark for c in changes}, key=natural),
    )


def share_change(change: ProblemChange) -> float:
    """Share of right samples, after - before; NaN without graded samples on both sides."""
    if not (change.tries_before and change.tries_after):
        return float("nan")
    return change.hits_after / change.tries_after - change.hits_before / change.tries_before


def _change_cells(change: ProblemChange) -> list[object]:
    before, after = change.tokens_before, change.tokens_after
    return [
        change.benchmark,
        change.problem,
        [change.hits_before, change.tries_before],
        [change.hits_after, change.tries_after],
        defined(share_change(change)),
        defined(before),
        defined(after),
        defined(after / before) if before > 0 else None,
    ]


def _changed(change: ProblemChange) -> list[str]:
    moved = share_change(change)
    groups = {"lost": change.lost, "won": change.won, "worse": moved < 0, "better": moved > 0}
    return [name for name, inside in groups.items() if inside]


def _solved(problem: ProblemCount) -> list[str]:
    groups = {
        "every": 0 < problem.tries == problem.hits,
        "some": 0 < problem.hits < problem.tries,
        "none": problem.hits == 0 < problem.tries,
        "cut": problem.truncated > 0,
    }
    return [name for name, inside in groups.items() if inside]


def _column(label: str, kind: str) -> dict[str, str]:
    return {"label": label, "kind": kind}


def _mean_tokens(table: SampleTable, among_PS: Bool[np.ndarray, "P S"]) -> Float[np.ndarray, " P"]:
    count_P = among_PS.sum(axis=1)
    total_P = np.where(among_PS, table.tokens_PS, 0).sum(axis=1)
    return np.where(count_P > 0, total_P / np.maximum(count_P, 1), np.nan)
