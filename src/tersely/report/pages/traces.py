"""Sampled traces by problem, for the pages' reader."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from tersely.core.order import natural_pair
from tersely.core.types import EvalRecord, Finish, Grade, Problem
from tersely.readers.questions import Key

TRACES_SHOWN = 90
# All traces of a page together; beyond it later samples of each problem are left out first.
CHARACTERS_SHOWN = 12_000_000

PageTrace = dict[str, Any]


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
    budgets: Sequence[int],
    shown: int = TRACES_SHOWN,
) -> list[PageTrace]:
    """Problems whose traces were kept in both evaluations, at most ``shown``, in problem order.

    When there are more, an equal share of fixed, broken and unchanged ones is taken as far as
    they go. A trace counts as right when it is correct and finished.
    """
    kept = {(r.benchmark, r.problem, r.sample): r for r in after if r.pieces is not None}
    pairs: dict[Change, list[PageTrace]] = {change: [] for change in Change}
    for record in sorted(before, key=_place):
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
                "group": change.value,
                "sides": [[describe(each, budgets=budgets)] for each in (record, other)],
            }
        )
    quotas = _share_out({change: len(each) for change, each in pairs.items()}, shown=shown)
    chosen = [trace for change, each in pairs.items() for trace in each[: quotas[change]]]
    return sorted(chosen, key=lambda trace: natural_pair((trace["benchmark"], trace["problem"])))


def group_traces(
    *sides: Sequence[EvalRecord], budgets: Sequence[int], characters: int = CHARACTERS_SHOWN
) -> dict[Key, PageTrace]:
    """The samples that hold a text, by problem and side, all in order of their index.

    Where all texts are longer than ``characters`` together, every problem keeps its first
    samples as far as that goes.
    """
    ranked = []
    for side, records in enumerate(sides):
        seen: dict[Key, int] = {}
        for record in sorted(records, key=_place):
            key = (record.benchmark, record.problem)
            if record.pieces is not None or record.text is not None:
                seen[key] = seen.get(key, 0) + 1
                ranked.append((seen[key], key, side, record))
    traces: dict[Key, PageTrace] = {}
    spent = 0
    for _, key, side, record in sorted(ranked, key=lambda r: (r[0], natural_pair(r[1]), r[2])):
        described = describe(record, budgets=budgets)
        spent += sum(map(len, described["parts"]))
        if spent > characters:
            break
        trace = traces.setdefault(key, _empty(key, sides=len(sides)))
        trace["prompt"] = record.prompt if trace["prompt"] is None else trace["prompt"]
        trace["sides"][side].append(described)
    return dict(sorted(traces.items(), key=lambda item: natural_pair(item[0])))


def describe(record: EvalRecord, *, budgets: Sequence[int]) -> PageTrace:
    """One sample; ``parts`` is its text, split where a budget was spent before its end."""
    pieces = _space(record)
    cuts = [budget for budget in sorted(budgets) if budget < len(pieces)]
    ends = [*cuts, len(pieces)]
    parts = ["".join(pieces[start:end]) for start, end in zip([0, *cuts], ends, strict=True)]
    return {
        "sample": record.sample,
        "grade": record.grade.value,
        "tokens": record.tokens,
        "finish": record.finish.value,
        "extracted": record.extracted,
        "parts": parts if record.pieces is not None else [record.text or ""],
    }


def _empty(key: Key, *, sides: int) -> PageTrace:
    return {
        "benchmark": key[0],
        "problem": key[1],
        "prompt": None,
        "answer": None,
        "group": "",
        "sides": [[] for _ in range(sides)],
    }


def _space(record: EvalRecord) -> tuple[str, ...]:
    """Pieces with the spaces that their text has between them."""
    pieces = record.pieces or ()
    spaced = record.text is not None and " " in record.text
    if spaced and not any(" " in piece for piece in pieces):
        return tuple(f"{piece} " for piece in pieces)
    return pieces


def _share_out(available: Mapping[Change, int], *, shown: int) -> dict[Change, int]:
    quotas = dict.fromkeys(available, 0)
    left = shown
    by_scarcity = sorted(available, key=lambda change: available[change])
    for rank, change in enumerate(by_scarcity):
        quotas[change] = min(available[change], left // (len(by_scarcity) - rank))
        left -= quotas[change]
    return quotas


def _place(record: EvalRecord) -> tuple[object, int]:
    return natural_pair((record.benchmark, record.problem)), record.sample


def _compare(before: EvalRecord, after: EvalRecord) -> Change:
    if _is_right(before) == _is_right(after):
        return Change.SAME
    return Change.FIXED if _is_right(after) else Change.BROKEN


def _is_right(record: EvalRecord) -> bool:
    return record.grade is Grade.CORRECT and record.finish is Finish.STOP
