"""Colours that survive colour-blindness and grey print, and one look for every chart.

Palette: Okabe and Ito; the reference series of a pair is grey.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np

INK = "#1f2328"
FAINT = "#6b7280"
PAIR = ("#8a8f98", "#0072b2")
DIFFERENCE = "#0072b2"
RIGHT_WRONG = {"correct": "#009e73", "wrong": "#d55e00"}
SERIES = ("#0072b2", "#cc79a7", "#56b4e9")
# From the most to the fewest tries: dark to light blue above one try, light to dark red below.
ANY_OF = ("#08306b", "#08519c", "#2171b5", "#4292c6", "#6baed6", "#9ecae1")
ALL_OF = ("#fdae6b", "#fd8d3c", "#f16913", "#d94801", "#a63603", "#7f2704")
MANY = ("#1f2328", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8f98")
LOST_WON = {"lost": "#d55e00", "won": "#009e73", "neither": "#b8bcc4"}
PANEL_PX = 440
# Labels of more budgets than these do not fit side by side.
UPRIGHT = 6
EVALUATION = "#1f2328"
ALARM = "#b42318"
STAGE_ONE = "#e8f1f8"
STAGE_TWO = "#faf6ec"
SCHEMA = f"https://vega.github.io/schema/vega-lite/{alt.SCHEMA_VERSION}.json"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": "white",
    "padding": 2,
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12.5,
        "titleFontWeight": 500,
        "titlePadding": 9,
        "gridColor": "#e5e7eb",
        "domainColor": "#9ca3af",
        "tickColor": "#9ca3af",
    },
    "title": {"anchor": "start", "fontSize": 13.5, "fontWeight": 600, "color": INK, "offset": 8},
    "legend": {
        "labelFontSize": 12,
        "labelColor": INK,
        "symbolSize": 80,
        "labelLimit": 230,
        "offset": 6,
        "padding": 0,
    },
}
Datasets = dict[str, list[dict[str, Any]]]
Spec = dict[str, Any]
ChartRow = dict[str, Any]


def shades(colours: Sequence[str], *, count: int) -> list[str]:
    """So many of these colours, the first ones; where there are too few, as many steps from the
    first to the last."""
    if count <= len(colours):
        return list(colours[:count])
    channels = [[int(colour[at : at + 2], 16) for colour in colours] for at in (1, 3, 5)]
    places = np.linspace(0, len(colours) - 1, count)
    mixed = [np.interp(places, np.arange(len(colours)), channel) for channel in channels]
    return ["#" + "".join(f"{round(c):02x}" for c in colour) for colour in zip(*mixed, strict=True)]


def hold(rows: list[dict[str, Any]], *, datasets: Datasets) -> alt.NamedData:
    """Puts rows into ``datasets`` and names them there.

    Altair copies and checks inline rows once a layer, which takes half a minute for a long run.
    """
    name = f"data-{len(datasets)}"
    datasets[name] = rows
    return alt.NamedData(name=name)


def layer(*charts: alt.Chart | Spec, **properties: Any) -> Spec:
    """Charts over one another as one Vega-Lite specification, as wide and high as the first says.

    ``altair.layer`` copies every chart through and through four times.
    """
    layers = [_specify(chart) for chart in charts]
    size: Spec = {}
    for each in layers:
        size = {key: each.pop(key) for key in ("width", "height") if key in each} | size
    return {**size, **properties, "layer": layers}


def _specify(chart: alt.Chart | Spec) -> Spec:
    if isinstance(chart, dict):
        return chart
    spec: Spec = chart.to_dict(validate=False, context={"top_level": False})
    return spec


def arrange(
    charts: Sequence[alt.Chart | Spec], *, shared: Sequence[str], datasets: Datasets
) -> Spec:
    """Two charts a row as one Vega-Lite specification, with our look and their data.

    ``shared`` names the channels (x, y, color) whose scale all charts have in common.
    """
    return {
        "$schema": SCHEMA,
        "config": CONFIG,
        "columns": 2,
        "spacing": {"row": 34, "column": 46},
        "concat": [_specify(chart) for chart in charts],
        "resolve": {
            "scale": {
                channel: "shared" if channel in shared else "independent"
                for channel in ("x", "y", "color", "size")
            }
        },
        "datasets": datasets,
    }


def scale_budgets(budgets: Sequence[int], *, counted: str = "token") -> alt.X:
    """A logarithmic axis of budgets of what is ``counted``, with a tick at each."""
    ends = [budgets[0], budgets[-1]] if len(budgets) > 1 else [budgets[0] / 2, budgets[0] * 2]
    return alt.X(
        "budget:Q",
        title=f"{counted} budget (log scale)",
        scale=alt.Scale(type="log", base=2, domain=ends, nice=False),
        axis=_axis_of(budgets),
    )


def _axis_of(budgets: Sequence[int]) -> alt.Axis:
    """A tick at each budget; many labels stand aslant, so that none has to be left out."""
    apart = all(b >= 1.3 * a for a, b in pairwise(budgets))
    axis = alt.Axis(values=list(budgets), format=",d", grid=False, labelOverlap=True)
    if len(budgets) > UPRIGHT:
        axis.labelAngle, axis.labelAlign, axis.labelOverlap = -45, "right", not apart
    return axis


def colour_by(field: str, colours: Mapping[str, str]) -> alt.Color:
    """Colours by name, with a legend above the chart."""
    legend = alt.Legend(title=None, orient="top", symbolType="circle", symbolOpacity=1)
    return alt.Color(
        f"{field}:N",
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        legend=legend,
    )
