"""Which setting to serve: chosen on half of the problems and judged on the other half.

The best of many settings on some problems looks better there than it is. So a rule, such as "the
cheapest that is right on 60%", chooses on a random half and is judged by what its choice does on
the other, over many halves. What is judged is the rule on half as many problems as there are.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.metrics.intervals import LEVEL, Interval, averages
from tersely.metrics.serving import ServingGrid
from tersely.metrics.simultaneous import bound_ratios, bound_shares, draw_normal, one_critical

SPLITS = 100
FEWEST_PROBLEMS = 4
AT_ONCE = 25
DRAWS = 2000
SLACK = 1.02


class Goal(StrEnum):
    """What a rule looks for."""

    ACCURACY = "at least that accuracy"
    COST = "at most that multiple of the reference's cost"


class ChoiceRule(NamedTuple):
    """The cheapest setting with an accuracy, or the most accurate within a cost.

    Where none reaches the accuracy it is the most accurate, where none is as cheap the cheapest.
    A cost is a multiple of the reference's on the same problems: whether these are long or short
    then matters little.

    Args:
        allowed_M: the settings to choose from.
    """

    goal: Goal
    bound: float
    allowed_M: Bool[np.ndarray, " M"]


class JudgedChoice(NamedTuple):
    """What a rule chooses, and what its choices do on problems that had no part in them.

    Args:
        setting: chosen on all problems; its place in the grid.
        met: on all problems it keeps the bound.
        in_sample: accuracy of it on the problems that chose it.
        accuracy, cost: judged; NaN for fewer than four problems.
        agreement: share of halves that choose the same setting; NaN likewise.
        right_P, cost_P: of each problem, over the halves that it did not choose in.
    """

    setting: int
    met: bool
    in_sample: float
    accuracy: Interval
    cost: Interval
    agreement: float
    right_P: Float[np.ndarray, " P"]
    cost_P: Float[np.ndarray, " P"]


class Halves(NamedTuple):
    """Means of every setting over both halves of every split.

    Args:
        cost_HM: as a multiple of the reference's.
        chosen_HP: the problems that the half chooses by; judged by all others.
    """

    chosen_HP: Bool[np.ndarray, "H P"]
    right_HM: Float[np.ndarray, "H M"]
    cost_HM: Float[np.ndarray, "H M"]


def split_halves(
    grid: ServingGrid, *, reference: int, rng: np.random.Generator, splits: int = SPLITS
) -> Halves | None:
    """Random halves, each used both ways; None for fewer than four problems."""
    problems = len(grid.right_PM)
    if problems < FEWEST_PROBLEMS:
        return None
    first_SP = np.zeros((splits, problems), dtype=bool)
    for row_P in first_SP:
        row_P[rng.permutation(problems)[: problems // 2]] = True
    sizes = problems // 2, problems - problems // 2
    means = []
    for values_PM in (grid.right_PM, grid.cost_PM):
        sums_SM = np.vstack(
            [
                first_SP[at : at + AT_ONCE].astype(np.float64) @ values_PM
                for at in range(0, splits, AT_ONCE)
            ]
        )
        means.append(np.vstack([sums_SM / sizes[0], (values_PM.sum(axis=0) - sums_SM) / sizes[1]]))
    right_HM, cost_HM = means
    return Halves(np.vstack([first_SP, ~first_SP]), right_HM, cost_HM / cost_HM[:, [reference]])


def choose(
    right_HM: Float[np.ndarray, "H M"], cost_HM: Float[np.ndarray, "H M"], rule: ChoiceRule
) -> Int[np.ndarray, " H"]:
    """The setting that each row chooses; of equal ones the better on the other axis."""
    right_HM = np.where(rule.allowed_M, right_HM, -np.inf)
    cost_HM = np.where(rule.allowed_M, cost_HM, np.inf)
    if rule.goal is Goal.ACCURACY:
        kept_HM = _keep(right_HM >= rule.bound, right_HM == right_HM.max(axis=1, keepdims=True))
        return _first_best(np.where(kept_HM, cost_HM, np.inf), -right_HM)
    kept_HM = _keep(cost_HM <= rule.bound, cost_HM == cost_HM.min(axis=1, keepdims=True))
    return _first_best(np.where(kept_HM, -right_HM, np.inf), cost_HM)


def _keep(good_HM: Bool[np.ndarray, "H M"], else_HM: Bool[np.ndarray, "H M"]) -> np.ndarray:
    return np.where(good_HM.any(axis=1, keepdims=True), good_HM, else_HM)


def _first_best(main_HM: np.ndarray, second_HM: np.ndarray) -> Int[np.ndarray, " H"]:
    best_HM = main_HM == main_HM.min(axis=1, keepdims=True)
    return np.asarray(np.where(best_HM, second_HM, np.inf).argmin(axis=1))


def judge_rule(
    grid: ServingGrid,
    halves: Halves | None,
    rule: ChoiceRule,
    *,
    reference: int,
    n_samples: int,
) -> JudgedChoice:
    """What the rule chooses on all problems, and how its choices on halves do on the others."""
    right_1M, cost_1M = grid.right_PM.mean(axis=0)[None], grid.cost_PM.mean(axis=0)[None]
    cost_1M = cost_1M / cost_1M[:, [reference]]
    setting = int(choose(right_1M, cost_1M, rule)[0])
    right, cost = float(right_1M[0, setting]), float(cost_1M[0, setting])
    met = right >= rule.bound if rule.goal is Goal.ACCURACY else cost <= rule.bound
    if halves is None:
        none_P, none = np.full(len(grid.right_PM), np.nan), Interval(np.nan, np.nan, np.nan, 0, 0)
        return JudgedChoice(setting, met, right, none, none, np.nan, none_P, none_P)
    choice_H = choose(halves.right_HM, halves.cost_HM, rule)
    right_P, cost_P = _cross(grid, halves, choice_H)
    samples_1 = np.array([n_samples])
    critical = one_critical(len(right_P))
    return JudgedChoice(
        setting,
        met,
        right,
        bound_shares(averages(right_P[:, None]), n_samples_M=samples_1, critical=critical)[0],
        bound_ratios(cost_P[:, None], None, n_samples_M=samples_1, critical=critical)[0],
        float((choice_H == setting).mean()),
        right_P,
        cost_P,
    )


def _cross(
    grid: ServingGrid, halves: Halves, choice_H: Int[np.ndarray, " H"]
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
    """Each problem's accuracy and cost under the choices of the halves without it."""
    kinds_U, which_H = np.unique(choice_H, return_inverse=True)
    is_kind_HU = (which_H[:, None] == np.arange(len(kinds_U))).astype(np.float64)
    weight_PU = np.zeros((len(grid.right_PM), len(kinds_U)))
    for at in range(0, len(choice_H), AT_ONCE):
        judged_PH = (~halves.chosen_HP[at : at + AT_ONCE]).T.astype(np.float64)
        weight_PU += judged_PH @ is_kind_HU[at : at + AT_ONCE]
    weight_PU /= weight_PU.sum(axis=1, keepdims=True)
    right_P = (grid.right_PM[:, kinds_U] * weight_PU).sum(axis=1)
    return right_P, (grid.cost_PM[:, kinds_U] * weight_PU).sum(axis=1)


def find_frontier(grid: ServingGrid) -> list[int]:
    """The settings that none beats on both axes by the estimates, the cheapest first.

    One that a more accurate one follows for 2% more is left out.
    """
    right_M, cost_M = grid.right_PM.mean(axis=0), grid.cost_PM.mean(axis=0)
    found: list[int] = []
    for m in np.lexsort((-right_M, cost_M)).tolist():
        if not found or right_M[m] > right_M[found[-1]]:
            if found and cost_M[m] <= SLACK * cost_M[found[-1]]:
                found.pop()
            found.append(m)
    return found


class MeanDraws(NamedTuple):
    """Draws of the means of every setting, from their joint normal law."""

    right_RM: Float[np.ndarray, "R M"]
    cost_RM: Float[np.ndarray, "R M"]


def draw_means(grid: ServingGrid, *, rng: np.random.Generator) -> MeanDraws | None:
    """Where the means might as well lie, by how they vary over problems; None for one problem."""
    problems, settings = grid.right_PM.shape
    if problems < 2:
        return None
    means_M = np.hstack([grid.right_PM.mean(axis=0), grid.cost_PM.mean(axis=0)])
    scale_M = np.where(means_M > 0, means_M, 1.0)
    scaled_PM = np.hstack([grid.right_PM, grid.cost_PM]) / scale_M
    scaled_PM -= scaled_PM.mean(axis=0)
    covariance_MM = scaled_PM.T @ scaled_PM / (problems * (problems - 1))
    noise_RM = draw_normal(covariance_MM, rng=rng, draws=DRAWS)
    noise_RM /= np.sqrt(rng.chisquare(problems - 1, size=(DRAWS, 1)) / (problems - 1))
    drawn_RM = scale_M * (means_M / scale_M + noise_RM)
    return MeanDraws(drawn_RM[:, :settings], drawn_RM[:, settings:])


def compare_cheapest(
    grid: ServingGrid,
    drawn: MeanDraws | None,
    one: ChoiceRule,
    other: ChoiceRule,
    *,
    n_samples: int,
    level: float = LEVEL,
) -> Interval:
    """Cost of the cheapest of one set of settings as a multiple of the cheapest of another.

    Both are chosen anew in each draw, so the interval holds the chance that another setting is
    the cheapest; a draw in which only the first reaches the accuracy counts as 0.
    """
    means = MeanDraws(grid.right_PM.mean(axis=0)[None], grid.cost_PM.mean(axis=0)[None])
    value = float(_divide_costs(means, one, other)[0])
    low = high = np.nan
    if drawn is not None:
        ratio_R = _divide_costs(drawn, one, other)
        ratio_R = ratio_R[~np.isnan(ratio_R)]
        if ratio_R.size:
            tails = (1 - level) / 2, (1 + level) / 2
            low, high = np.quantile(ratio_R, tails, method="inverted_cdf").tolist()
    return Interval(value, low, high, len(grid.right_PM), n_samples)


def _divide_costs(drawn: MeanDraws, one: ChoiceRule, other: ChoiceRule) -> Float[np.ndarray, " R"]:
    costs = []
    for rule in (one, other):
        reached_RM = (drawn.right_RM >= rule.bound) & rule.allowed_M
        costs.append(np.where(reached_RM, drawn.cost_RM, np.inf).min(axis=1))
    reached_R = np.isfinite(costs[0]) | np.isfinite(costs[1])
    ratio_R = np.where(np.isfinite(costs[0]), costs[0], 1.0) / costs[1]
    ratio_R = np.where(np.isfinite(costs[0]), ratio_R, np.inf)
    return np.where(reached_R, ratio_R, np.nan)


def allow(grid: ServingGrid, sides: Sequence[int]) -> Bool[np.ndarray, " M"]:
    """The settings of these evaluations."""
    return np.array([setting.side in sides for setting in grid.settings])
