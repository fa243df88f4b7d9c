"""What a run's levels of effort came to, and how samples kept to budgets in their prompts."""

from collections.abc import Sequence

from tersely.metrics.efforts import BudgetAdherence, LevelPoint, MeasuredEfforts
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import Cell, count, format_level
from tersely.report.tables.matrices import Matrix, MatrixRow


def tabulate_efforts(efforts: MeasuredEfforts) -> Matrix:
    """Each level before training and after it; adherence is of the last evaluation."""
    first, last = (efforts.points[at].step for at in (0, -1))
    held = any(level.budget_tokens is not None for level in efforts.adherence.levels)
    rows = []
    for level in efforts.adherence.levels:
        before, after = (_find(efforts.points, step, level.name) for step in (first, last))
        target = "–" if level.budget_tokens is None else f"{level.budget_tokens:,}"
        cells = [
            *([Cell(target, "")] if held else []),
            format_level(before.tokens, Unit.TOKENS),
            format_level(after.tokens, Unit.TOKENS),
            *([format_level(level.over, Unit.SHARE)] if held else []),
            format_level(before.accuracy, Unit.SHARE),
            format_level(after.accuracy, Unit.SHARE),
            Cell(level.verdict, ""),
        ]
        rows.append(MatrixRow(level.name, cells))
    heads = ["tokens before", "tokens after", "accuracy before", "accuracy after", "verdict"]
    if held:
        heads = ["target", *heads[:2], "over target", *heads[2:]]
    sample = _find(efforts.points, last, efforts.adherence.levels[0].name).tokens
    return Matrix(
        title="level",
        heads=heads,
        rows=rows,
        caption=f"Before: step {first:,}; after: step {last:,}. Of each level n = "
        f"{count(sample.n_problems, 'problem')}, {count(sample.n_samples, 'sample')}. Brackets: "
        "95% intervals over problems. Over target: the share of samples with more tokens than the "
        "level's target, after training. Verdicts are by length alone: obeyed in part means that "
        "lengths follow the level, though more than 5% of samples are over its target.",
    )


def _find(points: Sequence[LevelPoint], step: int, level: str) -> LevelPoint:
    return next(p for p in points if (p.step, p.level) == (step, level))


def tell_budgets(before: BudgetAdherence, after: BudgetAdherence) -> str:
    """One sentence on the budgets that prompts state."""
    shown = [
        format_level(each, Unit.SHARE).text
        for each in (before.over, after.over, before.off, after.off)
    ]
    return (
        f"Budgets in the prompts: {shown[1]} of samples take more than theirs ({shown[0]} before "
        f"training), and a sample's length is {shown[3]} of its budget away from it on average "
        f"({shown[2]} before; n = {count(after.over.n_samples, 'sample')} of "
        f"{count(after.over.n_problems, 'problem')})."
    )
