"""Accuracy against tokens, one dot an evaluation, with the Pareto front."""

from collections.abc import Sequence

import altair as alt

from tersely.metrics.numbers import defined
from tersely.metrics.pareto import Front, Fronts
from tersely.report.charts.style import (
    FAINT,
    INK,
    MANY,
    PANEL_PX,
    ChartRow,
    Datasets,
    Spec,
    arrange,
    hold,
    layer,
)
from tersely.report.tables.words import name_counted

MOST_PANELS = 4
HEIGHT_PX = 290


def draw_fronts(fronts: Fronts, *, names: Sequence[str]) -> Spec:
    """One panel a budget, four at most, the largest last; lines: 95% intervals and the front."""
    datasets: Datasets = {}
    chosen = choose_panels(fronts.fronts)
    counted = name_counted(fronts.budget_of)
    panels = [
        _draw_front(front, names=names, counted=counted, datasets=datasets) for front in chosen
    ]
    return arrange(panels, shared=("color",), datasets=datasets)


def choose_panels(fronts: Sequence[Front]) -> list[Front]:
    """Up to four of the fronts, evenly, with the last."""
    step = -(-len(fronts) // MOST_PANELS)
    return list(fronts[::-1][::step][::-1])


def _draw_front(front: Front, *, names: Sequence[str], counted: str, datasets: Datasets) -> Spec:
    rows = _list_points(front, names)
    data = hold(rows, datasets=datasets)
    on_front = hold([row for row in rows if row["front"]], datasets=datasets)
    x = alt.X(
        "tokens:Q",
        title=f"mean {counted}",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format=",~r", tickCount=5, labelOverlap=True),
    )
    y = alt.Y(
        "accuracy:Q",
        title="accuracy within the budget",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format="~%", tickCount=6),
    )
    base = alt.Chart(data).encode(x=x, y=y, color=_colour(names))
    layers = [
        alt.Chart(on_front)
        .mark_line(color=FAINT, strokeDash=[4, 3], strokeWidth=1.2, interpolate="step-after")
        .encode(x=x, y=y),
        base.mark_rule(opacity=0.55).encode(x=alt.X("tokens_low:Q"), x2=alt.X2("tokens_high:Q")),
        base.mark_rule(opacity=0.55).encode(
            y=alt.Y("accuracy_low:Q"), y2=alt.Y2("accuracy_high:Q")
        ),
        base.mark_point(size=95, filled=True, opacity=1).encode(
            stroke=alt.condition("datum.front", alt.value(INK), alt.value(None)),
            tooltip=[
                alt.Tooltip("evaluation:N"),
                alt.Tooltip("tokens:Q", title=f"mean {counted}", format=",.1f"),
                alt.Tooltip("accuracy:Q", format=".1%"),
                alt.Tooltip("front:N", title="on the front"),
            ],
        ),
    ]
    title = f"Within {front.budget_tokens:,} {counted}"
    return layer(*layers, width=PANEL_PX, height=HEIGHT_PX, title=title)


def _list_points(front: Front, names: Sequence[str]) -> list[ChartRow]:
    return [
        {
            "evaluation": name,
            "tokens": defined(point.tokens.estimate),
            "tokens_low": defined(point.tokens.low),
            "tokens_high": defined(point.tokens.high),
            "accuracy": defined(point.accuracy.estimate),
            "accuracy_low": defined(point.accuracy.low),
            "accuracy_high": defined(point.accuracy.high),
            "front": not point.dominated_by,
        }
        for name, point in zip(names, front.points, strict=True)
    ]


def _colour(names: Sequence[str]) -> alt.Color:
    colours = [MANY[at % len(MANY)] for at in range(len(names))]
    return alt.Color(
        "evaluation:N",
        scale=alt.Scale(domain=list(names), range=colours),
        legend=alt.Legend(title=None, orient="top", columns=2, symbolType="circle"),
    )
