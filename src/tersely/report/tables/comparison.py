"""Comparisons as rows of text, for the terminal and for the page."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tersely.metrics.comparison import Comparison, Measure
from tersely.metrics.lengths import MEANS
from tersely.metrics.numbers import (
    Cell,
    count,
    format_difference,
    format_level,
    format_p,
    say_cap,
)
from tersely.metrics.records import BudgetOf
from tersely.report.tables.words import describe_protocol, label

LENGTHS = (
    *("mean tokens", "mean tokens given correct", "mean tokens given wrong"),
    *MEANS.values(),
    "truncated share",
)
BOLD = " Bold: p < .05."
# The share of the problems that a headline must rest on.
NEARLY_ALL = 0.9
# How the two sides are headed.
SideNames = tuple[str, str]


class MeasureRow(NamedTuple):
    """One measure, ready to print."""

    label: str
    before: Cell
    after: Cell
    difference: Cell
    p: str


class FamilyRow(NamedTuple):
    """One family in the overview: lengths and accuracy at the largest budget."""

    family: str
    problems: int
    tokens: MeasureRow
    accuracy: MeasureRow


class TableBlock(NamedTuple):
    """A titled table of measures and its caption; ``heads`` names the two sides."""

    title: str
    rows: Sequence[MeasureRow]
    caption: str
    heads: SideNames = ("before", "after")


def choose_headline(comparison: Comparison) -> list[Measure]:
    """Lengths, truncation, accuracy at each budget, Mean@k and Pass@k at the largest one."""
    largest = comparison.budgets[-1] if comparison.budgets else None
    most = most_tries(comparison)
    repeated = (name_mean(comparison), f"pass@{most}")
    lengths = [m for name in LENGTHS for m in comparison.measures if m.name == name]
    accuracies = [m for m in comparison.measures if m.name == "accuracy"]
    last = [
        m
        for name in repeated
        for m in comparison.measures
        if m.name == name and m.budget_tokens == largest and name != "accuracy"
    ]
    return [*lengths, *accuracies, *last]


def most_tries(comparison: Comparison) -> int:
    """The largest k whose Pass@k rests on nearly as many problems as that of any k above 1; 1 where
    there is none, and 0 where Pass@k is not given at all."""
    problems = {
        int(m.name[5:]): m.difference.n_problems
        for m in comparison.measures
        if m.name.startswith("pass@")
    }
    several = {k: n for k, n in problems.items() if k > 1}
    least = NEARLY_ALL * max(several.values(), default=0)
    return max((k for k, n in several.items() if n >= least), default=max(problems, default=0))


def name_mean(comparison: Comparison) -> str:
    """The measure that stands beside Pass@k: Mean@k, or accuracy where the tries differ or too few
    problems have all of them."""
    basis = NEARLY_ALL * max((m.difference.n_problems for m in comparison.measures), default=0)
    means = [m for m in comparison.measures if m.name.startswith("mean@")]
    whole = (m.name for m in means if m.difference.n_problems >= basis)
    return next(whole, "accuracy")


def format_rows(measures: Iterable[Measure], *, of: BudgetOf = BudgetOf.TOKENS) -> list[MeasureRow]:
    """Measures as text; undefined values read "–"."""
    return [format_measure(measure, of=of) for measure in measures]


def format_measure(measure: Measure, *, of: BudgetOf = BudgetOf.TOKENS) -> MeasureRow:
    """One measure as text."""
    return MeasureRow(
        label=label(measure.name, measure.budget_tokens, of=of),
        before=format_level(measure.before, measure.unit),
        after=format_level(measure.after, measure.unit),
        difference=format_difference(measure.difference, measure.unit, p=measure.p_value),
        p=format_p(measure.p_value),
    )


def format_families(comparisons: tuple[Comparison, ...]) -> list[FamilyRow]:
    """One overview row a family."""
    return [
        FamilyRow(
            family=comparison.title,
            problems=comparison.n_problems,
            tokens=format_measure(comparison.find("mean tokens")),
            accuracy=format_measure(full_budget_accuracy(comparison)),
        )
        for comparison in comparisons
    ]


def full_budget_accuracy(comparison: Comparison) -> Measure:
    """The accuracy measure at the largest budget."""
    accuracies = [m for m in comparison.measures if m.name == "accuracy"]
    return max(accuracies, key=lambda m: m.budget_tokens or 0)


def write_caption(comparison: Comparison, *, heads: SideNames = ("before", "after")) -> str:
    """What the numbers of a comparison rest on."""
    ungraded = comparison.ungraded_before, comparison.ungraded_after
    left_out = (
        f" Failed or ungraded samples left out: {ungraded[0]:,} {heads[0]}, "
        f"{ungraded[1]:,} {heads[1]}."
        if any(ungraded)
        else ""
    )
    return (
        f"{describe_protocol(comparison.protocol, of=comparison.budget_of)} "
        f"n = {_count_samples(comparison)}, {say_cap(comparison.cap_tokens)}. "
        "Brackets: 95% intervals over problems; differences are paired by problem."
        f"{left_out}{_tell_open_parts(comparison)}"
    )


def _tell_open_parts(comparison: Comparison) -> str:
    """Why parts of lengths are dashes, where some are."""
    parts = [m for m in comparison.measures if m.name in MEANS.values()]
    if not any(math.isnan(side.estimate) for m in parts for side in (m.before, m.after)):
        return ""
    return (
        " Thinking, reply and what follows the first right answer are dashes where not every "
        "sample tells them."
    )


def write_basis(comparison: Comparison) -> str:
    """Protocol and n, for a table beside one with the whole caption."""
    return f"Protocol {comparison.protocol.value}, n = {_count_samples(comparison)}."


def _count_samples(comparison: Comparison) -> str:
    samples = comparison.samples_before, comparison.samples_after
    tries = count(samples[0], "sample")
    if samples[0] != samples[1]:
        tries = f"{tries} before and {samples[1]:,} after"
    return f"{count(comparison.n_problems, 'problem')} × {tries}"
