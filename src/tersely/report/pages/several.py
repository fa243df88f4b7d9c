"""Three and more evaluations as a page, and in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from tersely.core.storage import write_atomically
from tersely.flows.evaluate.several import AgainstFirst, ComparedSeveral
from tersely.report.charts.figures import draw_budget_curve
from tersely.report.charts.pareto import MOST_PANELS, draw_fronts
from tersely.report.pages.html import Figure, Reader, Tile, render_page
from tersely.report.tables.comparison import SideNames, TableBlock
from tersely.report.tables.conclusions import list_findings, warn_of_lost_problems, warn_of_windows
from tersely.report.tables.matrices import Matrix
from tersely.report.tables.pairs import name_sides, tabulate_ratios, tabulate_sides
from tersely.report.tables.several import (
    caption_front,
    name_all,
    name_spent,
    tabulate_against,
    tabulate_front,
)
from tersely.report.tables.terminal import (
    FittedTable,
    draw_alarm,
    draw_finding,
    draw_notes,
    draw_sides,
    draw_text,
    draw_title,
)
from tersely.report.tables.words import define

PAGE_NAME, TERMINAL_NAME = 28, 18


class PagePair(NamedTuple):
    """One evaluation against the first on the page."""

    name: str
    title: str
    alarms: Sequence[Sequence[str]]
    findings: Sequence[str]
    accuracy: TableBlock
    scores: TableBlock
    ratios: Matrix
    figure: Figure


class SeveralPage(NamedTuple):
    """Everything the page shows."""

    title: str
    summary: str
    alarm: Sequence[str]
    tiles: Sequence[Tile]
    notes: Sequence[str]
    fronts: Sequence[Matrix]
    caption: str
    figure: Figure
    against: Matrix
    pairs: Sequence[PagePair]
    facts: Mapping[str, Mapping[str, Any]]
    glossary: Mapping[str, str]


def write_several(several: ComparedSeveral, *, out: Path) -> Path:
    """Writes the page to the file ``out``, making its folder, and returns its path."""
    reader = Reader(sides=(), budgets=(), traces=(), filters=(), note="")
    text = render_page("several.html.j2", build_page(several), reader=reader, grid=None)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    return out


def build_page(several: ComparedSeveral) -> SeveralPage:
    """The evaluations, arranged as a page."""
    names = name_all(several.names, width=PAGE_NAME)
    first, *_ = (each.compared for each in several.against)
    others = ", ".join(several.names[1:])
    sides = [first.before, *(each.compared.after for each in several.against)]
    return SeveralPage(
        title=f"{several.names[0]} against {others}",
        summary=f"Reference: {several.names[0]}. {caption_front(several)} Problem by problem and "
        "with traces: compare two of them at a time.",
        alarm=(),
        tiles=(),
        notes=gather_notes(several),
        fronts=[tabulate_front(several, front, names=names) for front in several.fronts.fronts],
        caption=caption_front(several),
        figure=draw_figure(several),
        against=tabulate_against(several, names=names),
        pairs=[_build_pair(each, at) for at, each in enumerate(several.against, start=1)],
        facts={name: side.facts for name, side in zip(names, sides, strict=True)},
        glossary=define([*(m.name for m in first.comparison.measures), "AES", "token ratio"]),
    )


def draw_several(several: ComparedSeveral) -> RenderableType:
    """Each against the first, then the Pareto front at each budget."""
    names = name_all(several.names, width=TERMINAL_NAME)
    parts: list[RenderableType] = []
    for each in several.against:
        parts += [*_draw_pair(each), Text()]
    against = tabulate_against(several, names=names)
    parts += [
        draw_title(f"Each against {names[0]}"),
        FittedTable(against._replace(title="evaluation")),
        draw_text(against.caption, "dim"),
        Text(),
        draw_title(f"Pareto front: accuracy against {name_spent(several)}"),
    ]
    for front in several.fronts.fronts:
        table = tabulate_front(several, front, names=names)
        parts += [draw_text(table.title), FittedTable(table._replace(title="evaluation")), Text()]
    return Group(
        *parts, draw_text(caption_front(several), "dim"), *draw_notes(gather_notes(several))
    )


def draw_figure(several: ComparedSeveral) -> Figure:
    """Accuracy against tokens."""
    names = name_all(several.names, width=PAGE_NAME)
    skipped = "" if len(several.fronts.fronts) <= MOST_PANELS else " Not all budgets are drawn."
    return Figure(
        "pareto",
        f"Accuracy against {name_spent(several)} (protocol {several.fronts.protocol.value})",
        "Up and to the left is better. Lines: 95% intervals; dashed: the front by the estimates, "
        f"whose dots are ringed.{skipped}",
        draw_fronts(several.fronts, names=names),
    )


def draw_figures(several: ComparedSeveral) -> list[Figure]:
    """The front, and accuracy over budgets of each pair."""
    pairs = [_draw_curve(each, at) for at, each in enumerate(several.against, start=1)]
    return [draw_figure(several), *pairs]


def gather_notes(several: ComparedSeveral) -> list[str]:
    """The notes of all, each once."""
    of_pairs = (note for each in several.against for note in each.compared.comparison.notes)
    return list(dict.fromkeys([*several.notes, *of_pairs]))


def _name_pair(each: AgainstFirst, *, width: int) -> SideNames:
    return name_sides(each.compared.before.name, each.compared.after.name, width=width)


def _warn(each: AgainstFirst, names: SideNames) -> list[Sequence[str]]:
    compared = each.compared
    windows = list(zip(names, compared.comparison.windows, strict=True))
    alarms = warn_of_lost_problems(compared.comparison, compared.changes), warn_of_windows(windows)
    return [alarm for alarm in alarms if alarm]


def _draw_pair(each: AgainstFirst) -> list[RenderableType]:
    names = _name_pair(each, width=TERMINAL_NAME - 2)
    comparison = each.compared.comparison
    accuracy, scores, _ = tabulate_sides(comparison, names=names)
    rows = [
        row._replace(label=f"{budget:,}")
        for row, budget in zip(accuracy.rows, comparison.budgets, strict=True)
    ]
    return [
        draw_title(f"{each.compared.before.name} → {each.compared.after.name}"),
        *(draw_alarm(alarm) for alarm in _warn(each, names)),
        *(
            draw_finding(line)
            for line in list_findings(comparison, each.compared.changes, names=names)
        ),
        Text(),
        draw_sides(accuracy._replace(rows=rows), first="within tokens"),
        Text(),
        draw_sides(scores, first="measure"),
    ]


def _build_pair(each: AgainstFirst, at: int) -> PagePair:
    names = _name_pair(each, width=PAGE_NAME)
    comparison = each.compared.comparison
    accuracy, scores, _ = tabulate_sides(comparison, names=names)
    return PagePair(
        name=f"pair-{at}",
        title=f"{each.compared.before.name} → {each.compared.after.name}",
        alarms=_warn(each, names),
        findings=list_findings(comparison, each.compared.changes, names=names),
        accuracy=accuracy,
        scores=scores,
        ratios=tabulate_ratios(comparison),
        figure=_draw_curve(each, at),
    )


def _draw_curve(each: AgainstFirst, at: int) -> Figure:
    names = _name_pair(each, width=PAGE_NAME)
    return Figure(
        f"budgets-{at}",
        f"Accuracy at token budgets: {names[0]} → {names[1]}",
        "Bands: 95% intervals.",
        draw_budget_curve(each.compared.comparison, names=names),
    )
