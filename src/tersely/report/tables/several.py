"""Tables of three and more evaluations: the Pareto front, and each against the first."""

import re
from collections import Counter
from collections.abc import Sequence

from tersely.flows.evaluate.several import ComparedSeveral
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import (
    Cell,
    format_difference,
    format_level,
    format_p,
    format_ratio,
    shorten,
)
from tersely.metrics.pareto import Front, FrontPoint
from tersely.metrics.records import BudgetOf
from tersely.report.tables.comparison import write_basis
from tersely.report.tables.matrices import Matrix, MatrixRow
from tersely.report.tables.pairs import agree
from tersely.report.tables.words import describe_protocol, name_counted

OPEN = "[not settled]"


def name_all(names: Sequence[str], *, width: int) -> list[str]:
    """Short names, never the same: the words that all begin and end with are left out."""
    shown = list(names)
    if max(map(len, shown)) > width:
        parts = [re.findall(r"[^\W_]+|[\W_]+", name) for name in names]
        head = agree(min(parts), max(parts))
        shown = [
            shorten("…" * (head > 0) + "".join(part[head:] or part[-1:]), width=width)
            for part in parts
        ]
    count = Counter(shown)
    return [f"{at}. {name}" if count[name] > 1 else name for at, name in enumerate(shown, start=1)]


def tabulate_front(several: ComparedSeveral, front: Front, *, names: Sequence[str]) -> Matrix:
    """The evaluations at one budget, the fewest tokens first."""
    order = sorted(range(len(names)), key=lambda at: front.points[at].tokens.estimate)
    return Matrix(
        title=f"within {front.budget_tokens:,} {name_counted(several.fronts.budget_of)}",
        heads=["accuracy", name_spent(several), "Pareto front"],
        rows=[
            MatrixRow(
                names[at],
                [
                    format_level(front.points[at].accuracy, Unit.SHARE),
                    format_level(front.points[at].tokens, Unit.TOKENS),
                    describe_place(front.points[at], names=names),
                ],
            )
            for at in order
        ],
        caption="",
    )


def name_spent(several: ComparedSeveral) -> str:
    """``mean tokens``, or of what else budgets count."""
    return f"mean {name_counted(several.fronts.budget_of)}"


def describe_place(point: FrontPoint, *, names: Sequence[str]) -> Cell:
    """Whether it is on the front, or who is better, and whether that is beyond chance."""
    settled = "" if point.settled else OPEN
    if not point.dominated_by:
        return Cell("on it", settled, clear=point.settled)
    first, *more = (names[at] for at in point.dominated_by)
    others = f" and {len(more)} more" if more else ""
    return Cell(f"behind {first}{others}", settled, clear=point.settled)


def caption_front(several: ComparedSeveral) -> str:
    """How the front is to be read."""
    basis = write_basis(several.against[0].compared.comparison).split(", ", 1)[1]
    return (
        f"{describe_protocol(several.fronts.protocol, of=several.fronts.budget_of)} "
        f"n = {basis.removeprefix('n = ')} "
        f"{name_spent(several).capitalize()}: what a sample spends before it ends or reaches the "
        f"budget. On the front: no other evaluation has at least the accuracy for at most the "
        f"{name_counted(several.fronts.budget_of)}. Not settled: the "
        "differences that decide it are within chance (permutation within problems, p < .05 after "
        f"Holm's correction for the {several.fronts.n_tests} tests at a budget: all pairs, "
        f"accuracy and {name_counted(several.fronts.budget_of)})."
    )


def tabulate_against(several: ComparedSeveral, *, names: Sequence[str]) -> Matrix:
    """Each evaluation less the first: accuracy at the largest budget, and tokens."""
    rows = []
    for name, each in zip(names[1:], several.against, strict=True):
        comparison = each.compared.comparison
        accuracy = comparison.find("accuracy", comparison.budgets[-1])
        cells = [
            format_difference(accuracy.difference, accuracy.unit, p=each.accuracy_p),
            Cell(format_p(each.accuracy_p), ""),
            format_ratio(comparison.token_ratio, p=each.token_ratio_p),
            Cell(format_p(each.token_ratio_p), ""),
        ]
        rows.append(MatrixRow(name, cells))
    budget = several.against[0].compared.comparison.budgets[-1]
    return Matrix(
        title=f"against {names[0]}",
        heads=[_name_accuracy(several, budget), "Holm's p", "token ratio", "Holm's p"],
        rows=rows,
        caption=tell_corrections(several, names=names),
    )


def _name_accuracy(several: ComparedSeveral, budget: int) -> str:
    """``accuracy within 4,096``; what else than tokens is counted is named."""
    of = several.fronts.budget_of
    counted = "" if of is BudgetOf.TOKENS else f" {name_counted(of)}"
    return f"accuracy within {budget:,}{counted}"


def tell_corrections(several: ComparedSeveral, *, names: Sequence[str]) -> str:
    """Which p-values are corrected for how many comparisons."""
    return (
        f"Paired by problem, each against {names[0]}. p here: after Holm's correction for the "
        f"{len(several.against)} comparisons of the column; bold: below .05. In the tables of each "
        "pair p is not corrected: among many, some fall below .05 by chance."
    )
