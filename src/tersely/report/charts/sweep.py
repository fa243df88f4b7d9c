"""Accuracy over realised tokens, one dot a level, in the order of the levels."""

from collections.abc import Sequence

import altair as alt

from tersely.flows.evaluate.swept import MeasuredSweep
from tersely.metrics.numbers import defined
from tersely.report.charts.style import FAINT, MANY, ChartRow, Datasets, Spec, arrange, hold, layer

WIDTH_PX, HEIGHT_PX = 560, 320


def draw_levels(sweep: MeasuredSweep) -> Spec:
    """The levels joined in order; lines: 95% intervals in both directions."""
    datasets: Datasets = {}
    data = hold(_list_points(sweep), datasets=datasets)
    x = alt.X(
        "tokens:Q",
        title="mean tokens that samples took",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format=",~r", tickCount=5, labelOverlap=True),
    )
    y = alt.Y(
        "accuracy:Q",
        title="accuracy at the cap",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format="~%", tickCount=6),
    )
    base = alt.Chart(data).encode(x=x, y=y, color=_colour([each.name for each in sweep.levels]))
    tooltip = [
        alt.Tooltip("level:N"),
        alt.Tooltip("verdict:N"),
        alt.Tooltip("tokens:Q", title="mean tokens", format=",.1f"),
        alt.Tooltip("accuracy:Q", format=".1%"),
    ]
    layers = [
        alt.Chart(data)
        .mark_line(color=FAINT, strokeDash=[4, 3], strokeWidth=1.2)
        .encode(x=x, y=y, order=alt.Order("order:Q")),
        base.mark_rule(opacity=0.55).encode(x=alt.X("tokens_low:Q"), x2=alt.X2("tokens_high:Q")),
        base.mark_rule(opacity=0.55).encode(
            y=alt.Y("accuracy_low:Q"), y2=alt.Y2("accuracy_high:Q")
        ),
        base.mark_point(size=95, filled=True, opacity=1).encode(tooltip=tooltip),
    ]
    chart = layer(*layers, width=WIDTH_PX, height=HEIGHT_PX)
    return arrange([chart], shared=("color",), datasets=datasets)


def _list_points(sweep: MeasuredSweep) -> list[ChartRow]:
    places = zip(sweep.front.points, sweep.adherence.levels, strict=True)
    return [
        {
            "level": level.name,
            "order": place,
            "verdict": str(level.verdict),
            "tokens": defined(level.tokens.estimate),
            "tokens_low": defined(level.tokens.low),
            "tokens_high": defined(level.tokens.high),
            "accuracy": defined(point.accuracy.estimate),
            "accuracy_low": defined(point.accuracy.low),
            "accuracy_high": defined(point.accuracy.high),
        }
        for place, (point, level) in enumerate(places)
    ]


def _colour(names: Sequence[str]) -> alt.Color:
    return alt.Color(
        "level:N",
        scale=alt.Scale(domain=names, range=[MANY[at % len(MANY)] for at in range(len(names))]),
        sort=names,
        legend=alt.Legend(title=None, orient="top", columns=3, symbolType="circle"),
    )
