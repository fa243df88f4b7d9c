"""Altair charts of a comparison and of a training run, 1,060 px wide at most."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np

from tersely.core.types import StepRecord
from tersely.dynamics.stages import Stages
from tersely.metrics.comparison import Comparison, Measure
from tersely.metrics.intervals import Interval
from tersely.metrics.records import SampleTable
from tersely.report.style import (
    DIFFERENCE,
    EVALUATION,
    FAINT,
    INK,
    PAIR,
    PANEL_PX,
    RIGHT_WRONG,
    SERIES,
    STAGE_ONE,
    STAGE_TWO,
    Datasets,
    arrange,
    colour_by,
    defined,
    hold,
    scale_budgets,
)

BINS = 40
SMOOTH_FROM_STEPS = 40

Row = dict[str, Any]
Spec = dict[str, Any]
Layers = alt.LayerChart | alt.FacetChart


class EvalPoint(NamedTuple):
    """One evaluation during training: accuracy at the largest budget and mean tokens."""

    step: int
    accuracy: float
    tokens_mean: float


class Panel(NamedTuple):
    """One small multiple: step-record fields by label, and the field of ``EvalPoint`` over it."""

    title: str
    axis_format: str
    fields: Mapping[str, str]
    from_zero: bool = True
    evaluation: str | None = None


PANELS = (
    Panel(
        "Rollout length (tokens)",
        "~s",
        {
            "all": "tokens_mean",
            "correct": "correct_tokens_mean",
            "wrong": "wrong_tokens_mean",
        },
        evaluation="tokens_mean",
    ),
    Panel(
        "Accuracy and positive rewards (share of rollouts)",
        ".0%",
        {"accuracy": "accuracy", "reward > 0": "positive_share"},
        evaluation="accuracy",
    ),
    Panel("Policy entropy (nats per token)", ".3~g", {"entropy": "entropy_mean"}, from_zero=False),
    Panel(
        "Truncated rollouts and zero-signal groups (share)",
        ".0%",
        {"truncated rollouts": "truncated_share", "zero-signal groups": "zero_signal_share"},
    ),
    Panel("Gradient norm", ".3~g", {"gradient norm": "grad_norm"}),
    Panel(
        "Unparsed and ungraded rollouts (share)",
        ".1%",
        {"unparsed": "unparsed_share", "ungraded": "ungraded_share"},
    ),
    Panel("KL to the reference policy (nats per token)", ".3~g", {"KL": "kl_mean"}),
)


def draw_budget_curve(
    comparison: Comparison, *, names: tuple[str, str] = ("before", "after")
) -> Spec:
    """Accuracy within each budget, before and after, and their paired difference."""
    datasets: Datasets = {}
    measures = [m for m in comparison.measures if m.name == "accuracy"]
    x = scale_budgets(sorted({int(m.budget_tokens or 0) for m in measures}))
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
    )
    change = f"{names[1]} − {names[0]}"
    right = draw_difference_bands(
        [_band(m, change, m.difference) for m in measures],
        x,
        title="difference (percentage points)",
        colours={change: DIFFERENCE},
        datasets=datasets,
    )
    return arrange([left, right], shared=("x",), datasets=datasets)


def draw_bands(
    rows: list[Row],
    x: alt.X,
    *,
    title: str,
    axis: alt.Axis,
    colours: Mapping[str, str],
    datasets: Datasets,
) -> Layers:
    """Estimates over budgets as lines with dots, each with its 95% band."""
    base = alt.Chart(hold(rows, datasets=datasets), width=PANEL_PX, height=270).encode(
        x=x,
        color=colour_by("series", colours),
        tooltip=[
            alt.Tooltip("series:N", title="evaluation"),
            alt.Tooltip("budget:Q", title="budget (tokens)", format=",d"),
            alt.Tooltip("estimate:Q", title="estimate", format=".1%"),
            alt.Tooltip("low:Q", title="95% interval from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
        ],
    )
    band = base.mark_area(opacity=0.16).encode(
        y=alt.Y("low:Q", title=title, axis=axis), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=2.2).encode(y="estimate:Q")
    dots = base.mark_circle(size=55, opacity=1).encode(y="estimate:Q")
    return alt.layer(band, line, dots)


def draw_difference_bands(
    rows: list[Row], x: alt.X, *, title: str, colours: Mapping[str, str], datasets: Datasets
) -> Layers:
    """Differences of shares with their bands, over a dashed line at 0."""
    axis = alt.Axis(
        labelExpr="datum.value == 0 ? '0' : format(100 * datum.value, '+~g')", tickCount=6
    )
    bands = draw_bands(rows, x, title=title, axis=axis, colours=colours, datasets=datasets)
    zero = alt.Chart(hold([{"zero": 0}], datasets=datasets)).mark_rule(color=INK, strokeDash=[4, 3])
    return alt.layer(zero.encode(y="zero:Q"), bands)


def draw_length_histograms(before: SampleTable, after: SampleTable) -> Spec:
    """Share of graded samples by length, stacked by correctness, on shared axes."""
    datasets: Datasets = {}
    edges = np.linspace(0.0, float(before.cap_tokens), BINS + 1)
    panels = [
        _histogram(table, edges, title=title, datasets=datasets)
        for title, table in (("before", before), ("after", after))
    ]
    return arrange(panels, shared=("x", "y", "color"), datasets=datasets)


def draw_training(
    steps: Sequence[StepRecord], *, stages: Stages, evaluations: Sequence[EvalPoint]
) -> Spec:
    """Small multiples over training steps, stages shaded, evaluations as diamonds.

    A panel whose every value is undefined is left out.
    """
    datasets: Datasets = {}
    last_step = max(record.step for record in steps)
    first_step = min(record.step for record in steps)
    drawn = [first_step, last_step, *(p.step for p in evaluations)]
    domain = (min(drawn), max(drawn))
    charts = [
        _training_panel(panel, steps, evaluations, stages=stages, domain=domain, datasets=datasets)
        for panel in PANELS
        if any(math.isfinite(getattr(r, f)) for r in steps for f in panel.fields.values())
    ]
    return arrange(charts, shared=("x",), datasets=datasets)


def _band(measure: Measure, series: str, interval: Interval) -> Row:
    return {
        "budget": measure.budget_tokens,
        "series": series,
        "estimate": defined(interval.estimate),
        "low": defined(interval.low),
        "high": defined(interval.high),
    }


def _histogram(table: SampleTable, edges: np.ndarray, *, title: str, datasets: Datasets) -> Layers:
    graded = int(table.graded_PS.sum())
    rows: list[Row] = []
    means: list[Row] = []
    for name, among_PS in (("correct", table.correct_PS), ("wrong", ~table.correct_PS)):
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
        x2="high:Q",
        y=alt.Y("share:Q", title="share of samples", stack="zero", axis=alt.Axis(format="~%")),
        color=colour,
        tooltip=[
            alt.Tooltip("grade:N", title="grade"),
            alt.Tooltip("low:Q", title="from (tokens)", format=",.0f"),
            alt.Tooltip("high:Q", title="to (tokens)", format=",.0f"),
            alt.Tooltip("count:Q", title="samples", format=",d"),
        ],
    )
    return alt.layer(bars, _mark_means(means, colour, datasets=datasets))


def _mark_means(means: list[Row], colour: alt.Color, *, datasets: Datasets) -> alt.Chart:
    rules = alt.Chart(hold(means, datasets=datasets)).mark_rule(strokeWidth=2, strokeDash=[5, 3])
    drawn: alt.Chart = rules.encode(
        x="mean:Q",
        color=colour,
        tooltip=[
            alt.Tooltip("grade:N", title="grade"),
            alt.Tooltip("mean:Q", title="mean length (tokens)", format=",.1f"),
        ],
    )
    return drawn


def _training_panel(
    panel: Panel,
    steps: Sequence[StepRecord],
    evaluations: Sequence[EvalPoint],
    *,
    stages: Stages,
    domain: tuple[int, int],
    datasets: Datasets,
) -> Layers:
    colours = dict(zip(panel.fields, SERIES, strict=False))
    if "correct" in colours:
        colours |= RIGHT_WRONG
    overlaid = bool(panel.evaluation and evaluations)
    if overlaid:
        colours["evaluation ◆"] = EVALUATION
    colour = colour_by("series", colours)
    x = alt.X(
        "step:Q",
        title="training step",
        scale=alt.Scale(domain=list(domain), nice=False),
        axis=alt.Axis(grid=False, format="d", tickMinStep=1),
    )
    y = alt.Y(
        "value:Q",
        title=None,
        scale=alt.Scale(zero=panel.from_zero),
        axis=alt.Axis(format=panel.axis_format, tickCount=5),
    )
    layers = [
        *_shade(stages, domain, datasets=datasets),
        *_lines(_read_fields(panel, steps), x, y, colour, steps=len(steps), datasets=datasets),
    ]
    if overlaid:
        layers.append(
            _evaluation_marks(evaluations, str(panel.evaluation), x, y, colour, datasets=datasets)
        )
    return alt.layer(*layers, title=panel.title, width=PANEL_PX, height=190)


def _read_fields(panel: Panel, steps: Sequence[StepRecord]) -> list[Row]:
    return [
        {"step": r.step, "series": label, "value": defined(getattr(r, field))}
        for label, field in panel.fields.items()
        for r in steps
    ]


def _lines(
    rows: list[Row], x: alt.X, y: alt.Y, colour: alt.Color, *, steps: int, datasets: Datasets
) -> list[alt.Chart]:
    """The raw series; from 40 steps on, thin, under its centred moving average."""
    raw = alt.Chart(hold(rows, datasets=datasets)).encode(
        x=x,
        y=y,
        color=colour,
        tooltip=["series:N", alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".4~g")],
    )
    hover = raw.mark_circle(size=60, opacity=0)
    if steps < SMOOTH_FROM_STEPS:
        return [raw.mark_line(strokeWidth=2), hover]
    half = max(2, steps // 50)
    smooth = raw.transform_window(
        value="mean(value)", frame=[-half, half], groupby=["series"], sort=[{"field": "step"}]
    )
    return [
        raw.mark_line(strokeWidth=1, opacity=0.28),
        smooth.mark_line(strokeWidth=2.2),
        hover,
    ]


def _evaluation_marks(
    evaluations: Sequence[EvalPoint],
    field: str,
    x: alt.X,
    y: alt.Y,
    colour: alt.Color,
    *,
    datasets: Datasets,
) -> alt.Chart:
    rows = [
        {"step": p.step, "series": "evaluation ◆", "value": defined(getattr(p, field))}
        for p in evaluations
    ]
    marks = alt.Chart(hold(rows, datasets=datasets)).mark_point(
        shape="diamond", size=75, filled=True, opacity=1, stroke="white", strokeWidth=0.8
    )
    drawn: alt.Chart = marks.encode(
        x=x, y=y, color=colour, tooltip=["step:Q", alt.Tooltip("value:Q", format=".4~g")]
    )
    return drawn


def _shade(stages: Stages, domain: tuple[int, int], *, datasets: Datasets) -> list[alt.Chart]:
    """Backgrounds of the two stages; none if the run has no stages."""
    if math.isnan(stages.stage_end_step):
        return []
    end = min(stages.stage_end_step, float(domain[1]))
    rows: list[Row] = [{"from": domain[0], "to": end, "stage": "length adaptation"}]
    if end < domain[1]:
        rows.append({"from": end, "to": domain[1], "stage": "refinement"})
    colour = alt.Color(
        "stage:N",
        legend=None,
        scale=alt.Scale(domain=["length adaptation", "refinement"], range=[STAGE_ONE, STAGE_TWO]),
    )
    base = alt.Chart(hold(rows, datasets=datasets))
    shade = base.mark_rect(opacity=1).encode(
        x=alt.X("from:Q", title="training step"), x2="to:Q", fill=colour
    )
    words = base.mark_text(align="left", baseline="top", dx=5, dy=4, fontSize=11, color=FAINT)
    return [shade, words.encode(x="from:Q", y=alt.value(0), text="stage:N")]
