import math

import numpy as np
import vl_convert

from tersely.core.types import AlarmRecord
from tersely.dynamics.log import log_records
from tersely.dynamics.stages import NO_STAGES, Stages
from tersely.report.charts.figures import (
    draw_budget_curve,
    draw_length_histograms,
)
from tersely.report.charts.training import EvalPoint, draw_training, gather_alarms

STAGES = Stages(60.0, 20.0, 70.0, 190.0, 0.98)


def datasets(spec):
    return list(spec.get("datasets", {}).values()) + [
        node["values"] for node in walk(spec) if isinstance(node.get("values"), list)
    ]


def walk(node):
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def rows_with(spec, *keys):
    return [
        row
        for rows in datasets(spec)
        for row in rows
        if isinstance(row, dict) and set(keys) <= set(row)
    ]


def test_every_chart_compiles_and_shows_its_words(run, measured):
    specs = {
        "token budget (log scale)": draw_budget_curve(measured.overall),
        "completion length (tokens)": draw_length_histograms(measured.before, measured.after),
        "Policy entropy (nats per token)": draw_training(
            log_records(run.steps), stages=STAGES, evaluations=measured.points
        ),
    }
    for words, spec in specs.items():
        assert words in vl_convert.vegalite_to_svg(spec, vl_version="6.4")


def test_the_budget_curve_holds_the_comparison_as_it_is(measured):
    overall = measured.overall
    rows = rows_with(draw_budget_curve(overall), "budget", "series")
    assert {row["series"] for row in rows} == {"before", "after", "after − before"}
    for m in overall.measures:
        if m.name == "accuracy":
            expected = {
                "budget": m.budget_tokens,
                "series": "after",
                "estimate": m.after.estimate,
                "low": m.after.low,
                "high": m.after.high,
            }
            assert expected in rows


def test_histogram_shares_add_up_to_one_evaluation_each(measured):
    rows = rows_with(draw_length_histograms(measured.before, measured.after), "share", "count")
    graded = measured.before.graded_PS.sum() + measured.after.graded_PS.sum()
    assert sum(row["count"] for row in rows) == graded
    np.testing.assert_allclose(sum(row["share"] for row in rows), 2.0)


def test_undefined_steps_are_gaps_and_an_undefined_panel_is_left_out(run):
    spec = draw_training(log_records(run.steps), stages=STAGES, evaluations=[])
    gaps = [r for r in rows_with(spec, "step", "series", "value") if r["value"] is None]
    undefined = [r.step for r in run.steps if math.isnan(r.wrong_tokens_mean)]
    assert {row["series"] for row in gaps} == {"wrong"}
    assert {row["step"] for row in gaps} == set(undefined)
    assert "KL to the reference" not in str(spec)


def test_stages_are_shaded_only_when_there_are_any(run):
    steps = log_records(run.steps)
    shaded = draw_training(steps, stages=STAGES, evaluations=[])
    assert {(r["from"], r["to"]) for r in rows_with(shaded, "stage")} == {(0, 60.0), (60.0, 99)}
    assert not rows_with(draw_training(steps, stages=NO_STAGES, evaluations=[]), "stage")
    late = STAGES._replace(stage_end_step=500.0)
    under_way = rows_with(draw_training(steps, stages=late, evaluations=[]), "stage")
    assert {(r["from"], r["to"]) for r in under_way} == {(0, 99)}


def test_evaluations_lie_over_the_panels_they_measure(run):
    steps = log_records(run.steps)
    points = [EvalPoint(0, 0.5, 200.0), EvalPoint(160, float("nan"), 80.0)]
    spec = draw_training(steps, stages=NO_STAGES, evaluations=points)
    marks = [r for r in rows_with(spec, "series") if r["series"] == "evaluation ◆"]
    assert {(r["step"], r["value"]) for r in marks} == {
        (0, 200.0),
        (160, 80.0),
        (0, 0.5),
        (160, None),
    }


def raised(step, name):
    return AlarmRecord(step=step, name=name, severity="error", evidence="", reason="", advice="")


def test_alarms_stand_at_their_steps_in_every_panel_and_near_ones_share_a_line(run):
    alarms = [raised(70, "length rebound"), raised(30, "trap"), raised(31, "KL spike")]
    spec = draw_training(log_records(run.steps), stages=STAGES, evaluations=[], alarms=alarms)
    marks = [
        {"step": 30, "alarm": "trap · KL spike", "label": "trap + 1 more"},
        {"step": 70, "alarm": "length rebound", "label": "length rebound"},
    ]
    found = rows_with(spec, "alarm")
    assert found == marks * len(spec["concat"])
    assert len(spec["concat"]) > 3
    svg = vl_convert.vegalite_to_svg(spec, vl_version="6.4")
    # Twice: white behind, for the curves under it.
    assert svg.count(">trap + 1 more<") == 2 * len(spec["concat"])
    assert not rows_with(
        draw_training(log_records(run.steps), stages=STAGES, evaluations=[]), "alarm"
    )


def test_a_mark_gathers_what_is_near_its_first_alarm_only():
    row_of_four = [raised(step, str(step)) for step in (0, 3, 6, 9)]
    assert gather_alarms(row_of_four, apart_steps=5.0) == [
        {"step": 0, "alarm": "0 · 3", "label": "0 + 1 more"},
        {"step": 6, "alarm": "6 · 9", "label": "6 + 1 more"},
    ]
    assert len(gather_alarms(row_of_four, apart_steps=0.0)) == 4
