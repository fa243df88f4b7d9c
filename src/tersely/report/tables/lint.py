"""What ``tersely lint`` found, in the terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tersely.flows.lint.facts import LintFacts
from tersely.flows.lint.figures import PartLength
from tersely.flows.lint.forecast import CurveRow, Finding, FindingSeverity, LengthCell
from tersely.flows.lint.suggest import Suggestion
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import (
    UNDEFINED,
    Cell,
    bracket,
    fixed,
    format_level,
    percent,
    plain,
    signed,
)
from tersely.report.tables.matrices import Matrix, MatrixRow, tell_unknown_parts
from tersely.report.tables.terminal import (
    FittedTable,
    draw_finding,
    draw_notes,
    draw_text,
    draw_title,
)

MARKS = {
    FindingSeverity.ERROR: ("✗", "bold red"),
    FindingSeverity.WARNING: ("!", "bold yellow"),
    FindingSeverity.INFO: ("•", "bold"),
}


def draw_lint(
    title: str,
    findings: Sequence[Finding],
    *,
    cells: Sequence[LengthCell],
    curve: Sequence[CurveRow],
    target_tokens: float,
    parts: Sequence[PartLength],
    notes: Sequence[str],
) -> RenderableType:
    """Findings, the worst first, then what the loss does to each kind of rollout and by target,
    and the records' lengths in parts."""
    drawn: list[RenderableType] = [draw_title(title), Text()]
    drawn += [draw_linted(finding) for finding in findings]
    drawn += [Text(), FittedTable(tabulate_cells(cells))]
    if len(curve) > 1:
        drawn += [Text(), FittedTable(tabulate_targets(curve, chosen=target_tokens))]
    drawn += [
        Text(),
        FittedTable(tabulate_parts(parts)),
        Text(),
        Text(
            "Push: what the loss makes of an advantage, 0 where masked. Drift: push times (length "
            "- the group's mean length), in standard deviations of length within groups; below 0 "
            "is shorter. Brackets: 95% intervals over problems.",
            style="dim",
        ),
        *draw_notes([*tell_unknown_parts({p.part: p.unknown for p in parts}), *notes]),
    ]
    return Group(*drawn)


def draw_linted(finding: Finding) -> Table:
    """Mark and title, then evidence, reason and what to change; of good news the first two."""
    mark, style = MARKS[finding.severity]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style=style), draw_text(finding.title, style))
    grid.add_row(Text(), draw_text(finding.evidence))
    if finding.reason and finding.severity is not FindingSeverity.INFO:
        grid.add_row(Text(), draw_text(finding.reason, "dim"))
    if finding.setting:
        grid.add_row(Text("→", style=style), draw_text(finding.setting))
    return grid


def tabulate_cells(cells: Sequence[LengthCell]) -> Matrix:
    """One row a kind of rollout: right or wrong, short or long."""
    rows = [
        MatrixRow(
            f"{'right' if cell.right else 'wrong'}, {'short' if cell.short else 'long'}",
            [
                Cell(f"{cell.n:,}", ""),
                _percent(cell.share),
                _percent(cell.kept),
                _signed(cell.push),
                _signed(cell.drift),
            ],
        )
        for cell in cells
    ]
    return Matrix("what the loss sees", ["rollouts", "share", "kept", "push", "drift"], rows, "")


def tabulate_targets(curve: Sequence[CurveRow], *, chosen: float) -> Matrix:
    """One row a target length, all of one cap; the chosen one is marked."""
    judged = any(math.isfinite(row.positive.value) for row in curve)
    # Truncation pays just what is right within the target.
    apart = not judged or any(row.positive.value != row.right_within.value for row in curve)
    heads = ["right within"] if apart else []
    heads += ["positive", "zero-signal", "right pushed down", "drift"] if judged else []
    rows = []
    for row in curve:
        shown = [_percent(*row.right_within)] if apart else []
        if judged:
            shares = (row.positive, row.silent, row.right_pushed_down)
            shown += [*(_percent(*each) for each in shares), _signed(*row.drift)]
        mark = " ←" if row.target_tokens == chosen else ""
        rows.append(MatrixRow(f"{row.target_tokens:,}{mark}", shown))
    return Matrix("if L_T were", heads, rows, "")


def tabulate_parts(parts: Sequence[PartLength]) -> Matrix:
    """One row a part of the records' lengths; a dash where not every sample tells it."""
    rows = [
        MatrixRow(
            each.part,
            [
                format_level(each.mean, Unit.TOKENS),
                Cell(UNDEFINED if each.unknown else f"{each.mean.n_samples:,}", ""),
            ],
        )
        for each in parts
    ]
    return Matrix("the records' lengths", ["mean tokens", "samples"], rows, "")


def draw_suggestion(
    reasons: Sequence[str],
    *,
    at_target: Sequence[CurveRow],
    at_cap: Sequence[CurveRow],
    chosen: CurveRow | None,
    silent_at: Mapping[int, float],
    changes: Sequence[tuple[str, str, str]],
) -> RenderableType:
    """Why each setting, the targets that were weighed, N, and figures now and then.

    Args:
        at_target: each target sampled up to itself.
        at_cap: the same ones, sampled up to the recipe's cap.
        chosen: the row that was taken.
        changes: name of a figure, its value now, and as suggested.
    """
    parts: list[RenderableType] = [Text(), draw_title("suggested")]
    parts += [draw_finding(reason) for reason in reasons]
    if at_target:
        parts += [Text(), FittedTable(tabulate_trade(at_target, at_cap, chosen=chosen))]
    if silent_at:
        sizes = MatrixRow("zero-signal groups", [_percent(share) for share in silent_at.values()])
        parts += [Text(), FittedTable(Matrix("N", [str(n) for n in silent_at], [sizes], ""))]
    table = [MatrixRow(name, [Cell(now, ""), Cell(then, "")]) for name, now, then in changes]
    parts += [Text(), FittedTable(Matrix("step 1", ["now", "suggested"], table, ""))]
    return Group(*parts)


def tabulate_trade(
    at_target: Sequence[CurveRow], at_cap: Sequence[CurveRow], *, chosen: CurveRow | None
) -> Matrix:
    """What each target gives, sampled up to itself (=) and up to the cap."""
    cap = f"{at_cap[0].cap_tokens:,}"
    heads = ["positive", "zero-signal", "drift", f"… L_R = {cap}", "drift", "right pushed down"]
    rows = []
    for tight, wide in zip(at_target, at_cap, strict=True):
        mark = " ←" if chosen is not None and tight.target_tokens == chosen.target_tokens else ""
        shown = [_percent(tight.positive.value), _percent(tight.silent.value)]
        shown += [_signed(tight.drift.value), _percent(wide.silent.value)]
        shown += [_signed(wide.drift.value), _percent(wide.right_pushed_down.value)]
        rows.append(MatrixRow(f"{tight.target_tokens:,}{mark}", shown))
    return Matrix("L_T = L_R", heads, rows, "")


def _percent(value: float, low: float = math.nan, high: float = math.nan) -> Cell:
    ends = fixed(100 * low), fixed(100 * high)
    return Cell(percent(value), bracket(*ends) if math.isfinite(value + low) else "")


def _signed(value: float, low: float = math.nan, high: float = math.nan) -> Cell:
    ends = signed(low), signed(high)
    return Cell(signed(value), bracket(*ends) if math.isfinite(value + low) else "")


def export_lint(
    facts: LintFacts, findings: Sequence[Finding], suggestion: Suggestion | None
) -> dict[str, Any]:
    """Findings, figures with their intervals, and the suggestion where there is one, for
    machines."""
    made: dict[str, Any] = {
        "records": facts.pool.name,
        "problems": len(facts.pool.problems),
        "rollouts": len(facts.pushed.push_N),
        "notes": facts.pool.notes,
        "findings": findings,
        "figures": _figures(facts),
    }
    if suggestion is not None:
        made["suggestion"] = {
            "recipe": suggestion.recipe.model_dump(exclude_none=True, mode="json"),
            "reasons": suggestion.reasons,
            "targets_at_own_cap": suggestion.at_target,
            "targets_at_recipe_cap": suggestion.at_cap,
            "silent_at": suggestion.silent_at,
            "figures": _figures(suggestion.facts),
        }
    exported: dict[str, Any] = plain(made)
    return exported


def _figures(facts: LintFacts) -> dict[str, Any]:
    return {
        "target_tokens": facts.target_tokens,
        "group_sizes": facts.group_sizes,
        "shares": facts.shares,
        "correlations": facts.correlations,
        "drift": facts.drift,
        "cells": facts.cells,
        "sources": facts.sources,
        "targets": facts.curve,
        "silent_at": facts.silent_at,
        "silent_estimated_by": facts.kinds,
        "cost": facts.cost,
        "unknown_share": facts.unknown_share,
        "parts": facts.parts,
    }
