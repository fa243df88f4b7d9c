"""The charts of the studies that are shipped can be told apart and read."""

import json
from typing import Any

import pytest

from tersely.flows.study.judge import Evidence
from tersely.flows.study.judged import sum_up
from tersely.flows.study.plan import NamedStudy, base_settings, find_studies
from tersely.report.charts.study import LINE_CHARACTERS, arm_colours, draw_budgets, draw_forest


def axes_of(spec: Any) -> list[dict[str, Any]]:
    """All axes of claims in a specification."""
    if isinstance(spec, list):
        return [axis for part in spec for axis in axes_of(part)]
    if not isinstance(spec, dict):
        return []
    own = [spec["axis"]] if "labelExpr" in spec.get("axis", {}) else []
    return own + [axis for part in spec.values() for axis in axes_of(part)]


@pytest.mark.parametrize("study", find_studies("all"), ids=lambda study: study.name)
def test_no_two_arms_look_alike_and_no_claim_is_cut_short(study: NamedStudy) -> None:
    outcome = sum_up(Evidence(base_settings(), [], {}, seeds=5), study)
    colours = arm_colours(outcome)
    assert len(set(colours.values())) == len(study.study.arms)
    scale = draw_budgets(outcome)["concat"][0]["layer"][0]["encoding"]["color"]["scale"]
    assert len(set(scale["range"])) == 1 + len(colours)

    shown: dict[str, list[str]] = {}
    for axis in axes_of(draw_forest(outcome)):
        shown |= json.loads(axis["labelExpr"].removesuffix("[datum.label]"))
    assert {name: " ".join(lines) for name, lines in shown.items()} == {
        claim.says: claim.says for claim in study.study.claims
    }
    assert all(len(line) <= LINE_CHARACTERS for lines in shown.values() for line in lines)
