"""Three and more evaluations: each against the first, and all on one Pareto front."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tersely.core.errors import ConfigError
from tersely.flows.evaluate.measuring import (
    BOOTSTRAP_SEED,
    Compared,
    check_protocols,
    choose_budgets,
    compare_aligned,
)
from tersely.flows.evaluate.none_right import tell_right_but_cut
from tersely.flows.evaluate.pairing import PairBy, align
from tersely.metrics.failures import tell_failed
from tersely.metrics.numbers import count
from tersely.metrics.pareto import Fronts, place_on_fronts
from tersely.metrics.records import BudgetOf
from tersely.metrics.sharing import share, share_problems
from tersely.metrics.significance import holm
from tersely.readers.evaluations import Loaded

MOST = 20


class AgainstFirst(NamedTuple):
    """One evaluation against the first; its p-values are corrected by Holm for all of them."""

    compared: Compared
    accuracy_p: float
    token_ratio_p: float


class ComparedSeveral(NamedTuple):
    """All evaluations over the problems that they share, at one cap.

    Args:
        names: of all evaluations, the first first.
        against: the others, each against the first.
        notes: what holds for all of them.
    """

    names: tuple[str, ...]
    against: tuple[AgainstFirst, ...]
    fronts: Fronts
    notes: tuple[str, ...]


def compare_several(
    evaluations: Sequence[Loaded],
    *,
    budgets: Sequence[int] = (),
    ks: Sequence[int] = (),
    pair_by: PairBy = PairBy.AUTO,
) -> ComparedSeveral:
    """Every evaluation against the first, and the Pareto front at each budget.

    Raises:
        ConfigError: there are too many, what a cut sample spends is not known, or as
            ``compare_loaded``.
        DataError: they share no problem.
    """
    if len(evaluations) > MOST:
        raise ConfigError(f"{len(evaluations)} evaluations; compare {MOST} at most at a time")
    first = evaluations[0]
    sides, notes = [first], []
    for other in evaluations[1:]:
        check_protocols(first, other)
        aligned = align(first, other, by=pair_by)
        sides.append(aligned.loaded)
        notes += aligned.notes
    _refuse_cuts(sides)
    tables = share([side.table for side in sides])
    notes += _tell_cuts(sides, len(tables[0].keys))
    sides = [s._replace(table=t) for s, t in zip(sides, tables, strict=True)]
    chosen = tuple(budgets) or choose_budgets(sides)
    compared = [compare_aligned(sides[0], side, budgets=chosen, ks=ks) for side in sides[1:]]
    fronts = place_on_fronts(
        tables,
        budgets=chosen,
        protocol=first.protocol,
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    return ComparedSeveral(
        tuple(side.name for side in sides), _correct(compared), fronts, tuple(notes)
    )


def _refuse_cuts(sides: Sequence[Loaded]) -> None:
    """ConfigError where the front would need what a cut sample takes of a budget of turns, or of
    tokens without tools: that is known of whole samples only. Accuracy alone does not need it."""
    tables = [side.table for side in sides]
    caps = [table.cap_tokens for table in tables if table.cap_tokens is not None]
    if not caps or all(table.budget_of is BudgetOf.TOKENS for table in tables):
        return
    lowest = min(caps)
    for side, table in zip(sides, share_problems(tables), strict=True):
        cut = int((table.graded_PS & (table.tokens_PS > lowest)).sum())
        if cut and table.budget_of is not BudgetOf.TOKENS:
            raise ConfigError(
                f"--budget-of {table.budget_of!s}: the lowest cap, {lowest:,} tokens, cuts "
                f"{count(cut, 'graded sample')} of {side.name}, and what a cut sample takes of "
                "such a budget is not known; give evaluations of one cap, compare two at a time, "
                "or leave --budget-of at tokens"
            )


def _correct(compared: Sequence[Compared]) -> tuple[AgainstFirst, ...]:
    comparisons = [each.comparison for each in compared]
    accuracy = [c.find("accuracy", c.budgets[-1]).p_value for c in comparisons]
    ratios = [c.token_ratio_p for c in comparisons]
    p = [holm(np.array(values)).tolist() for values in (accuracy, ratios)]
    return tuple(AgainstFirst(*row) for row in zip(compared, *p, strict=True))


def _tell_cuts(sides: Sequence[Loaded], shared: int) -> list[str]:
    notes = []
    left_out = [(s.name, len(s.table.keys) - shared) for s in sides if len(s.table.keys) > shared]
    if left_out:
        listed = ", ".join(f"{n:,} of {name}" for name, n in left_out)
        notes.append(f"Problems that not all evaluations hold, left out: {listed}.")
    notes += [f"{s.name}: {tell_failed(s.failed)}" for s in sides if s.failed is not None]
    notes += [f"{side.name}: {note}" for side in sides for note in tell_right_but_cut(side)]
    caps = {side.table.cap_tokens for side in sides}
    if len(caps) > 1:
        lowest = min(cap for cap in caps if cap is not None)
        longer = [side.name for side in sides if side.table.cap_tokens != lowest]
        notes.append(
            f"Sampled at different caps: {', '.join(longer)} cut at {lowest:,} tokens, the lowest."
        )
    return notes
