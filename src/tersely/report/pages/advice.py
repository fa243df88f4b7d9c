"""What to serve: as a page, in the terminal, as CSV and as JSON."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from tersely.core.storage import write_atomically
from tersely.flows.evaluate.advising import ServingAdvice
from tersely.metrics.between import RoutedBetween
from tersely.metrics.intervals import Interval
from tersely.report.charts.frontier import draw_frontier
from tersely.report.pages.html import Figure, Reader, Tile, render_page
from tersely.report.tables.advice import (
    tabulate_frontier,
    tabulate_needed,
    tabulate_routing,
    tabulate_targets,
    tell_gaps,
)
from tersely.report.tables.advised import conclude_advice
from tersely.report.tables.conclusions import warn_of_windows
from tersely.report.tables.matrices import Matrix
from tersely.report.tables.several import name_all
from tersely.report.tables.terminal import (
    FittedTable,
    draw_alarm,
    draw_finding,
    draw_notes,
    draw_text,
    draw_title,
)

PAGE_NAME, TERMINAL_NAME = 28, 18


class AdvicePage(NamedTuple):
    """Everything the page shows."""

    title: str
    summary: str
    alarms: Sequence[Sequence[str]]
    tiles: Sequence[Tile]
    findings: Sequence[str]
    notes: Sequence[str]
    figure: Figure
    frontier: Matrix
    targets: Matrix
    needed: Matrix
    routing: Matrix


class SettingRow(NamedTuple):
    """One setting as a line of CSV and an entry of JSON; an undefined number is empty.

    Args:
        change, ratio: accuracy less that of the reference, and cost as a multiple of its.
        judged: accuracy, judged on other problems, of the rule that finds this setting.
        cap_stated: False where no cap is stated and the longest sample stands for it.
    """

    evaluation: str
    cap_tokens: int
    votes: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    cost: float
    cost_low: float
    cost_high: float
    tokens: float
    seconds: float
    change: float
    change_low: float
    change_high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    on_frontier: bool
    judged: float
    judged_low: float
    judged_high: float
    agreement: float
    cap_stated: bool


def draw_advice(advice: ServingAdvice) -> RenderableType:
    """Sentences, the frontier, and what stated accuracies need."""
    names = name_all(advice.names, width=TERMINAL_NAME)
    parts: list[RenderableType] = []
    for alarm in _list_doubts(advice):
        parts += [draw_alarm(alarm), Text()]
    parts += [draw_title(f"What to serve · {', '.join(advice.names)}")]
    parts += [draw_finding(line) for line in conclude_advice(advice._replace(names=tuple(names)))]
    for title, table in (
        (f"Frontier: accuracy against {advice.axis.value}", tabulate_frontier(advice, names=names)),
        ("The cheapest way to an accuracy", tabulate_targets(advice, names=names)),
        ("What one vote needs for an accuracy", tabulate_needed(advice, names=names)),
        ("Where the tokens go", tabulate_routing(advice, names=names)),
    ):
        if table.rows:
            parts += [Text(), draw_title(title), FittedTable(table)]
            parts += [draw_text(table.caption, "dim")]
    return Group(*parts, *draw_notes(gather_notes(advice)))


def write_advice(advice: ServingAdvice, *, out: Path) -> Path:
    """Writes the page to the file ``out``, making its folder, and returns its path."""
    reader = Reader(sides=(), budgets=(), traces=(), filters=(), note="")
    text = render_page("advice.html.j2", build_page(advice), reader=reader, grid=None)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    return out


def build_page(advice: ServingAdvice) -> AdvicePage:
    """The advice, arranged as a page."""
    names = name_all(advice.names, width=PAGE_NAME)
    return AdvicePage(
        title=f"What to serve: {', '.join(advice.names)}",
        summary="Which cap, how many votes, which evaluation: accuracy against "
        f"{advice.axis.value}, from samples that are already there.",
        alarms=_list_doubts(advice),
        tiles=(),
        findings=conclude_advice(advice._replace(names=tuple(names))),
        notes=gather_notes(advice),
        figure=draw_figure(advice),
        frontier=tabulate_frontier(advice, names=names),
        targets=tabulate_targets(advice, names=names),
        needed=tabulate_needed(advice, names=names),
        routing=tabulate_routing(advice, names=names),
    )


def draw_figure(advice: ServingAdvice) -> Figure:
    """Accuracy against cost."""
    return Figure(
        "frontier",
        f"Accuracy against {advice.axis.value} (protocol finished)",
        "One dot a setting; larger dots are more votes. Up and to the left is better. Dashed: the "
        "frontier by the estimates, whose dots are ringed; lines: 95% intervals that hold for all "
        "settings at once. Hover over a dot for its figures.",
        draw_frontier(advice, names=name_all(advice.names, width=PAGE_NAME)),
    )


def gather_notes(advice: ServingAdvice) -> list[str]:
    """What could not be said, left out or inferred."""
    return [*tell_gaps(advice), *advice.notes]


def describe_advice(advice: ServingAdvice) -> dict[str, Any]:
    """Every figure, for ``--json``."""
    places = [row._asdict() for row in list_settings(advice)]
    return {
        "kind": "advice",
        "names": advice.names,
        "cost_in": advice.axis,
        "n_problems": advice.n_problems,
        "n_samples": advice.n_samples,
        "conclusions": conclude_advice(advice),
        "notes": gather_notes(advice),
        "settings": places,
        "targets": [
            {
                "accuracy": target.accuracy,
                "reached": target.best.met,
                "best": _describe_choice(advice, target.best.setting),
                "in_sample": target.best.in_sample,
                "judged": target.best.accuracy,
                "judged_cost": target.best.cost,
                "agreement": target.best.agreement,
                "rival": target.rival and _describe_choice(advice, target.rival.setting),
                "ratio": target.ratio,
            }
            for target in advice.targets
        ],
        "evaluations": {
            name: {
                "cap_tokens": side.cap_tokens if side.cap_stated else None,
                "needed": side.needed,
                "routed": side.routed,
            }
            for name, side in zip(advice.names, advice.sides, strict=True)
        },
        "router_between": advice.between and _describe_between(advice, advice.between),
    }


def _describe_between(advice: ServingAdvice, between: RoutedBetween) -> Mapping[str, Any]:
    return {
        "against": advice.names[between.best],
        "accuracy_of_it": between.unrouted,
        "same_samples": between.bound,
        "other_samples": between.held_out,
        "share_of_problems": dict(zip(advice.names, between.share_I, strict=True)),
    }


def _describe_choice(advice: ServingAdvice, place: int) -> Mapping[str, Any]:
    setting = advice.grid.settings[place]
    return {**setting._asdict(), "side": advice.names[setting.side]}


def list_settings(advice: ServingAdvice) -> list[SettingRow]:
    """Every setting that was looked at."""
    judged = {place.setting: place.judged for place in advice.frontier}
    changes = {m: (change, cost) for (m, _), change, cost in zip(*advice.against, strict=True)}
    none = Interval(math.nan, math.nan, math.nan, 0, 0)
    rows = []
    for m, setting in enumerate(advice.grid.settings):
        change, ratio = changes.get(m, (none, none))
        of_rule, side = judged.get(m), advice.sides[setting.side]
        rows.append(
            SettingRow(
                advice.names[setting.side],
                setting.cap_tokens,
                setting.votes,
                *advice.levels.accuracy[m][:3],
                *advice.levels.cost[m][:3],
                float(advice.grid.tokens_PM[:, m].mean()),
                float(advice.grid.seconds_PM[:, m].mean()),
                *change[:3],
                *ratio[:3],
                of_rule is not None,
                *(of_rule.accuracy if of_rule else none)[:3],
                of_rule.agreement if of_rule else math.nan,
                side.cap_stated or setting.cap_tokens < side.cap_tokens,
            )
        )
    return rows


def write_settings(advice: ServingAdvice, path: Path) -> None:
    """Every setting as a line of CSV, numbers in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SettingRow._fields)
    for row in list_settings(advice):
        writer.writerow(["" if isinstance(v, float) and math.isnan(v) else v for v in row])
    write_atomically(path, text.getvalue())


def _list_doubts(advice: ServingAdvice) -> list[Sequence[str]]:
    doubt = warn_of_windows(list(zip(advice.names, advice.windows, strict=True)))
    return [doubt] if doubt else []
