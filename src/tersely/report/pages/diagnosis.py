"""The page of a diagnosis: a log's curves with stages and alarms drawn on them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tersely.dynamics.log import StepLog
from tersely.flows.diagnose import Diagnosis
from tersely.report.charts.training import MORE_PANELS, PANELS, EvalPoint, draw_training
from tersely.report.pages.html import Figure, Reader, Tile, render_page
from tersely.report.tables.stages import describe_stages


class DiagnosisPage(NamedTuple):
    """Everything that the page shows."""

    title: str
    summary: str
    alarms: Sequence[Sequence[str]]
    tiles: Sequence[Tile]
    effects: Sequence[str]
    figure: Figure
    notes: Sequence[str]


def draw_diagnosis(log: StepLog, found: Diagnosis, *, name: str) -> str:
    """The page as HTML that loads nothing."""
    page = DiagnosisPage(
        title=f"Diagnosis of {name}",
        summary=f"{found.steps:,} records, the last of step {found.last_step:,}. {found.stage}"
        + (f" {found.no_alarm}" if found.no_alarm else ""),
        alarms=[
            (
                f"{alarm.severity.value}: {alarm.name}, first seen at step {alarm.step:,}",
                f"Seen: {alarm.evidence}.",
                f"Why: {alarm.reason}.",
                f"Change: {alarm.advice}.",
            )
            for alarm in found.alarms
        ],
        tiles=(),
        effects=found.effects,
        figure=draw_curves(log, found),
        notes=found.unknown,
    )
    nobody = Reader(sides=(), budgets=(), traces=(), filters=(), note="")
    return render_page("diagnosis.html.j2", page, reader=nobody, grid=None)


def draw_curves(log: StepLog, found: Diagnosis) -> Figure:
    """The log's curves with stages and alarms."""
    points = _evaluations(log)
    marks = " Diamonds: evaluations." if points else ""
    lines = " Dashed red lines: alarms, where first raised." if found.alarms else ""
    return Figure(
        "training",
        "Training steps",
        f"{describe_stages(found.stages, last_step=found.last_step)} Thin lines: each step; thick: "
        f"moving average.{marks}{lines}",
        draw_training(
            log,
            stages=found.stages,
            evaluations=points,
            alarms=found.alarms,
            panels=(*PANELS, *MORE_PANELS),
        ),
    )


def _evaluations(log: StepLog) -> list[EvalPoint]:
    held_N = log.get("eval_accuracy")
    if held_N is None:
        return []
    return [
        EvalPoint(int(log.step_N[at]), float(held_N[at]), math.nan)
        for at in np.flatnonzero(np.isfinite(held_N))
    ]
