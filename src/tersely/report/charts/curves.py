"""Charts of one evaluation, and of two side by side, over budgets, tries and lengths."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import altair as alt

from tersely.metrics.changes import ProblemChange
from tersely.metrics.comparison import Comparison
from tersely.metrics.intervals import Interval
from tersely.metrics.lengths import Among, LengthSummary
from tersely.metrics.measures import Evaluation
from tersely.metrics.numbers import defined
from tersely.report.charts.figures import draw_bands, draw_difference_bands
from tersely.report.charts.style import (
    ALL_OF,
    ANY_OF,
    INK,
    LOST_WON,
    PAIR,
    PANEL_PX,
    RIGHT_WRONG,
    SERIES,
    ChartRow,
    Datasets,
    Spec,
    arrange,
    colour_by,
    hold,
    layer,
    scale_budgets,
    shades,
)
from tersely.report.tables.comparison import most_tries, name_mean
from tersely.report.tables.words import label, name_axis, name_counted

HEIGHT_PX = 270
DOTS = 2000
AMONG = {"all": INK, **RIGHT_WRONG, "truncated": "#cc79a7"}


def draw_accuracy(evaluation: Evaluation) -> Spec:
    """Accuracy over budgets with its band; beside it what k tries give, any of them or all."""
    datasets: Datasets = {}
    x = scale_budgets(evaluation.budgets, counted=name_axis(evaluation.budget_of))
    rows = [
        _point(budget, "accuracy", evaluation.value("accuracy", budget))
        for budget in evaluation.budgets
    ]
    left = draw_bands(
        rows,
        x,
        title="accuracy within the budget",
        axis=alt.Axis(format="~%", tickCount=6),
        colours={"accuracy": PAIR[1]},
        datasets=datasets,
        counted=name_counted(evaluation.budget_of),
    )
    fan = _draw_fan(evaluation, x, datasets=datasets)
    return arrange([left] if fan is None else [left, fan], shared=(), datasets=datasets)


def draw_lengths(lengths: Sequence[LengthSummary], *, hits_P: Sequence[tuple[int, int]]) -> Spec:
    """How long completions are by correctness; beside it how many problems have how many hits.

    Args:
        hits_P: hits and graded samples of each problem.
    """
    datasets: Datasets = {}
    whole = [summary for summary in lengths if summary.among in tuple(Among)]
    rows = [row for summary in whole for row in _steps(summary, summary.among.value)]
    present = {row["series"] for row in rows}
    colours = {name: colour for name, colour in AMONG.items() if name in present}
    panels: list[Spec | alt.Chart] = [_draw_cdf(rows, title="", colours=colours, datasets=datasets)]
    if hits_P:
        panels.append(_draw_hits(hits_P, datasets=datasets))
    return arrange(panels, shared=(), datasets=datasets)


def draw_repeats(comparison: Comparison, *, names: tuple[str, str]) -> Spec:
    """Pass@k over budgets for both; beside it its difference next to that of Mean@k."""
    datasets: Datasets = {}
    x = scale_budgets(comparison.budgets, counted=name_axis(comparison.budget_of))
    passed, mean = f"pass@{most_tries(comparison)}", name_mean(comparison)
    left = draw_bands(
        [
            _point(budget, name, value)
            for budget in comparison.budgets
            for name, value in zip(names, comparison.find(passed, budget)[3:5], strict=True)
        ],
        x,
        title=f"{label(passed)} within the budget",
        axis=alt.Axis(format="~%", tickCount=6),
        colours=dict(zip(names, PAIR, strict=True)),
        datasets=datasets,
        counted=name_counted(comparison.budget_of),
    )
    right = draw_difference_bands(
        [
            _point(budget, label(name), comparison.find(name, budget).difference)
            for name in (mean, passed)
            for budget in comparison.budgets
        ],
        x,
        title="difference (percentage points)",
        colours={label(mean): SERIES[0], label(passed): RIGHT_WRONG["wrong"]},
        datasets=datasets,
        counted=name_counted(comparison.budget_of),
    )
    return arrange([left, right], shared=("x",), datasets=datasets)


def draw_both_lengths(
    before: Mapping[Among, LengthSummary],
    after: Mapping[Among, LengthSummary],
    *,
    names: tuple[str, str],
) -> Spec:
    """Lengths of correct and of wrong samples, before and after."""
    datasets: Datasets = {}
    panels = []
    for among in (Among.CORRECT, Among.WRONG):
        rows = [
            row
            for name, side in zip(names, (before, after), strict=True)
            for row in _steps(side[among], name)
        ]
        colours = dict(zip(names, PAIR, strict=True))
        title = f"{among.value.capitalize()} samples"
        panels.append(_draw_cdf(rows, title=title, colours=colours, datasets=datasets))
    return arrange(panels, shared=("y",), datasets=datasets)


def draw_problems(changes: Sequence[ProblemChange], *, names: tuple[str, str]) -> Spec:
    """Each problem's mean tokens, before against after, and its share of hits likewise."""
    datasets: Datasets = {}
    rows: list[ChartRow] = [
        {
            "problem": f"{c.benchmark}/{c.problem}",
            "tokens_before": defined(c.tokens_before),
            "tokens_after": defined(c.tokens_after),
            "kind": _name_kind(c),
        }
        for place, c in enumerate(changes)
        if c.tokens_before > 0 and c.tokens_after > 0
        if c.lost or c.won or place % thin(changes) == 0
    ]
    return arrange(
        [
            _draw_tokens(rows, names=names, datasets=datasets),
            _draw_hit_pairs(changes, names=names, datasets=datasets),
        ],
        shared=(),
        datasets=datasets,
    )


def thin(changes: Sequence[ProblemChange]) -> int:
    """Of how many problems neither lost nor won one is drawn, so that a browser can draw them."""
    return math.ceil(len(changes) / DOTS) or 1


def _point(budget: int, series: str, interval: Interval) -> ChartRow:
    return {
        "budget": budget,
        "series": series,
        "estimate": defined(interval.estimate),
        "low": defined(interval.low),
        "high": defined(interval.high),
    }


def _draw_fan(evaluation: Evaluation, x: alt.X, *, datasets: Datasets) -> Spec | None:
    """Pass@k above accuracy, Pass^k below it; None if there is one try a problem."""
    ks = [k for k in evaluation.ks if k > 1]
    if not ks:
        return None
    blues, reds = shades(ANY_OF, count=len(ks)), shades(ALL_OF, count=len(ks))
    any_of = dict(zip((f"pass@{k}" for k in reversed(ks)), blues, strict=True))
    all_of = dict(zip((f"pass^{k}" for k in ks), reds, strict=True))
    colours = {**any_of, "accuracy": INK, **all_of}
    shown = {name: "1 try" if name == "accuracy" else label(name) for name in colours}
    rows = [
        {**_point(budget, shown[name], evaluation.value(name, budget)), "order": order}
        for order, name in enumerate(colours)
        for budget in evaluation.budgets
    ]
    base = alt.Chart(hold(rows, datasets=datasets), width=PANEL_PX, height=HEIGHT_PX).encode(
        x=x,
        y=alt.Y("estimate:Q", title="chance within the budget", axis=alt.Axis(format="~%")),
        color=alt.Color(
            "series:N",
            sort=None,
            scale=alt.Scale(domain=list(shown.values()), range=list(colours.values())),
            legend=alt.Legend(
                title=None, orient="top", columns=4, symbolType="circle", symbolOpacity=1
            ),
        ),
        tooltip=_tooltip("figure", counted=name_counted(evaluation.budget_of)),
    )
    return layer(base.mark_line(strokeWidth=2), base.mark_circle(size=40, opacity=1))


def _steps(summary: LengthSummary, series: str) -> list[ChartRow]:
    """The distribution function from where it leaves 0."""
    if not summary.n_samples:
        return []
    return [
        {"tokens": tokens, "share": share, "series": series}
        for tokens, share in zip(summary.grid_X.tolist(), summary.cdf_X.tolist(), strict=True)
    ]


def _draw_cdf(
    rows: list[ChartRow], *, title: str, colours: Mapping[str, str], datasets: Datasets
) -> Spec:
    started = min((row["tokens"] for row in rows if row["share"] > 0), default=1.0)
    first = max((row["tokens"] for row in rows if row["tokens"] < started), default=1.0)
    last = max([2 * first, *(row["tokens"] for row in rows)])
    kept = [row for row in rows if row["tokens"] >= first]
    base = alt.Chart(
        hold(kept, datasets=datasets), width=PANEL_PX, height=HEIGHT_PX, title=title
    ).encode(
        x=alt.X(
            "tokens:Q",
            title="completion length (tokens, log scale)",
            scale=alt.Scale(type="log", base=2, domain=[first, last], nice=False),
            axis=alt.Axis(format=",d", grid=False, labelOverlap=True, tickCount=6),
        ),
        y=alt.Y(
            "share:Q",
            title="share with at most that length",
            axis=alt.Axis(format="~%", tickCount=6),
            scale=alt.Scale(domain=[0, 1]),
        ),
        color=colour_by("series", colours),
        tooltip=[
            alt.Tooltip("series:N", title="samples"),
            alt.Tooltip("tokens:Q", title="at most (tokens)", format=",.0f"),
            alt.Tooltip("share:Q", title="share", format=".1%"),
        ],
    )
    return layer(base.mark_line(strokeWidth=2.2), base.mark_circle(size=60, opacity=0))


def _draw_hits(hits_P: Sequence[tuple[int, int]], *, datasets: Datasets) -> alt.Chart:
    most = max((tries for _, tries in hits_P), default=0)
    full = [hits for hits, tries in hits_P if tries == most]
    rows: list[ChartRow] = [
        {"hits": hits, "problems": full.count(hits)} for hits in range(most + 1)
    ]
    chart = alt.Chart(hold(rows, datasets=datasets), width=PANEL_PX, height=HEIGHT_PX)
    drawn: alt.Chart = chart.mark_bar(color=PAIR[1], opacity=0.75).encode(
        x=alt.X(
            "hits:O",
            title=f"samples of {most} that are right within the largest budget",
            axis=alt.Axis(labelAngle=0, labelOverlap=True),
        ),
        y=alt.Y("problems:Q", title="problems", axis=alt.Axis(tickMinStep=1, tickCount=6)),
        tooltip=[alt.Tooltip("hits:O"), alt.Tooltip("problems:Q", format=",d")],
    )
    return drawn


def _draw_tokens(rows: list[ChartRow], *, names: tuple[str, str], datasets: Datasets) -> Spec:
    values = [row[side] for row in rows for side in ("tokens_before", "tokens_after")]
    lowest = min(values, default=1.0)
    domain = [lowest, max([1.1 * lowest, *values])]
    scale = alt.Scale(type="log", base=2, domain=domain, nice=False)
    axis = alt.Axis(format=",d", labelOverlap=True, tickCount=6)
    diagonal = alt.Chart(
        hold([{"tokens_before": v, "tokens_after": v} for v in domain], datasets=datasets)
    ).mark_line(color=INK, strokeDash=[4, 3], strokeWidth=1)
    dots = alt.Chart(hold(rows, datasets=datasets)).mark_circle(size=34, opacity=0.75)
    drawn = dots.encode(
        color=colour_by("kind", LOST_WON),
        tooltip=[
            alt.Tooltip("problem:N"),
            alt.Tooltip("tokens_before:Q", title=f"{names[0]} (tokens)", format=",.1f"),
            alt.Tooltip("tokens_after:Q", title=f"{names[1]} (tokens)", format=",.1f"),
        ],
    )
    x = alt.X("tokens_before:Q", title=f"mean tokens, {names[0]}", scale=scale, axis=axis)
    y = alt.Y("tokens_after:Q", title=f"mean tokens, {names[1]}", scale=scale, axis=axis)
    layers = [layer.encode(x=x, y=y) for layer in (diagonal, drawn)]
    return layer(*layers, width=PANEL_PX, height=HEIGHT_PX + 60)


def _draw_hit_pairs(
    changes: Sequence[ProblemChange], *, names: tuple[str, str], datasets: Datasets
) -> alt.Chart:
    rows = _count_hit_pairs(changes)
    most = max((max(row["before"], row["after"]) for row in rows), default=1)
    largest = max((row["problems"] for row in rows), default=1)
    scale = alt.Scale(domain=[-0.5, most + 0.5], nice=False)
    axis = alt.Axis(tickMinStep=1, format="d", tickCount=min(most + 1, 9))
    legend = alt.Legend(
        title="problems",
        orient="bottom",
        direction="horizontal",
        values=sorted({1, math.ceil(largest / 4), largest}),
        symbolFillColor=LOST_WON["neither"],
        symbolStrokeWidth=0,
    )
    chart = alt.Chart(hold(rows, datasets=datasets), width=PANEL_PX, height=HEIGHT_PX + 60)
    drawn: alt.Chart = chart.mark_circle(opacity=0.8).encode(
        x=alt.X("before:Q", title=f"right samples, {names[0]}", scale=scale, axis=axis),
        y=alt.Y("after:Q", title=f"right samples, {names[1]}", scale=scale, axis=axis),
        size=alt.Size("problems:Q", scale=alt.Scale(range=[20, 500]), legend=legend),
        color=colour_by("kind", LOST_WON),
        tooltip=[
            alt.Tooltip("before:Q", title=f"right, {names[0]}"),
            alt.Tooltip("after:Q", title=f"right, {names[1]}"),
            alt.Tooltip("problems:Q", format=",d"),
        ],
    )
    return drawn


def _count_hit_pairs(changes: Sequence[ProblemChange]) -> list[ChartRow]:
    """Problems graded on both sides, by how many of their samples are right before and after."""
    counts = Counter(
        (c.hits_before, c.hits_after, _name_kind(c))
        for c in changes
        if c.tries_before and c.tries_after
    )
    return [
        {"before": before, "after": after, "kind": kind, "problems": problems}
        for (before, after, kind), problems in sorted(counts.items())
    ]


def _name_kind(change: ProblemChange) -> str:
    return "lost" if change.lost else "won" if change.won else "neither"


def _tooltip(what: str, *, counted: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("series:N", title=what),
        alt.Tooltip("budget:Q", title=f"budget ({counted})", format=",d"),
        alt.Tooltip("estimate:Q", title="estimate", format=".1%"),
        alt.Tooltip("low:Q", title="95% interval from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"),
    ]
