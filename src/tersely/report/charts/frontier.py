"""Accuracy against cost, one dot a setting, with the frontier."""

from collections.abc import Sequence

import altair as alt

from tersely.flows.evaluate.advising import ServingAdvice
from tersely.metrics.numbers import defined
from tersely.metrics.serving import CostAxis
from tersely.report.charts.style import (
    FAINT,
    INK,
    MANY,
    ChartRow,
    Datasets,
    Spec,
    arrange,
    hold,
    layer,
)

WIDTH_PX, HEIGHT_PX = 900, 420
THOUSAND = 1000.0
TITLES = {
    CostAxis.TOKENS: "tokens a question (log scale)",
    CostAxis.MONEY: "cost of 1,000 questions (log scale)",
    CostAxis.SECONDS: "seconds a question (log scale)",
}


def draw_frontier(advice: ServingAdvice, *, names: Sequence[str]) -> Spec:
    """Every setting that was looked at; lines: the frontier, and intervals of what is on it."""
    datasets: Datasets = {}
    rows = list_points(advice, names)
    data = hold(rows, datasets=datasets)
    on_front = hold([row for row in rows if row["front"]], datasets=datasets)
    x, y = _draw_axes(advice)
    legend = alt.Legend(title=None, orient="top", columns=2, symbolType="circle")
    domain, colours = list(names), [MANY[at % len(MANY)] for at in range(len(names))]
    colour = alt.Color("evaluation:N", scale=alt.Scale(domain=domain, range=colours), legend=legend)
    front = alt.Chart(on_front).encode(x=x, y=y, color=colour)
    layers = [
        alt.Chart(on_front)
        .mark_line(color=FAINT, strokeDash=[4, 3], strokeWidth=1.2, interpolate="step-after")
        .encode(x=x, y=y),
        front.mark_rule(opacity=0.5).encode(
            y=alt.Y("accuracy_low:Q"), y2=alt.Y2("accuracy_high:Q")
        ),
        front.mark_rule(opacity=0.5).encode(x=alt.X("cost_low:Q"), x2=alt.X2("cost_high:Q")),
        alt.Chart(data)
        .mark_point(filled=True, opacity=0.9)
        .encode(
            x=x,
            y=y,
            color=colour,
            size=alt.Size(
                "votes:O",
                legend=alt.Legend(title="votes", orient="top"),
                scale=alt.Scale(range=[45, 160]),
            ),
            stroke=alt.condition("datum.front", alt.value(INK), alt.value(None)),
            tooltip=_list_tooltips(advice),
        ),
    ]
    chart = layer(*layers, width=WIDTH_PX, height=HEIGHT_PX)
    return arrange([chart], shared=("color", "size"), datasets=datasets)


def _draw_axes(advice: ServingAdvice) -> tuple[alt.X, alt.Y]:
    x = alt.X(
        "cost:Q",
        title=TITLES[advice.axis],
        scale=alt.Scale(type="log", nice=False, padding=14),
        axis=alt.Axis(format=",~g", tickCount=8, labelOverlap=True),
    )
    y = alt.Y(
        "accuracy:Q",
        title="accuracy",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format="~%", tickCount=7),
    )
    return x, y


def _list_tooltips(advice: ServingAdvice) -> list[alt.Tooltip]:
    title = TITLES[advice.axis].removesuffix(" (log scale)")
    return [
        alt.Tooltip("evaluation:N"),
        alt.Tooltip("cap:Q", title="cap (tokens)", format=",d"),
        alt.Tooltip("votes:O"),
        alt.Tooltip("accuracy:Q", format=".1%"),
        alt.Tooltip("accuracy_low:Q", title="from (95%, all at once)", format=".1%"),
        alt.Tooltip("accuracy_high:Q", title="to", format=".1%"),
        alt.Tooltip("cost:Q", title=title, format=",.4~g"),
        alt.Tooltip("front:N", title="on the frontier"),
    ]


def list_points(advice: ServingAdvice, names: Sequence[str]) -> list[ChartRow]:
    """One row a setting."""
    front = {place.setting for place in advice.frontier}
    scale = THOUSAND if advice.axis is CostAxis.MONEY else 1.0
    rows = []
    for m, setting in enumerate(advice.grid.settings):
        right, cost = advice.levels.accuracy[m], advice.levels.cost[m]
        rows.append(
            {
                "evaluation": names[setting.side],
                "cap": setting.cap_tokens,
                "votes": setting.votes,
                "cost": defined(scale * cost.estimate),
                "cost_low": defined(scale * cost.low),
                "cost_high": defined(scale * cost.high),
                "accuracy": defined(right.estimate),
                "accuracy_low": defined(right.low),
                "accuracy_high": defined(right.high),
                "front": m in front,
            }
        )
    return rows
