"""Levels of effort over a training run: mean tokens and accuracy of each, one curve a level."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from tersely.metrics.efforts import LevelPoint
from tersely.metrics.intervals import Interval
from tersely.metrics.numbers import defined
from tersely.report.charts.style import (
    MANY,
    PANEL_PX,
    Datasets,
    Spec,
    arrange,
    colour_by,
    hold,
    layer,
)

HEIGHT_PX = 230


def draw_efforts(points: Sequence[LevelPoint]) -> Spec:
    """One line a level with its 95% bands; evaluations are the dots."""
    datasets: Datasets = {}
    levels = list(dict.fromkeys(point.level for point in points))
    colours = {level: MANY[at % len(MANY)] for at, level in enumerate(levels)}
    panels = (
        ("Mean tokens at each level", ",.0f", [_row(p, p.tokens) for p in points]),
        ("Accuracy at the cap at each level", ".0%", [_row(p, p.accuracy) for p in points]),
    )
    charts = [
        _panel(title, axis_format, rows, colours, datasets=datasets)
        for title, axis_format, rows in panels
    ]
    return arrange(charts, shared=("x", "color"), datasets=datasets)


def _row(point: LevelPoint, value: Interval) -> dict[str, Any]:
    return {
        "step": point.step,
        "level": point.level,
        "value": defined(value.estimate),
        "low": defined(value.low),
        "high": defined(value.high),
    }


def _panel(
    title: str,
    axis_format: str,
    rows: list[dict[str, Any]],
    colours: dict[str, str],
    *,
    datasets: Datasets,
) -> Any:
    x = alt.X("step:Q", title="training step", axis=alt.Axis(grid=False, format="d"))
    axis = alt.Axis(format=axis_format, tickCount=5)
    base = alt.Chart(hold(rows, datasets=datasets)).encode(x=x, color=colour_by("level", colours))
    y = alt.Y("value:Q", title=None, axis=axis)
    tooltip = [
        alt.Tooltip("level:N"),
        alt.Tooltip("step:Q"),
        alt.Tooltip("value:Q", format=axis_format),
    ]
    layers = [
        base.mark_area(opacity=0.13).encode(
            y=alt.Y("low:Q", title=None, axis=axis), y2=alt.Y2("high:Q")
        ),
        base.mark_line(strokeWidth=2).encode(y=y),
        base.mark_point(filled=True, size=55, opacity=1).encode(y=y, tooltip=tooltip),
    ]
    return layer(*layers, title=title, width=PANEL_PX, height=HEIGHT_PX)
