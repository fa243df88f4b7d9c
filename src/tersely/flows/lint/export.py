"""Everything that was found, for machines: NaN becomes null."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tersely.flows.lint.facts import Facts
from tersely.flows.lint.forecast import Finding
from tersely.flows.lint.suggest import Suggestion


def export(
    facts: Facts, findings: Sequence[Finding], suggestion: Suggestion | None
) -> dict[str, Any]:
    """Findings, figures with their intervals, and the suggestion where there is one."""
    made: dict[str, Any] = {
        "records": facts.pool.name,
        "problems": len(facts.pool.problems),
        "rollouts": len(facts.pushed.push_N),
        "notes": facts.pool.notes,
        "findings": [finding._asdict() for finding in findings],
        "figures": _figures(facts),
    }
    if suggestion is not None:
        made["suggestion"] = {
            "recipe": suggestion.recipe.model_dump(exclude_none=True, mode="json"),
            "reasons": suggestion.reasons,
            "targets_at_own_cap": [row._asdict() for row in suggestion.at_target],
            "targets_at_recipe_cap": [row._asdict() for row in suggestion.at_cap],
            "silent_at": suggestion.silent_at,
            "figures": _figures(suggestion.facts),
        }
    plain: dict[str, Any] = _plain(made)
    return plain


def _figures(facts: Facts) -> dict[str, Any]:
    return {
        "target_tokens": facts.target_tokens,
        "group_sizes": facts.group_sizes,
        "shares": facts.shares,
        "correlations": facts.correlations,
        "drift": facts.drift,
        "cells": facts.cells,
        "sources": facts.sources,
        "targets": facts.curve,
        "silent_at": facts.silent_at,
        "silent_estimated_by": facts.kinds,
        "cost": facts.cost,
        "unknown_share": facts.unknown_share,
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
