"""Sampled traces of the same problem before and after, for the page's reader."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from tersely.core.types import EvalRecord, Finish, Grade, Problem

TRACES_SHOWN = 90


class Change(StrEnum):
    """What training did to one sampled trace of a problem."""

    FIXED = "fixed"
    BROKEN = "broken"
    SAME = "same"


def pair_traces(
    before: Sequence[EvalRecord],
    after: Sequence[EvalRecord],
    *,
    problems: Mapping[str, Problem],
    shown: int = TRACES_SHOWN,
) -> list[dict[str, Any]]:
    """Problems whose traces were kept in both evaluations, at most ``shown``, in problem order.

    When there are more, an equal share of fixed, broken and unchanged ones is taken as far as
    they go. A trace counts as right when it is correct and finished.
    """
    kept = {(r.benchmark, r.problem, r.sample): r for r in after if r.pieces is not None}
    pairs: dict[Change, list[dict[str, Any]]] = {change: [] for change in Change}
    for record in sorted(before, key=lambda r: (r.benchmark, r.problem, r.sample)):
        other = kept.get((record.benchmark, record.problem, record.sample))
        if record.pieces is None or other is None:
            continue
        change = _compare(record, other)
        known = problems.get(record.problem)
        pairs[change].append(
            {
                "benchmark": record.benchmark,
                "problem": record.problem,
                "prompt": record.prompt if known is None else known.prompt,
                "answer": None if known is None else known.answer,
                "change": change.value,
                "before": _describe(record),
                "after": _describe(other),
            }
        )
    quotas = _share_out({change: len(each) for change, each in pairs.items()}, shown=shown)
    chosen = [trace for change, each in pairs.items() for trace in each[: quotas[change]]]
    return sorted(chosen, key=lambda trace: (trace["benchmark"], trace["problem"]))


def _share_out(available: Mapping[Change, int], *, shown: int) -> dict[Change, int]:
    quotas = dict.fromkeys(available, 0)
    left = shown
    by_scarcity = sorted(available, key=lambda change: available[change])
    for rank, change in enumerate(by_scarcity):
        quotas[change] = min(available[change], left // (len(by_scarcity) - rank))
        left -= quotas[change]
    return quotas


def _compare(before: EvalRecord, after: EvalRecord) -> Change:
    if _is_right(before) == _is_right(after):
        return Change.SAME
    return Change.FIXED if _is_right(after) else Change.BROKEN


def _is_right(record: EvalRecord) -> bool:
    return record.grade is Grade.CORRECT and record.finish is Finish.STOP


def _describe(record: EvalRecord) -> dict[str, Any]:
    pieces = record.pieces or ()
    spaced = record.text is not None and " " in record.text
    if spaced and not any(" " in piece for piece in pieces):
        pieces = tuple(f"{piece} " for piece in pieces)
    return {
        "pieces": list(pieces),
        "grade": record.grade.value,
        "tokens": record.tokens,
        "finish": record.finish.value,
    }
