"""Tables of two evaluations side by side."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tersely.metrics.changes import ProblemChange
from tersely.metrics.comparison import Comparison
from tersely.metrics.numbers import (
    Cell,
    fixed,
    format_p,
    format_ratio,
    format_score,
    shorten,
)
from tersely.report.tables.comparison import (
    BOLD,
    MeasureRow,
    SideNames,
    TableBlock,
    format_measure,
    format_rows,
    most_tries,
    name_mean,
    write_basis,
    write_caption,
)
from tersely.report.tables.matrices import Matrix, MatrixRow
from tersely.report.tables.words import label, name_counted

NAME_WIDTH = 28


class RepeatRow(NamedTuple):
    """One budget: Mean@k and Pass@k beside each other."""

    budget: str
    sides: tuple[MeasureRow, MeasureRow]


class RepeatTable(NamedTuple):
    """Mean@k and Pass@k at every budget."""

    title: str
    measures: tuple[str, str]
    rows: Sequence[RepeatRow]
    caption: str


def name_sides(before: str, after: str, *, width: int = NAME_WIDTH) -> SideNames:
    """Column heads of two evaluations, short and never the same: what differs is kept."""
    if max(len(before), len(after)) <= width:
        names = before, after
    else:
        start, ends = _differing(before, after)
        start = _reach_back(before[:start], room=width - 1 - (max(ends) - start))
        names = (
            _show_part(before, start, ends[0], width=width),
            _show_part(after, start, ends[1], width=width),
        )
    return names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")


def _differing(before: str, after: str) -> tuple[int, tuple[int, int]]:
    """Where two names begin to differ, from the word before on, and where each ends to."""
    parts = [re.findall(r"[^\W_]+|[\W_]+", name) for name in (before, after)]
    same = agree(*parts)
    rest = [part[same:][::-1] for part in parts]
    tail = len("".join(rest[0][: agree(*rest)]))
    head = parts[0][:same]
    if any(len(part) == same for part in parts):
        head = head[
            : -1 if head and head[-1].isalnum() else -2
        ]  # one name begins with the other: its last word stands for it
    return len("".join(head)), (len(before) - tail, len(after) - tail)


def _reach_back(head: str, *, room: int) -> int:
    """Where to begin, so that of what both share before they differ whole words are kept."""
    if len(head) < room + 1:
        return 0
    starts = [word.start() for word in re.finditer(r"[^\W_]+", head)]
    return next((at for at in starts if len(head) - at < room), len(head))


def agree(left: Sequence[str], right: Sequence[str]) -> int:
    """How many entries agree from the start on."""
    unlike = (at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
    return next(unlike, min(len(left), len(right)))


def _show_part(name: str, start: int, end: int, *, width: int) -> str:
    """``name`` from ``start`` on, at most ``width`` characters, with ``end`` in sight."""
    shown = f"…{name[start:]}" if start else name
    if len(shown) <= width:
        return shown
    differing = end - start + (start > 0)
    if differing < width:
        return f"{shown[: width - 1]}…"
    return shorten(shown[:differing], width=width)


def tabulate_sides(
    comparison: Comparison, *, names: SideNames
) -> tuple[TableBlock, TableBlock, TableBlock]:
    """Accuracy by budget; lengths, shares and scores; everything."""
    named = f"(protocol {comparison.protocol.value})"
    full = write_caption(comparison, heads=names) + BOLD
    short = write_basis(comparison) + BOLD
    accuracy = [m for m in comparison.measures if m.name == "accuracy"]
    scores = [m for m in comparison.measures if m.budget_tokens is None]
    return (
        TableBlock(
            f"accuracy {named}", format_rows(accuracy, of=comparison.budget_of), full, names
        ),
        TableBlock(f"lengths and scores {named}", format_rows(scores), short, names),
        TableBlock(
            f"all measures {named}",
            format_rows(comparison.measures, of=comparison.budget_of),
            full,
            names,
        ),
    )


def tabulate_repeats(comparison: Comparison) -> RepeatTable:
    """Pass@k beside Mean@k at every budget."""
    measures = name_mean(comparison), f"pass@{most_tries(comparison)}"
    shown = label(measures[0]), label(measures[1])
    return RepeatTable(
        title=f"{shown[1]} beside {shown[0]} (protocol {comparison.protocol.value})",
        measures=shown,
        rows=[
            RepeatRow(
                f"{budget:,}",
                (
                    format_measure(comparison.find(measures[0], budget)),
                    format_measure(comparison.find(measures[1], budget)),
                ),
            )
            for budget in comparison.budgets
        ],
        caption=write_basis(comparison) + BOLD,
    )


def tabulate_ratios(comparison: Comparison) -> Matrix:
    """The figures that are of both evaluations at once."""
    ratio, ratio_p = comparison.token_ratio, comparison.token_ratio_p
    aes, aes_p = comparison.aes, comparison.aes_p
    return Matrix(
        title=f"both at once (protocol {comparison.protocol.value})",
        heads=["value", "p"],
        rows=[
            MatrixRow("Token ratio", [format_ratio(ratio, p=ratio_p), _p(ratio_p)]),
            MatrixRow("AES (weights 1, 3, 5)", [format_score(aes, p=aes_p), _p(aes_p)]),
        ],
        caption="Token ratio: after over before, each problem weighing the same; p is of its "
        f"being 1, and of AES being 0. {write_basis(comparison)}{BOLD}",
    )


def tabulate_sources(comparison: Comparison) -> Matrix:
    """What changed in each source of problems, one row a source, and in all of them."""
    tries = most_tries(comparison)
    keys = [("accuracy", b) for b in comparison.budgets]
    if tries > 1:
        keys.append((f"pass@{tries}", comparison.budgets[-1]))
    rows = []
    for part in (*comparison.sources, comparison._replace(title="all")):
        changes = [format_measure(part.find(*key)).difference for key in keys]
        cells = [Cell(f"{part.n_problems:,}", ""), *changes, _ratio(part)]
        rows.append(MatrixRow(part.title, cells, first=part.title == "all"))
    return Matrix(
        title=f"by source (protocol {comparison.protocol.value})",
        heads=[
            "problems",
            *(f"{label(name)} within {budget:,}" for name, budget in keys),
            "token ratio",
        ],
        rows=rows,
        caption="After less before, and mean tokens after over before: what carries over from the "
        f"problems that were trained on. {write_basis(comparison)}{BOLD}",
    )


def tabulate_changed(
    changes: Sequence[ProblemChange],
    comparison: Comparison,
    *,
    names: SideNames,
    title: str,
    shown: int,
) -> Matrix:
    """Problems with hits and mean tokens of both sides, the first ``shown`` of them."""
    several = len({c.benchmark for c in changes}) > 1
    more = f" The first {shown:,} are shown." if len(changes) > shown else ""
    return Matrix(
        title=f"{title}: {len(changes):,} of {comparison.n_problems:,} problems",
        heads=["right", "mean tokens"],
        rows=[
            MatrixRow(
                f"{c.benchmark} / {c.problem}" if several else c.problem,
                [
                    Cell(f"{c.hits_before}/{c.tries_before} → {c.hits_after}/{c.tries_after}", ""),
                    Cell(
                        f"{fixed(c.tokens_before, digits=0)} → {fixed(c.tokens_after, digits=0)}",
                        "",
                    ),
                ],
            )
            for c in changes[:shown]
        ],
        caption=f"{names[0]} → {names[1]}; right within {comparison.budgets[-1]:,} "
        f"{name_counted(comparison.budget_of)}, "
        f"protocol {comparison.protocol.value}.{more}",
    )


def _ratio(comparison: Comparison) -> Cell:
    return format_ratio(comparison.token_ratio, p=comparison.token_ratio_p)


def _p(value: float) -> Cell:
    return Cell(format_p(value), "")
