"""Colours that survive colour-blindness and grey print, and one look for every chart.

Palette: Okabe and Ito; the reference series of a pair is grey.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

INK = "#1f2328"
FAINT = "#6b7280"
BEFORE_AFTER = {"before": "#8a8f98", "after": "#0072b2"}
DIFFERENCE = "#0072b2"
RIGHT_WRONG = {"correct": "#009e73", "wrong": "#d55e00"}
SERIES = ("#0072b2", "#cc79a7", "#56b4e9")
EVALUATION = "#1f2328"
STAGE_ONE = "#e8f1f8"
STAGE_TWO = "#faf6ec"
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
        "offset": 6,
        "padding": 0,
    },
}
Datasets = dict[str, list[dict[str, Any]]]


def hold(rows: list[dict[str, Any]], *, datasets: Datasets) -> alt.NamedData:
    """Puts rows into ``datasets`` and names them there.

    Altair copies and checks inline rows once a layer, which takes half a minute for a long run.
    """
    name = f"data-{len(datasets)}"
    datasets[name] = rows
    return alt.NamedData(name=name)


def arrange(charts: Sequence[Any], *, shared: Sequence[str], datasets: Datasets) -> dict[str, Any]:
    """Two charts a row as one Vega-Lite specification, with our look and their data.

    ``shared`` names the channels (x, y, color) whose scale all charts have in common.
    """
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/{alt.SCHEMA_VERSION}.json",
        "config": CONFIG,
        "columns": 2,
        "spacing": {"row": 34, "column": 46},
        "concat": [c.to_dict(validate=False, context={"top_level": False}) for c in charts],
        "resolve": {
            "scale": {
                channel: "shared" if channel in shared else "independent"
                for channel in ("x", "y", "color")
            }
        },
        "datasets": datasets,
    }
