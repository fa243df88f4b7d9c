"""Tables of two evaluations side by side."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from tersely.metrics.comparison import Comparison, ProblemChange
from tersely.report.cells import UNDEFINED, Cell, format_ratio, format_score, shorten
from tersely.report.matrices import Matrix, MatrixRow
from tersely.report.tables import (
    BOLD,
    TableBlock,
    TableRow,
    format_measure,
    format_rows,
    most_tries,
    name_mean,
    write_basis,
    write_caption,
)
from tersely.report.words import label

NAME_WIDTH = 28
Names = tuple[str, str]


class RepeatRow(NamedTuple):
    """One budget: Mean@k and Pass@k beside each other."""

    budget: str
    sides: tuple[TableRow, TableRow]


class RepeatTable(NamedTuple):
    """Mean@k and Pass@k at every budget."""

    title: str
    measures: tuple[str, str]
    rows: Sequence[RepeatRow]
    caption: str


def name_sides(before: str, after: str, *, width: int = NAME_WIDTH) -> Names:
    """Column heads of two evaluations, short and never the same."""
    names = shorten(before, width=width), shorten(after, width=width)
    return names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")


def tabulate_sides(
    comparison: Comparison, *, names: Names
) -> tuple[TableBlock, TableBlock, TableBlock]:
    """Accuracy by budget; lengths, shares and scores; everything."""
    named = f"(protocol {comparison.protocol.value})"
    full = write_caption(comparison, heads=names) + BOLD
    short = write_basis(comparison) + BOLD
    accuracy = [m for m in comparison.measures if m.name == "accuracy"]
    scores = [m for m in comparison.measures if m.budget_tokens is None]
    return (
        TableBlock(f"accuracy {named}", format_rows(accuracy), full, names),
        TableBlock(f"lengths and scores {named}", format_rows(scores), short, names),
        TableBlock(f"all measures {named}", format_rows(comparison.measures), full, names),
    )


def tabulate_repeats(comparison: Comparison, *, names: Names) -> RepeatTable:
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
    return Matrix(
        title=f"both at once (protocol {comparison.protocol.value})",
        heads=["value"],
        rows=[
            MatrixRow("Token ratio", [format_ratio(comparison.token_ratio)]),
            MatrixRow("AES (weights 1, 3, 5)", [format_score(comparison.aes)]),
        ],
        caption="Token ratio: after over before, each problem weighing the same; bold where the "
        f"interval excludes 1. AES: bold where it excludes 0. {write_basis(comparison)}",
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
        cells = [Cell(f"{part.n_problems:,}", ""), *changes, format_ratio(part.token_ratio)]
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
    names: Names,
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
                    Cell(f"{_tokens(c.tokens_before)} → {_tokens(c.tokens_after)}", ""),
                ],
            )
            for c in changes[:shown]
        ],
        caption=f"{names[0]} → {names[1]}; right within {comparison.budgets[-1]:,} tokens, "
        f"protocol {comparison.protocol.value}.{more}",
    )


def _tokens(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else UNDEFINED
