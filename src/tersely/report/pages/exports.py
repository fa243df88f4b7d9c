"""Figures of a report for other programs: CSV, Markdown and PNG."""

import copy
import csv
import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import vl_convert

from tersely.core.storage import replacing, write_atomically
from tersely.flows.evaluate.several import ComparedSeveral
from tersely.metrics.budgets import Protocol
from tersely.metrics.changes import ProblemChange
from tersely.metrics.comparison import Comparison
from tersely.metrics.intervals import Interval
from tersely.metrics.lengths import QUANTILES, mean_name
from tersely.metrics.measures import Evaluation
from tersely.metrics.records import BudgetOf
from tersely.report.pages.html import Figure
from tersely.report.pages.library import VEGA_LITE
from tersely.report.tables import pairs
from tersely.report.tables.comparison import TableBlock, most_tries
from tersely.report.tables.conclusions import (
    list_alarms,
    list_findings,
    warn_of_lost_problems,
    warn_of_windows,
)
from tersely.report.tables.cut import head_evaluation
from tersely.report.tables.matrices import (
    Matrix,
    tabulate_budgets,
    tabulate_lengths,
    tabulate_scores,
    tabulate_sources,
)
from tersely.report.tables.pairs import tabulate_ratios, tabulate_repeats, tabulate_sides
from tersely.report.tables.several import (
    caption_front,
    name_spent,
    tabulate_against,
    tabulate_front,
)
from tersely.report.tables.words import name_counted

PNG_SCALE = 2.0
CAPTION_CHARACTERS = 150


class Exported(NamedTuple):
    """One line of a CSV file. ``side`` is before, after, difference, ratio or score for two
    evaluations and empty for one; an undefined number is an empty field. ``budget_tokens`` counts
    what ``budget_of`` says."""

    name: str
    side: str
    budget_tokens: int | None
    unit: str
    protocol: str
    estimate: float
    low: float
    high: float
    standard_error: float
    p: float
    n_problems: int
    n_samples: int
    source: str = ""
    budget_of: str = BudgetOf.TOKENS.value


def export_evaluation(evaluation: Evaluation) -> list[Exported]:
    """Every quantity at every budget, and the quantiles of lengths; of all, then by source."""
    of_sources = [
        row._replace(source=part.title)
        for part in evaluation.sources
        for row in export_evaluation(part)
    ]
    rows = [
        _export(q.name, value, unit=q.unit.value, protocol=evaluation.protocol, at=q.budget_tokens)
        for q, value in evaluation.measured
    ]
    for summary in evaluation.lengths:
        name = mean_name(summary.among).removeprefix("mean ")
        rows += [
            _export(f"{name}, {q:.0%} quantile", value, unit="tokens", protocol=evaluation[1])
            for q, value in zip(QUANTILES, summary.quantiles, strict=True)
        ]
    rows = [row._replace(budget_of=evaluation.budget_of.value) for row in rows]
    return [*rows, *of_sources]


def export_comparison(comparison: Comparison) -> list[Exported]:
    """Three rows a measure (before, after, difference), then token ratio and AES; of all, then by
    source."""
    rows = []
    for m in comparison.measures:
        sides = {"before": m.before, "after": m.after, "difference": m.difference}
        for side, value in sides.items():
            row = _export(
                m.name, value, unit=m.unit.value, protocol=comparison[1], at=m.budget_tokens
            )
            p = m.p_value if side == "difference" else math.nan
            rows.append(row._replace(side=side, p=p))
    for name, side, value, p in (
        ("token ratio", "ratio", comparison.token_ratio, comparison.token_ratio_p),
        ("AES", "score", comparison.aes, comparison.aes_p),
    ):
        row = _export(name, value, unit=side, protocol=comparison.protocol)
        rows.append(row._replace(side=side, p=p))
    of_sources = [
        row._replace(source=part.title)
        for part in comparison.sources
        for row in export_comparison(part)
    ]
    rows = [row._replace(budget_of=comparison.budget_of.value) for row in rows]
    return [*rows, *of_sources]


class ExportedOfSeveral(NamedTuple):
    """A line of a CSV file of three or more evaluations: whose it is, and what it says."""

    evaluation: str
    of_each: Exported


def export_several(several: ComparedSeveral) -> list[ExportedOfSeveral]:
    """Accuracy and tokens of each at each budget, and whether it is on the front; then the rows
    of each pair under the name of the other."""
    rows = []
    of = several.fronts.budget_of
    for front in several.fronts.fronts:
        for name, point in zip(several.names, front.points, strict=True):
            values = {
                "accuracy": point.accuracy,
                f"{name_spent(several)} within the budget": point.tokens,
            }
            for figure, value in values.items():
                row = _export(
                    figure,
                    value,
                    unit="share" if figure == "accuracy" else name_counted(of),
                    protocol=several.fronts.protocol,
                    at=front.budget_tokens,
                )
                side = "behind" if point.dominated_by else "on the front"
                side += "" if point.settled else ", not settled"
                rows.append(ExportedOfSeveral(name, row._replace(side=side, budget_of=of.value)))
    for name, each in zip(several.names[1:], several.against, strict=True):
        of_pair = export_comparison(each.compared.comparison)
        rows += [ExportedOfSeveral(name, row) for row in of_pair]
    return rows


def format_several(several: ComparedSeveral) -> str:
    """Front, corrected differences and the tables of each pair as Markdown."""
    tables = [tabulate_front(several, f, names=several.names) for f in several.fronts.fronts]
    tables[-1] = tables[-1]._replace(caption=caption_front(several))
    against = tabulate_against(several, names=several.names)
    pairs_ = (each.compared for each in several.against)
    return "\n\n".join(
        [
            f"# {escape(several.names[0])} against {escape(', '.join(several.names[1:]))}",
            *(format_matrix(table) for table in (*tables, against)),
            *(f"> {escape(note)}" for note in several.notes),
            *(
                format_comparison(c.comparison, c.changes, names=(c.before.name, c.after.name))
                for c in pairs_
            ),
        ]
    )


def write_csv(rows: Sequence[Exported | ExportedOfSeveral], path: Path) -> None:
    """One line a row, numbers in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    several = any(isinstance(row, ExportedOfSeveral) for row in rows)
    writer.writerow(["evaluation", *Exported._fields] if several else Exported._fields)
    for row in rows:
        values = [row.evaluation, *row.of_each] if isinstance(row, ExportedOfSeveral) else row
        writer.writerow([_field(value) for value in values])
    write_atomically(path, text.getvalue())


def format_evaluation(evaluation: Evaluation, *, notes: Sequence[str]) -> str:
    """The tables of an evaluation as Markdown."""
    tables = (
        tabulate_budgets(evaluation),
        tabulate_lengths(evaluation),
        tabulate_scores(evaluation),
        *([tabulate_sources(evaluation)] if evaluation.sources else []),
    )
    return "\n\n".join(
        [
            f"# {escape(evaluation.title)}",
            *(line for alarm in list_alarms(evaluation) for line in _format_alarm(alarm)),
            *(f"**{escape(line)}**" for line in head_evaluation(evaluation)),
            *(format_matrix(table) for table in tables),
            *(f"> {escape(note)}" for note in notes),
            "",
        ]
    )


def format_comparison(
    comparison: Comparison, changes: Sequence[ProblemChange], *, names: tuple[str, str]
) -> str:
    """Warning, conclusions and tables of a comparison as Markdown."""
    accuracy, scores, _ = tabulate_sides(comparison, names=names)
    blocks = [accuracy, _place_beside(comparison, names), scores]
    if most_tries(comparison) < 2:
        blocks = [accuracy, scores]
    findings = list_findings(comparison, changes, names=names)
    return "\n\n".join(
        [
            f"# {escape(names[0])} → {escape(names[1])}",
            *_format_alarm(warn_of_lost_problems(comparison, changes)),
            *_format_alarm(warn_of_windows(list(zip(names, comparison.windows, strict=True)))),
            "\n".join(f"- {escape(line)}" for line in findings),
            *(format_block(block) for block in blocks),
            format_matrix(tabulate_ratios(comparison)),
            *([format_matrix(pairs.tabulate_sources(comparison))] if comparison.sources else []),
            "",
        ]
    )


def write_markdown(text: str, path: Path) -> None:
    """Writes what ``format_evaluation`` or ``format_comparison`` gave."""
    write_atomically(path, text)


def titled(figure: Figure) -> dict[str, Any]:
    """The picture with its title and caption in it."""
    title = {
        "text": figure.title,
        "subtitle": textwrap.wrap(figure.caption, CAPTION_CHARACTERS),
        "anchor": "start",
        "fontSize": 16,
        "subtitleFontSize": 11.5,
        "subtitleColor": "#6b7280",
        "subtitlePadding": 6,
        "offset": 18,
    }
    return copy.deepcopy(dict(figure.spec)) | {"title": title, "padding": 14}


def write_pngs(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """One picture a figure at twice the size, with its title and caption in it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for figure in figures:
        path = folder / f"{figure.name}.png"
        picture = vl_convert.vegalite_to_png(titled(figure), vl_version=VEGA_LITE, scale=PNG_SCALE)
        with replacing(path) as scratch:
            scratch.write_bytes(picture)
        paths.append(path)
    return paths


def _format_alarm(lines: Sequence[str]) -> list[str]:
    return [f"> **{escape(lines[0])}.** {escape(' '.join(lines[1:]))}"] if lines else []


def _place_beside(comparison: Comparison, names: tuple[str, str]) -> TableBlock:
    """Mean@k and Pass@k in turn, budget by budget."""
    repeats = tabulate_repeats(comparison)
    sides = [side for row in repeats.rows for side in row.sides]
    return TableBlock(repeats.title, sides, repeats.caption, names)


def _export(
    name: str, value: Interval, *, unit: str, protocol: Protocol, at: int | None = None
) -> Exported:
    return Exported(
        name=name,
        side="",
        budget_tokens=at,
        unit=unit,
        protocol=protocol.value,
        estimate=value.estimate,
        low=value.low,
        high=value.high,
        standard_error=value.standard_error,
        p=math.nan,
        n_problems=value.n_problems,
        n_samples=value.n_samples,
    )


def _field(value: object) -> object:
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return "" if value is None else value


def format_matrix(matrix: Matrix) -> str:
    """A table as Markdown, with its caption."""
    rows = [[row.label, *(cell.text for cell in row.cells)] for row in matrix.rows]
    return _format_table([matrix.title, *matrix.heads], rows, matrix.caption)


def format_block(block: TableBlock) -> str:
    """A table of measures as Markdown, with what it rests on."""
    rows = [[row.label, *(_mark(cell) for cell in row[1:4]), row.p] for row in block.rows]
    return _format_table([block.title, *block.heads, "difference", "p"], rows, block.caption)


def _mark(cell: tuple[str, str, bool]) -> str:
    text = f"{cell[0]} {cell[1]}".strip()
    return f"**{text}**" if cell[2] else text


def _format_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    drawn = ["| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines]
    return "\n".join([*drawn, "", escape(caption)])


def escape(text: str) -> str:
    """Text that cannot end its table cell, open a tag or span lines."""
    for character, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("[", "\\[")):
        text = text.replace(character, safe)
    return " ".join(text.split())
