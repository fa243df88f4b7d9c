"""The frontier and the cheapest way to an accuracy, each chosen and judged."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tersely.metrics.frontier import (
    SLACK,
    ChoiceRule,
    Goal,
    Halves,
    JudgedChoice,
    MeanDraws,
    allow,
    compare_cheapest,
    draw_means,
    find_frontier,
    judge_rule,
    split_halves,
)
from tersely.metrics.intervals import LEVEL, Interval
from tersely.metrics.serving import ServingGrid
from tersely.metrics.simultaneous import one_critical


class FrontierPlace(NamedTuple):
    """A setting that none beats on both axes by the estimates, and the rule that finds it.

    Args:
        judged: what the most accurate setting for at most this cost does on problems that had no
            part in the choice.
    """

    setting: int
    judged: JudgedChoice


class TargetAdvice(NamedTuple):
    """The cheapest way to a stated accuracy.

    Args:
        best: over all evaluations.
        rival: the cheapest of the first evaluation, or of the others where the best is of the
            first; None where there is one evaluation.
        ratio: cost of the best as a multiple of the rival's.
    """

    accuracy: float
    best: JudgedChoice
    rival: JudgedChoice | None
    ratio: Interval | None


class Chooser(NamedTuple):
    """What settings are chosen from, and by."""

    grid: ServingGrid
    reference: int
    halves: Halves | None
    drawn: MeanDraws | None
    n_samples: int

    def judge(self, rule: ChoiceRule) -> JudgedChoice:
        """What the rule chooses, and how its choices on halves do on the others."""
        return judge_rule(
            self.grid, self.halves, rule, reference=self.reference, n_samples=self.n_samples
        )


def make_chooser(
    grid: ServingGrid, *, reference: int, n_samples: int, rng: np.random.Generator
) -> Chooser:
    """Splits the problems into halves and draws where the means might lie, if they are ten or
    more."""
    halves = split_halves(grid, reference=reference, rng=rng)
    few = np.isnan(one_critical(len(grid.right_PM)))
    return Chooser(grid, reference, halves, None if few else draw_means(grid, rng=rng), n_samples)


def judge_frontier(chooser: Chooser) -> tuple[FrontierPlace, ...]:
    """The frontier, the cheapest first, with what the rule that finds each place does elsewhere."""
    grid = chooser.grid
    every_M = np.ones(len(grid.settings), dtype=bool)
    cost_M = grid.cost_PM.mean(axis=0)
    ratio_M = SLACK * cost_M / cost_M[chooser.reference]
    return tuple(
        FrontierPlace(m, chooser.judge(ChoiceRule(Goal.COST, float(ratio_M[m]), every_M)))
        for m in find_frontier(grid)
    )


def reach(chooser: Chooser, accuracy: float) -> TargetAdvice:
    """The cheapest of all, against that of the first evaluation or, if it is of that, the others.

    It is the best of several, so its interval is widened for as many comparisons.
    """
    grid = chooser.grid
    sides = sorted({setting.side for setting in grid.settings})

    def rule(allowed: Sequence[int]) -> ChoiceRule:
        return ChoiceRule(Goal.ACCURACY, accuracy, allow(grid, allowed))

    best = chooser.judge(rule(sides))
    if len(sides) < 2:
        return TargetAdvice(accuracy, best, None, None)
    side = grid.settings[best.setting].side
    others = sides[:1] if side else sides[1:]
    ratio = compare_cheapest(
        grid,
        chooser.drawn,
        rule([side]),
        rule(others),
        n_samples=chooser.n_samples,
        level=1 - (1 - LEVEL) / (len(sides) - 1),
    )
    return TargetAdvice(accuracy, best, chooser.judge(rule(others)), ratio)
