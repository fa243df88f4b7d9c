"""A sweep as a page, and in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from tersely.core.storage import write_atomically
from tersely.flows.evaluate.swept import MeasuredSweep
from tersely.metrics.numbers import count
from tersely.report.charts.sweep import draw_levels
from tersely.report.pages.html import Figure, Reader, Tile, render_page
from tersely.report.tables.conclusions import warn_of_failures
from tersely.report.tables.matrices import Matrix
from tersely.report.tables.sweep import (
    summarise_sweep,
    tabulate_level_pairs,
    tabulate_levels,
    tell_failed_levels,
    tell_levels,
    tell_sends,
)
from tersely.report.tables.terminal import (
    FittedTable,
    draw_alarm,
    draw_finding,
    draw_notes,
    draw_text,
    draw_title,
)
from tersely.report.tables.words import define

FAILED = "Levels without samples"


class SweepPage(NamedTuple):
    """Everything the page shows."""

    title: str
    summary: str
    alarms: Sequence[Sequence[str]]
    tiles: Sequence[Tile]
    findings: Sequence[str]
    notes: Sequence[str]
    sends: Sequence[str]
    figure: Figure
    levels: Matrix
    pairs: Matrix
    facts: Mapping[str, Mapping[str, Any]]
    glossary: Mapping[str, str]


def write_sweep_page(sweep: MeasuredSweep, *, out: Path) -> Path:
    """Writes the page to the file ``out``, making its folder, and returns its path."""
    reader = Reader(sides=(), budgets=(), traces=(), filters=(), note="")
    text = render_page("sweep.html.j2", build_page(sweep), reader=reader, grid=None)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    return out


def build_page(sweep: MeasuredSweep) -> SweepPage:
    """The sweep, arranged as a page."""
    return SweepPage(
        title=_title(sweep),
        summary=" ".join(summarise_sweep(sweep)),
        alarms=_alarms(sweep),
        tiles=(),
        findings=tell_levels(sweep),
        notes=sweep.notes,
        sends=tell_sends(sweep),
        figure=draw_figure(sweep),
        levels=tabulate_levels(sweep),
        pairs=tabulate_level_pairs(sweep),
        facts={side.name: side.facts for side in sweep.sides},
        glossary=define(["accuracy", "mean tokens", "truncated share"]),
    )


def draw_sweep(sweep: MeasuredSweep) -> RenderableType:
    """Verdicts, then the table of levels and the table of pairs."""
    alarms = [part for alarm in _alarms(sweep) for part in (draw_alarm(alarm), Text())]
    levels, pairs = tabulate_levels(sweep), tabulate_level_pairs(sweep)
    return Group(
        draw_title(_title(sweep)),
        *alarms,
        *map(draw_text, summarise_sweep(sweep)),
        *map(draw_finding, tell_levels(sweep)),
        Text(),
        FittedTable(levels),
        draw_text(levels.caption, "dim"),
        Text(),
        draw_title("Every pair of levels"),
        FittedTable(pairs),
        draw_text(pairs.caption, "dim"),
        *draw_notes(sweep.notes),
    )


def draw_figure(sweep: MeasuredSweep) -> Figure:
    """Accuracy over realised tokens."""
    return Figure(
        "levels",
        "Accuracy over the tokens that samples took",
        "One dot a level, joined in their order. Up and to the left is better. Lines: 95% "
        "intervals over problems. Protocol finished, at the cap.",
        draw_levels(sweep),
    )


def _title(sweep: MeasuredSweep) -> str:
    return f"{sweep.name}: {count(len(sweep.record.levels), 'level')} ({sweep.kind})"


def _alarms(sweep: MeasuredSweep) -> list[Sequence[str]]:
    failed = tell_failed_levels(sweep)
    of_samples = (
        warn_of_failures(side.failed, level=side.name, command="sweep") for side in sweep.sides
    )
    return [*([(FAILED, *failed)] if failed else []), *filter(None, of_samples)]
