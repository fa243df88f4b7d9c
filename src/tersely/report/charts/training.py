"""The altair chart of a training run: its step log over steps, with stages and alarms."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt

from tersely.core.types import AlarmRecord
from tersely.dynamics.alarms import Alarm
from tersely.dynamics.log import StepLog
from tersely.dynamics.stages import Stages
from tersely.metrics.numbers import defined
from tersely.report.charts.style import (
    ALARM,
    EVALUATION,
    FAINT,
    PANEL_PX,
    RIGHT_WRONG,
    SERIES,
    STAGE_ONE,
    STAGE_TWO,
    ChartRow,
    Datasets,
    Spec,
    arrange,
    colour_by,
    hold,
    layer,
)

PANEL_HEIGHT_PX = 190
SMOOTH_FROM_STEPS = 40
# A background narrower than this part of the picture has no room for its name.
NAMED_SHARE = 0.27


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
        "Accuracy (share of rollouts)",
        ".0%",
        {"accuracy": "accuracy"},
        from_zero=False,
        evaluation="accuracy",
    ),
    Panel(
        "Parts of the rollout length (tokens)",
        "~s",
        {
            "thinking": "thinking_tokens_mean",
            "reply": "reply_tokens_mean",
            "after the first right answer": "after_right_tokens_mean",
        },
    ),
    Panel("Rewards above 0 (share of rollouts)", ".0%", {"reward > 0": "positive_share"}),
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
# What alarms read besides, for a page that has nothing but the log.
MORE_PANELS = (
    Panel("Mean reward", ".3~g", {"reward": "reward_mean"}, from_zero=False),
    Panel(
        "Prompts solved at least once, rollouts that loop (share)",
        ".0%",
        {"solved at least once": "solved_share", "loops": "looping_share"},
    ),
    Panel("Sampler against learner (nats per token)", ".3~g", {"mismatch": "sampler_mismatch"}),
    Panel("Loss", ".3~g", {"loss": "loss"}, from_zero=False),
)


def draw_training(
    log: StepLog,
    *,
    stages: Stages,
    evaluations: Sequence[EvalPoint],
    alarms: Sequence[AlarmRecord | Alarm] = (),
    panels: Sequence[Panel] = PANELS,
) -> Spec:
    """Small multiples over training steps, stages shaded, evaluations as diamonds, alarms as lines.

    A panel whose every value is undefined is left out.
    """
    datasets: Datasets = {}
    drawn = [*log.step_N.astype(int).tolist(), *(p.step for p in evaluations)]
    domain = (min(drawn), max(drawn))
    # Named together where their names would lie on one another.
    marks = gather_alarms(alarms, apart_steps=(domain[1] - domain[0]) / 25)
    charts = [
        _training_panel(
            panel, log, evaluations, stages=stages, domain=domain, marks=marks, datasets=datasets
        )
        for panel in panels
        if _overlaid(panel, evaluations)
        or any(log.get(field) is not None for field in panel.fields.values())
    ]
    return arrange(charts, shared=("x",), datasets=datasets)


def _training_panel(
    panel: Panel,
    log: StepLog,
    evaluations: Sequence[EvalPoint],
    *,
    stages: Stages,
    domain: tuple[int, int],
    marks: list[ChartRow],
    datasets: Datasets,
) -> Spec:
    # A log that lacks a column has no place for it in the legend.
    colours = {
        label: colour
        for (label, field), colour in zip(panel.fields.items(), SERIES, strict=False)
        if field in log.columns
    }
    colours |= {label: colour for label, colour in RIGHT_WRONG.items() if label in colours}
    overlaid = _overlaid(panel, evaluations)
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
        *_lines(_read_fields(panel, log), x, y, colour, steps=log.step_N.size, datasets=datasets),
    ]
    layers += _mark_alarms(marks, x, datasets=datasets)
    if overlaid:
        layers.append(
            _evaluation_marks(evaluations, str(panel.evaluation), x, y, colour, datasets=datasets)
        )
    return layer(*layers, title=panel.title, width=PANEL_PX, height=PANEL_HEIGHT_PX)


def _overlaid(panel: Panel, evaluations: Sequence[EvalPoint]) -> bool:
    """Whether an evaluation has a mark in this panel."""
    field = panel.evaluation
    return field is not None and any(math.isfinite(getattr(p, field)) for p in evaluations)


def _read_fields(panel: Panel, log: StepLog) -> list[ChartRow]:
    return [
        {"step": int(step), "series": label, "value": defined(float(value))}
        for label, field in panel.fields.items()
        if field in log.columns
        for step, value in zip(log.step_N, log.columns[field], strict=True)
    ]


def _lines(
    rows: list[ChartRow], x: alt.X, y: alt.Y, colour: alt.Color, *, steps: int, datasets: Datasets
) -> list[alt.Chart]:
    """The raw series; from 40 steps on, thin, under its centred moving average."""
    raw = alt.Chart(hold(rows, datasets=datasets)).encode(
        x=x,
        y=y,
        color=colour,
        tooltip=[
            alt.Tooltip("series:N"),
            alt.Tooltip("step:Q"),
            alt.Tooltip("value:Q", format=".4~g"),
        ],
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
        x=x,
        y=y,
        color=colour,
        tooltip=[alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".4~g")],
    )
    return drawn


def gather_alarms(alarms: Sequence[AlarmRecord | Alarm], *, apart_steps: float) -> list[ChartRow]:
    """One mark for all alarms that lie closer than so many steps to the first of them."""
    rows: list[ChartRow] = []
    for alarm in sorted(alarms, key=lambda alarm: alarm.step):
        if rows and alarm.step - rows[-1]["step"] < apart_steps:
            rows[-1]["alarm"] += f" · {alarm.name}"
        else:
            rows.append({"step": alarm.step, "alarm": alarm.name})
    for row in rows:
        first, *others = row["alarm"].split(" · ")
        row["label"] = f"{first} + {len(others)} more" if others else first
    return rows


def _mark_alarms(marks: list[ChartRow], x: alt.X, *, datasets: Datasets) -> list[alt.Chart]:
    """A dashed line at the step of each, with its name along it."""
    if not marks:
        return []
    base = alt.Chart(hold(marks, datasets=datasets)).encode(
        x=x, tooltip=[alt.Tooltip("alarm:N"), alt.Tooltip("step:Q", title="raised at step")]
    )
    # The tooltip names them all; the white behind keeps a label apart from the curves.
    place: dict[str, Any] = {
        "y": 0,
        "align": "right",
        "baseline": "bottom",
        "angle": 270,
        "dx": -20,
        "dy": -3,
        "fontSize": 10.5,
        "limit": PANEL_HEIGHT_PX - 25,
    }
    white: dict[str, Any] = {"color": "white", "stroke": "white", "strokeWidth": 4, "opacity": 0.8}
    return [
        base.mark_rule(color=ALARM, strokeDash=[6, 3], strokeWidth=1.5),
        *(
            base.mark_text(**place, **style).encode(text=alt.Text("label:N"))
            for style in (white, {"color": ALARM})
        ),
    ]


def _shade(stages: Stages, domain: tuple[int, int], *, datasets: Datasets) -> list[alt.Chart]:
    """Backgrounds of the two stages, named where there is room; none if a run has no stages."""
    if math.isnan(stages.stage_end_step):
        return []
    end = min(stages.stage_end_step, float(domain[1]))
    rows: list[ChartRow] = [{"from": domain[0], "to": end, "stage": "length adaptation"}]
    if end < domain[1]:
        rows.append({"from": end, "to": domain[1], "stage": "refinement"})
    for row in rows:
        wide = float(row["to"]) - float(row["from"]) >= NAMED_SHARE * (domain[1] - domain[0])
        row["name"] = row["stage"] if wide else ""
    colour = alt.Color(
        "stage:N",
        legend=None,
        scale=alt.Scale(domain=["length adaptation", "refinement"], range=[STAGE_ONE, STAGE_TWO]),
    )
    base = alt.Chart(hold(rows, datasets=datasets))
    shade = base.mark_rect(opacity=1).encode(
        x=alt.X("from:Q", title="training step"), x2=alt.X2("to:Q"), fill=colour
    )
    words = base.mark_text(y=0, align="left", baseline="top", dx=5, dy=4, fontSize=11, color=FAINT)
    return [shade, words.encode(x=alt.X("from:Q"), text=alt.Text("name:N"))]
