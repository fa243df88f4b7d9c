"""Comparisons as rows of text, for the terminal and for the page."""

import math
from typing import NamedTuple

from rich.table import Table

from tersely.metrics.comparison import Comparison, Measure, Unit
from tersely.metrics.intervals import Interval

UNDEFINED = "–"


class Cell(NamedTuple):
    """An estimate and its interval as text; ``clear`` means the interval excludes 0."""

    estimate: str
    interval: str
    clear: bool = False


class TableRow(NamedTuple):
    """One measure, ready to print."""

    label: str
    before: Cell
    after: Cell
    difference: Cell


class FamilyRow(NamedTuple):
    """One family in the overview: lengths and accuracy at the largest budget."""

    family: str
    problems: int
    tokens: TableRow
    accuracy: TableRow


def format_rows(comparison: Comparison) -> list[TableRow]:
    """Every measure of a comparison; undefined values read "–"."""
    return [_format_measure(measure) for measure in comparison.measures]


def format_families(comparisons: tuple[Comparison, ...]) -> list[FamilyRow]:
    """One overview row a family."""
    return [
        FamilyRow(
            family=comparison.title,
            problems=comparison.n_problems,
            tokens=_format_measure(comparison.measures[0]),
            accuracy=_format_measure(full_budget_accuracy(comparison)),
        )
        for comparison in comparisons
    ]


def full_budget_accuracy(comparison: Comparison) -> Measure:
    """The accuracy measure at the largest budget."""
    accuracies = [m for m in comparison.measures if m.name == "accuracy"]
    return max(accuracies, key=lambda m: m.budget_tokens or 0)


def write_caption(comparison: Comparison) -> str:
    """What the numbers of a comparison rest on."""
    ungraded = comparison.ungraded_before, comparison.ungraded_after
    left_out = (
        f" Ungraded samples left out: {ungraded[0]} before, {ungraded[1]} after."
        if any(ungraded)
        else ""
    )
    return (
        f"n = {comparison.n_problems:,} problems × {comparison.samples_per_problem} samples. "
        "Brackets: 95% bootstrap intervals over problems; differences are paired by problem."
        f"{left_out}"
    )


def draw_table(comparison: Comparison) -> Table:
    """The comparison as a terminal table."""
    table = Table(title=comparison.title, caption=write_caption(comparison), caption_justify="left")
    table.add_column("measure")
    for column in ("before", "after", "difference"):
        table.add_column(column, justify="right")
    for row in format_rows(comparison):
        table.add_row(row.label, *(_join(cell) for cell in row[1:]))
    return table


def format_ratio(interval: Interval) -> Cell:
    """A ratio of mean tokens, as a multiple."""
    return Cell(
        f"{interval.estimate:.2f}×" if math.isfinite(interval.estimate) else UNDEFINED,
        _bracket(f"{interval.low:.2f}", f"{interval.high:.2f}", interval),
    )


def _join(cell: Cell) -> str:
    text = f"{cell.estimate} {cell.interval}".strip()
    return f"[bold]{_literal(text)}[/bold]" if cell.clear else _literal(text)


def _literal(text: str) -> str:
    return text.replace("[", r"\[")


def _format_measure(measure: Measure) -> TableRow:
    name = measure.name[0].upper() + measure.name[1:]
    budget = "" if measure.budget_tokens is None else f" within {measure.budget_tokens:,} tokens"
    return TableRow(
        label=name + budget,
        before=_format_level(measure.before, measure.unit),
        after=_format_level(measure.after, measure.unit),
        difference=_format_difference(measure.difference, measure.unit),
    )


def _format_level(interval: Interval, unit: Unit) -> Cell:
    if not math.isfinite(interval.estimate):
        return Cell(UNDEFINED, "")
    suffix = "%" if unit is Unit.SHARE else ""
    return Cell(
        _number(interval.estimate, unit) + suffix,
        _bracket(_number(interval.low, unit), _number(interval.high, unit), interval),
    )


def _format_difference(interval: Interval, unit: Unit) -> Cell:
    if not math.isfinite(interval.estimate):
        return Cell(UNDEFINED, "")
    suffix = " pp" if unit is Unit.SHARE else ""
    return Cell(
        _signed(interval.estimate, unit) + suffix,
        _bracket(_signed(interval.low, unit), _signed(interval.high, unit), interval),
        clear=interval.low > 0 or interval.high < 0,
    )


def _bracket(low: str, high: str, interval: Interval) -> str:
    return f"[{low}, {high}]" if math.isfinite(interval.low) else f"[{UNDEFINED}]"


def _number(value: float, unit: Unit) -> str:
    if not math.isfinite(value):
        return UNDEFINED
    return f"{100 * value:.1f}" if unit is Unit.SHARE else f"{value:,.1f}"


def _signed(value: float, unit: Unit) -> str:
    text = _number(abs(value), unit)
    if text == UNDEFINED or float(text.replace(",", "")) == 0:
        return text
    return ("+" if value > 0 else "−") + text
