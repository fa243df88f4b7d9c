"""Altair charts of a comparison, and what all charts here share; 1,060 px wide at most."""

from collections.abc import Mapping

import altair as alt
import numpy as np

from tersely.metrics.comparison import Comparison, Measure
from tersely.metrics.intervals import Interval
from tersely.metrics.numbers import defined
from tersely.metrics.records import SampleTable
from tersely.report.charts.style import (
    DIFFERENCE,
    INK,
    PAIR,
    PANEL_PX,
    RIGHT_WRONG,
    ChartRow,
    Datasets,
    Spec,
    arrange,
    colour_by,
    hold,
    layer,
    scale_budgets,
)
from tersely.report.tables.words import name_axis, name_counted

BINS = 40


def draw_budget_curve(
    comparison: Comparison, *, names: tuple[str, str] = ("before", "after")
) -> Spec:
    """Accuracy within each budget, before and after, and their paired difference."""
    datasets: Datasets = {}
    measures = [m for m in comparison.measures if m.name == "accuracy"]
    x = scale_budgets(
        sorted({int(m.budget_tokens or 0) for m in measures}),
        counted=name_axis(comparison.budget_of),
    )
    left = draw_bands(
        [
            row
            for m in measures
            for name, value in zip(names, (m.before, m.after), strict=True)
            for row in [_band(m, name, value)]
        ],
        x,
        title="accuracy within the budget",
        axis=alt.Axis(format="~%", tickCount=6),
        colours=dict(zip(names, PAIR, strict=True)),
        datasets=datasets,
        counted=name_counted(comparison.budget_of),
    )
    change = f"{names[1]} − {names[0]}"
    right = draw_difference_bands(
        [_band(m, change, m.difference) for m in measures],
        x,
        title="difference (percentage points)",
        colours={change: DIFFERENCE},
        datasets=datasets,
        counted=name_counted(comparison.budget_of),
    )
    return arrange([left, right], shared=("x",), datasets=datasets)


def draw_bands(
    rows: list[ChartRow],
    x: alt.X,
    *,
    title: str,
    axis: alt.Axis,
    colours: Mapping[str, str],
    datasets: Datasets,
    counted: str = "tokens",
) -> Spec:
    """Estimates over budgets as lines with dots, each with its 95% band."""
    base = alt.Chart(hold(rows, datasets=datasets), width=PANEL_PX, height=270).encode(
        x=x,
        color=colour_by("series", colours),
        tooltip=[
            alt.Tooltip("series:N", title="evaluation"),
            alt.Tooltip("budget:Q", title=f"budget ({counted})", format=",d"),
            alt.Tooltip("estimate:Q", title="estimate", format=".1%"),
            alt.Tooltip("low:Q", title="95% interval from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
        ],
    )
    band = base.mark_area(opacity=0.16).encode(
        y=alt.Y("low:Q", title=title, axis=axis), y2=alt.Y2("high:Q")
    )
    line = base.mark_line(strokeWidth=2.2).encode(y=alt.Y("estimate:Q"))
    dots = base.mark_circle(size=55, opacity=1).encode(y=alt.Y("estimate:Q"))
    return layer(band, line, dots)


def draw_difference_bands(
    rows: list[ChartRow],
    x: alt.X,
    *,
    title: str,
    colours: Mapping[str, str],
    datasets: Datasets,
    counted: str = "tokens",
) -> Spec:
    """Differences of shares with their bands, over a dashed line at 0."""
    axis = alt.Axis(
        labelExpr="datum.value == 0 ? '0' : format(100 * datum.value, '+~g')", tickCount=6
    )
    bands = draw_bands(
        rows, x, title=title, axis=axis, colours=colours, datasets=datasets, counted=counted
    )
    zero = alt.Chart(hold([{"zero": 0}], datasets=datasets)).mark_rule(color=INK, strokeDash=[4, 3])
    return layer(zero.encode(y=alt.Y("zero:Q")), bands)


def draw_length_histograms(before: SampleTable, after: SampleTable) -> Spec:
    """Share of graded samples by length, stacked by correctness, on shared axes."""
    datasets: Datasets = {}
    edges = np.linspace(0.0, float(max(before.reach_tokens, after.reach_tokens)), BINS + 1)
    panels = [
        _histogram(table, edges, title=title, datasets=datasets)
        for title, table in (("before", before), ("after", after))
    ]
    return arrange(panels, shared=("x", "y", "color"), datasets=datasets)


def _band(measure: Measure, series: str, interval: Interval) -> ChartRow:
    return {
        "budget": measure.budget_tokens,
        "series": series,
        "estimate": defined(interval.estimate),
        "low": defined(interval.low),
        "high": defined(interval.high),
    }


def _histogram(table: SampleTable, edges: np.ndarray, *, title: str, datasets: Datasets) -> Spec:
    graded = int(table.graded_PS.sum())
    rows: list[ChartRow] = []
    means: list[ChartRow] = []
    for name, among_PS in (("correct", table.right_PS), ("wrong", ~table.right_PS)):
        tokens_N = table.tokens_PS[among_PS & table.graded_PS]
        counts, _ = np.histogram(tokens_N, bins=edges)
        if tokens_N.size:
            means.append({"grade": name, "mean": float(tokens_N.mean())})
        rows += [
            {"grade": name, "low": low, "high": high, "count": count, "share": count / graded}
            for low, high, count in zip(
                edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True
            )
            if count
        ]
    colour = colour_by("grade", RIGHT_WRONG)
    bars = alt.Chart(
        hold(rows, datasets=datasets), title=title.capitalize(), width=PANEL_PX, height=230
    )
    x_scale = alt.Scale(domain=[0, float(edges[-1])], nice=False)
    bars = bars.mark_bar(binSpacing=0, stroke="white", strokeWidth=0.5, opacity=0.6).encode(
        x=alt.X("low:Q", title="completion length (tokens)", scale=x_scale).bin("binned"),
        x2=alt.X2("high:Q"),
        y=alt.Y("share:Q", title="share of samples", stack="zero", axis=alt.Axis(format="~%")),
        color=colour,
        tooltip=[
            alt.Tooltip("grade:N", title="grade"),
            alt.Tooltip("low:Q", title="from (tokens)", format=",.0f"),
            alt.Tooltip("high:Q", title="to (tokens)", format=",.0f"),
            alt.Tooltip("count:Q", title="samples", format=",d"),
        ],
    )
    return layer(bars, _mark_means(means, colour, datasets=datasets))


def _mark_means(means: list[ChartRow], colour: alt.Color, *, datasets: Datasets) -> alt.Chart:
    rules = alt.Chart(hold(means, datasets=datasets)).mark_rule(strokeWidth=2, strokeDash=[5, 3])
    drawn: alt.Chart = rules.encode(
        x=alt.X("mean:Q"),
        color=colour,
        tooltip=[
            alt.Tooltip("grade:N", title="grade"),
            alt.Tooltip("mean:Q", title="mean length (tokens)", format=",.1f"),
        ],
    )
    return drawn
