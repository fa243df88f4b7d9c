"""A run's levels of effort, and budgets that its prompts state: its page and its tables."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from tersely.core.types import EvalRecord, Problem
from tersely.flows.recipe.problems import budgets_of, lengths_by_level
from tersely.flows.recipe.recipe import Recipe
from tersely.metrics.efforts import (
    BudgetAdherence,
    MeasuredEfforts,
    measure_budgets,
    measure_efforts,
)
from tersely.report.charts.efforts import draw_efforts
from tersely.report.pages.html import Figure
from tersely.report.tables.efforts import tabulate_efforts, tell_budgets
from tersely.report.tables.matrices import Matrix
from tersely.report.tables.terminal import FittedTable, draw_text, draw_title


class RunLevels(NamedTuple):
    """None where the recipe has no levels; no ``stated`` where prompts state no budget.

    Args:
        stated: before and after training.
    """

    efforts: MeasuredEfforts | None
    stated: Sequence[BudgetAdherence]


def measure_levels(
    recipe: Recipe,
    evaluations: Mapping[int, Sequence[EvalRecord]],
    *,
    problems: Sequence[Problem],
    rng: np.random.Generator,
) -> RunLevels:
    """What the run's evaluations, by step and in order, say of levels and stated budgets."""
    efforts = None
    if recipe.effort:
        efforts = measure_efforts(
            evaluations,
            levels=[*recipe.effort],
            target_tokens=lengths_by_level(recipe),
            rng=rng,
        )
    budgets = budgets_of(recipe, problems)
    ends = [list(evaluations.values())[at] for at in (0, -1)] if budgets else []
    return RunLevels(efforts, [measure_budgets(end, budgets=budgets, rng=rng) for end in ends])


def tell_stated(levels: RunLevels) -> list[str]:
    """What samples took of budgets in their prompts; nothing where there are none."""
    return [tell_budgets(*levels.stated)] if levels.stated else []


def tabulate_levels(levels: RunLevels) -> Matrix | None:
    """Each level before and after training."""
    return None if levels.efforts is None else tabulate_efforts(levels.efforts)


def draw_run_levels(levels: RunLevels) -> list[RenderableType]:
    """The same for the terminal; nothing where the recipe has neither levels nor budgets."""
    table = tabulate_levels(levels)
    drawn: list[RenderableType] = []
    if table is not None:
        drawn = [Text(), draw_title("By level of effort"), FittedTable(table)]
        drawn.append(draw_text(table.caption, "dim"))
    return drawn + [draw_text(sentence) for sentence in tell_stated(levels)]


def describe_run_levels(levels: RunLevels) -> dict[str, Any]:
    """Every figure of them."""
    efforts = levels.efforts
    return {
        "levels": []
        if efforts is None
        else [
            {
                **judged._asdict(),
                "against": [efforts.adherence.levels[other].name for other in judged.against],
                "evaluations": [
                    point._asdict() for point in efforts.points if point.level == judged.name
                ],
            }
            for judged in efforts.adherence.levels
        ],
        "stated_budgets": [each._asdict() for each in levels.stated],
    }


def draw_levels(levels: RunLevels) -> list[Figure]:
    """The levels' curves over training; nothing where there are none."""
    if levels.efforts is None:
        return []
    said = "One curve a level, a dot an evaluation; bands: 95% intervals over problems."
    drawn = draw_efforts(levels.efforts.points)
    return [Figure("efforts", "Levels of effort over training", said, drawn)]
