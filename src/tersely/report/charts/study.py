"""Charts of a study: training curves by arm, accuracy over budgets, effects against bounds."""

import json
import math
import textwrap

import altair as alt
import numpy as np

from tersely.flows.study.outcomes import ClaimOutcome, StudyOutcome
from tersely.metrics.numbers import defined
from tersely.metrics.verdicts import ClaimVerdict
from tersely.report.charts.figures import draw_bands
from tersely.report.charts.style import (
    INK,
    PAIR,
    PANEL_PX,
    ChartRow,
    Datasets,
    Spec,
    arrange,
    colour_by,
    hold,
    layer,
    scale_budgets,
)
from tersely.report.pages.html import Figure

# Okabe and Ito without yellow, then darker shades and others of their own.
ARMS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#332288",
    "#882255",
    "#117733",
    "#1f2328",
    "#999933",
    "#7a4b1e",
    "#aa3bff",
    "#00a0a0",
)
PANELS = {
    "tokens_mean": ("Rollout length (tokens)", "~s"),
    "accuracy": ("Accuracy in training (share)", ".0%"),
    "positive_share": ("Rewarded rollouts (share)", ".0%"),
    "entropy_mean": ("Policy entropy (nats per token)", ".2~g"),
}
VERDICTS = {
    ClaimVerdict.HOLDS: "#009e73",
    ClaimVerdict.FAILS: "#d55e00",
    ClaimVerdict.OPPOSITE: "#882255",
    ClaimVerdict.UNKNOWN: "#8a8f98",
}
SMOOTH_STEPS = 7
# A claim's name of more characters goes into several lines.
LINE_CHARACTERS, LINE_PX = 66, 14
# Shares of rewarded rollouts: logarithmic above the first, linear below it.
SPARSE = 0.01
SHARES = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
UNITS = {
    "pp": "percentage points",
    "%": "percent",
    "tokens": "tokens",
    "nats": "nats",
}


def draw_figures(outcome: StudyOutcome) -> list[Figure]:
    """All charts of a study."""
    seeds = max((arm.seeds for arm in outcome.arms), default=0)
    figures = [
        Figure(
            f"{outcome.name}-effects",
            "Effects and bounds",
            "Dots: effects with 95% intervals over seeds and held-out problems. Black ticks: the "
            "bounds that the claims set. Colour: the verdict.",
            draw_forest(outcome),
        )
    ]
    if any(arm.seeds for arm in outcome.arms):
        figures += [
            Figure(
                f"{outcome.name}-curves",
                "Training curves",
                f"Means over {_count_seeds(seeds)} and {SMOOTH_STEPS} steps.",
                draw_curves(outcome),
            ),
            Figure(
                f"{outcome.name}-budgets",
                "Held-out accuracy at token budgets",
                "Protocol finished: correct, ended by itself, tokens within the budget. Bands: 95% "
                "intervals over seeds and problems.",
                draw_budgets(outcome),
            ),
        ]
    if any(math.isfinite(arm.rewarded.estimate) for arm in outcome.arms):
        figures.append(
            Figure(
                f"{outcome.name}-doses",
                "What was lost or won, by how many rollouts were rewarded at first",
                "One dot an arm that was trained by RL. Across: share of rollouts with a positive "
                "reward in the first 5% of steps. Up: held-out accuracy at the cap, the end minus "
                "the start. Lines: 95% intervals over seeds and problems.",
                draw_doses(outcome),
            )
        )
    return figures


def _count_seeds(most: int) -> str:
    return "one seed" if most == 1 else f"up to {most} seeds"


def arm_colours(outcome: StudyOutcome) -> dict[str, str]:
    """A colour an arm, the same in every chart."""
    return {arm.name: ARMS[at % len(ARMS)] for at, arm in enumerate(outcome.arms)}


def draw_curves(outcome: StudyOutcome) -> Spec:
    """Length, accuracy, rewarded share and entropy over the steps."""
    datasets: Datasets = {}
    drawn = {arm.name for arm in outcome.arms if arm.curves}
    colours = {arm: colour for arm, colour in arm_colours(outcome).items() if arm in drawn}
    charts = []
    for column, (title, axis_format) in PANELS.items():
        rows: list[ChartRow] = [
            {"step": step, "arm": arm.name, "value": defined(value)}
            for arm in outcome.arms
            if column in arm.curves
            for step, value in enumerate(_smooth(arm.curves[column]).tolist())
        ]
        chart = alt.Chart(hold(rows, datasets=datasets), title=title, width=PANEL_PX, height=230)
        charts.append(
            chart.mark_line(strokeWidth=2, opacity=0.9).encode(
                x=alt.X("step:Q", title="training step", axis=alt.Axis(grid=False)),
                y=alt.Y("value:Q", title=None, axis=alt.Axis(format=axis_format, tickCount=5)),
                color=colour_by("arm", colours),
                tooltip=[
                    alt.Tooltip("arm:N"),
                    alt.Tooltip("step:Q"),
                    alt.Tooltip("value:Q", format=".3~g"),
                ],
            )
        )
    return arrange(charts, shared=("color",), datasets=datasets)


def _smooth(values_N: np.ndarray) -> np.ndarray:
    """Centred means of the values there are, shorter at the ends."""
    half = SMOOTH_STEPS // 2
    parts = [values_N[max(0, at - half) : at + half + 1] for at in range(len(values_N))]
    return np.array([np.nanmean(p) if np.isfinite(p).any() else np.nan for p in parts])


def draw_budgets(outcome: StudyOutcome) -> Spec:
    """Accuracy within each budget at the end, and of the base model."""
    datasets: Datasets = {}
    budgets = outcome.budgets_B.tolist()
    series = {"base model": outcome.base_accuracy_B}
    series |= {arm.name: arm.accuracy_B for arm in outcome.arms if arm.seeds}
    rows: list[ChartRow] = [
        {
            "budget": budget,
            "series": name,
            "estimate": defined(effect.estimate),
            "low": defined(effect.low),
            "high": defined(effect.high),
        }
        for name, effects in series.items()
        for budget, effect in zip(budgets, effects, strict=True)
    ]
    chart = draw_bands(
        rows,
        scale_budgets(budgets),
        title="accuracy within the budget",
        axis=alt.Axis(format="~%", tickCount=6),
        colours={"base model": PAIR[0], **arm_colours(outcome)},
        datasets=datasets,
    )
    chart |= {"width": 2 * PANEL_PX, "height": 330}
    return arrange([chart], shared=(), datasets=datasets)


def draw_doses(outcome: StudyOutcome) -> Spec:
    """The change of accuracy against the share of rollouts that was rewarded at first."""
    datasets: Datasets = {}
    rows: list[ChartRow] = [
        {
            "arm": arm.name,
            "rewarded": defined(arm.rewarded.estimate),
            "change": defined(100 * arm.change.estimate),
            "low": defined(100 * arm.change.low),
            "high": defined(100 * arm.change.high),
        }
        for arm in outcome.arms
        if math.isfinite(arm.rewarded.estimate)
    ]
    drawn = {row["arm"] for row in rows}
    colours = {arm: colour for arm, colour in arm_colours(outcome).items() if arm in drawn}
    data = hold(rows, datasets=datasets)
    x = alt.X(
        "rewarded:Q",
        title="rollouts rewarded at first (share)",
        scale=alt.Scale(type="symlog", constant=SPARSE, domain=[0, 1]),
        axis=alt.Axis(format="~%", values=list(SHARES), grid=False),
    )
    y = alt.Y("change:Q", title="change of accuracy at the cap (percentage points)")
    base = alt.Chart(data).encode(x=x, color=colour_by("arm", colours))
    chart = layer(
        alt.Chart(hold([{"change": 0.0}], datasets=datasets)).mark_rule(color=INK).encode(y=y),
        base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
        base.mark_circle(size=80, opacity=1).encode(
            y=y,
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("rewarded:Q", format=".2~%", title="rewarded at first"),
                alt.Tooltip("change:Q", format="+.1f", title="change (pp)"),
            ],
        ),
        width=2 * PANEL_PX,
        height=330,
    )
    return arrange([chart], shared=(), datasets=datasets)


def draw_forest(outcome: StudyOutcome) -> Spec:
    """One row a claim, one panel a unit."""
    datasets: Datasets = {}
    units = list(dict.fromkeys(claim.unit for claim in outcome.claims))
    panels = [
        _forest([c for c in outcome.claims if c.unit == unit], unit, datasets=datasets)
        for unit in units
    ]
    spec = arrange(panels, shared=("color",), datasets=datasets)
    return spec | {"columns": 1}


def _forest(claims: list[ClaimOutcome], unit: str, *, datasets: Datasets) -> Spec:
    scale = 100 if unit in ("pp", "%") else 1
    order = [claim.says for claim in claims]
    rows: list[ChartRow] = [
        {
            "claim": claim.says,
            "estimate": defined(scale * claim.effect.estimate),
            "low": defined(scale * claim.effect.low),
            "high": defined(scale * claim.effect.high),
            "verdict": claim.verdict.value,
            "expected": claim.expected,
        }
        for claim in claims
    ]
    bounds: list[ChartRow] = [
        {"claim": claim.says, "bound": scale * sign * claim.bound}
        for claim in claims
        for sign in ((1, -1) if claim.expected.startswith("within") else (1,))
    ]
    y = alt.Y("claim:N", sort=order, title=None, axis=_name_claims(order))
    height_px = len(claims) * (22 if max(map(len, order)) <= LINE_CHARACTERS else 2 + 2 * LINE_PX)
    base = alt.Chart(hold(rows, datasets=datasets), width=PANEL_PX, height=height_px).encode(
        y=y, color=colour_by("verdict", {v.value: c for v, c in VERDICTS.items()})
    )
    x = alt.X("estimate:Q", title=f"effect ({UNITS[unit]})", scale=alt.Scale(zero=True))
    tips = [alt.Tooltip(name) for name in ("claim:N", "verdict:N", "expected:N")]
    ticks = alt.Chart(hold(bounds, datasets=datasets)).mark_tick(color=INK, thickness=2, size=16)
    return layer(
        base.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q")),
        base.mark_circle(size=70, opacity=1).encode(x=x, tooltip=tips),
        ticks.encode(x=alt.X("bound:Q"), y=y),
    )


def _name_claims(names: list[str]) -> alt.Axis:
    """The axis of claims: a long name stands in several lines around its row's middle."""
    lines = {name: _wrapped(name) for name in names}
    raised_px = {name: -LINE_PX * (len(parts) - 1) / 2 for name, parts in lines.items()}
    return alt.Axis(
        labelLimit=430,
        grid=True,
        ticks=False,
        labelExpr=f"{json.dumps(lines)}[datum.label]",
        labelLineHeight=LINE_PX,
        # An expression of the label can stand in a condition only.
        labelOffset={
            "condition": {"test": "true", "expr": f"{json.dumps(raised_px)}[datum.value]"},
            "value": 0,
        },
    )


def _wrapped(name: str) -> list[str]:
    """The name in as few lines as it takes, none of them a single word if that can be."""
    count = math.ceil(len(name) / LINE_CHARACTERS)
    return textwrap.wrap(name, min(LINE_CHARACTERS, len(name) // count + 10))
