"""A study's files: one page that loads nothing, Markdown, JSON and pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tersely.core.storage import write_atomically
from tersely.flows.study.outcomes import Confusion, StudyOutcome, TracedProblem
from tersely.metrics.numbers import Cell
from tersely.metrics.verdicts import ClaimVerdict
from tersely.report.charts.study import draw_figures
from tersely.report.pages.exports import write_pngs
from tersely.report.pages.html import Figure, Reader, Tile, render_page
from tersely.report.tables.matrices import Matrix, MatrixRow
from tersely.report.tables.study import (
    CAPTION,
    describe_verdict,
    export_json,
    format_effect,
    format_markdown,
    tabulate_arms,
)

PAGE, MARKDOWN, JSON = "report.html", "report.md", "report.json"


class PageSection(NamedTuple):
    """One study on the page."""

    name: str
    title: str
    summary: str
    claims: Matrix
    papers: Sequence[str]
    arms: Matrix
    figures: Sequence[Figure]
    traced: Sequence[TracedProblem]


class StudyPage(NamedTuple):
    """Everything the page says."""

    title: str
    summary: str
    tiles: Sequence[Tile]
    sections: Sequence[PageSection]
    predictions: Matrix | None


def write_study(
    outcomes: Sequence[StudyOutcome], confusions: Sequence[Confusion], out: Path, *, name: str
) -> Path:
    """Page, Markdown, JSON and pictures into ``out``; returns the page's path."""
    sections = [_section(outcome) for outcome in outcomes]
    page = StudyPage(
        title=f"Study {name}" if len(outcomes) == 1 else "Studies",
        summary=CAPTION,
        tiles=_count_verdicts(outcomes),
        sections=sections,
        predictions=_predictions(confusions) if confusions else None,
    )
    nobody = Reader(sides=(), budgets=(), traces=(), filters=(), note="")
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    html = render_page("study.html.j2", page, reader=nobody, grid=None)
    write_atomically(folder / PAGE, html)
    write_atomically(folder / MARKDOWN, format_markdown(outcomes, confusions))
    write_atomically(folder / JSON, export_json(outcomes, confusions) + "\n")
    write_pngs([figure for section in sections for figure in section.figures], folder / "png")
    return folder / PAGE


def _section(outcome: StudyOutcome) -> PageSection:
    return PageSection(
        name=outcome.name,
        title=outcome.title,
        summary=f"{outcome.question} ({outcome.paper}; {outcome.runs_done} of "
        f"{outcome.runs_wanted} runs.)",
        claims=Matrix(
            "claim",
            ("expected", "effect", "verdict"),
            [
                MatrixRow(
                    claim.says,
                    [
                        Cell(claim.expected, ""),
                        format_effect(claim.effect, claim.unit),
                        Cell(claim.verdict.value, ""),
                    ],
                )
                for claim in outcome.claims
            ],
            "",
        ),
        papers=[f"{c.says}: {c.paper}. Here: {describe_verdict(c)}." for c in outcome.claims],
        arms=tabulate_arms(outcome),
        figures=draw_figures(outcome),
        traced=outcome.traced,
    )


def _count_verdicts(outcomes: Sequence[StudyOutcome]) -> list[Tile]:
    verdicts = [claim.verdict for outcome in outcomes for claim in outcome.claims]
    total = len(verdicts)
    return [
        Tile(verdict.value, "", f"{verdicts.count(verdict)}", Cell("", f"of {total} claims"))
        for verdict in ClaimVerdict
    ]


def _predictions(confusions: Sequence[Confusion]) -> Matrix:
    heads = ("lost, named", "lost, missed", "sound, named", "sound, silent")
    rows = [MatrixRow(c.name, [Cell(str(n), "") for n in c[1:5]]) for c in confusions]
    return Matrix("prediction, in runs", heads, rows, "")
