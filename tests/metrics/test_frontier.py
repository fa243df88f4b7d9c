"""Choosing a setting on half of the problems and judging it on the others."""

import numpy as np
import pytest

from tersely.metrics.choosing import judge_frontier, make_chooser, reach
from tersely.metrics.frontier import (
    ChoiceRule,
    Goal,
    choose,
    compare_cheapest,
    draw_means,
    find_frontier,
    judge_rule,
    split_halves,
)
from tersely.metrics.serving import CostAxis, ServingGrid, ServingSetting


def grid(right_PM, cost_PM, *, sides=None):
    right_PM, cost_PM = np.array(right_PM, dtype=float), np.array(cost_PM, dtype=float)
    sides = sides or [0] * right_PM.shape[1]
    settings = tuple(ServingSetting(side, 100 + m, 1) for m, side in enumerate(sides))
    empty_PM = np.full(right_PM.shape, np.nan)
    return ServingGrid(CostAxis.TOKENS, settings, right_PM, cost_PM, cost_PM, empty_PM)


def every(of, goal, bound):
    return ChoiceRule(goal, bound, np.ones(len(of.settings), dtype=bool))


# Accuracy 0.2, 0.5, 0.5, 0.9 for 1, 2, 4, 8.
FOUR = grid([[0.2, 0.5, 0.5, 0.9]] * 6, [[1, 2, 4, 8]] * 6)


def chosen(of, goal, bound):
    right_1M, cost_1M = of.right_PM.mean(axis=0)[None], of.cost_PM.mean(axis=0)[None]
    return int(choose(right_1M, cost_1M, every(of, goal, bound))[0])


def test_golden_choices():
    assert [chosen(FOUR, Goal.ACCURACY, bound) for bound in (0.1, 0.3, 0.5, 0.6)] == [0, 1, 1, 3]
    assert chosen(FOUR, Goal.ACCURACY, 0.95) == 3  # not reached: the most accurate
    assert [chosen(FOUR, Goal.COST, bound) for bound in (1, 3, 4, 9)] == [0, 1, 1, 3]
    assert chosen(FOUR, Goal.COST, 0.5) == 0  # none is as cheap: the cheapest


def test_the_frontier_leaves_out_what_another_beats_or_nearly_costs_no_less_than():
    assert find_frontier(FOUR) == [0, 1, 3]
    close = grid([[0.2, 0.5, 0.6]] * 4, [[1, 2, 2.02]] * 4)
    assert find_frontier(close) == [0, 2]


def test_prices_times_ten_change_no_choice():
    rng = np.random.default_rng(0)
    one = grid(rng.random((40, 6)), rng.random((40, 6)) + np.arange(1, 7), sides=[0, 0, 0, 1, 1, 1])
    ten = one._replace(cost_PM=10 * one.cost_PM)
    made = []
    for each in (one, ten):
        chooser = make_chooser(each, reference=2, n_samples=40, rng=np.random.default_rng(1))
        front, target = judge_frontier(chooser), reach(chooser, 0.45)
        made.append((front, target))
        assert [place.setting for place in front] == find_frontier(one)
    (front, target), (dear_front, dear_target) = made
    for cheap, dear in zip(front, dear_front, strict=True):
        assert dear.judged.accuracy[:3] == pytest.approx(cheap.judged.accuracy[:3])
        assert dear.judged.cost[:3] == pytest.approx([10 * v for v in cheap.judged.cost[:3]])
    assert dear_target.best.setting == target.best.setting
    assert dear_target.ratio[:3] == pytest.approx(target.ratio[:3])


def test_a_rule_that_always_chooses_the_same_is_judged_by_that_settings_own_mean():
    rng = np.random.default_rng(2)
    right_PM = np.column_stack([rng.random(30) * 0.3, 0.7 + rng.random(30) * 0.3])
    two = grid(right_PM, [[1, 2]] * 30)
    halves = split_halves(two, reference=0, rng=rng)
    judged = judge_rule(two, halves, every(two, Goal.ACCURACY, 0.5), reference=0, n_samples=30)
    assert judged.agreement == 1
    assert judged.accuracy.estimate == pytest.approx(right_PM[:, 1].mean())
    assert judged.cost.estimate == pytest.approx(2)


def test_the_best_of_many_that_are_alike_looks_better_than_it_is_but_is_not_judged_so():
    # 20 settings, each right half of the time on 40 problems: the best by chance has about
    # 0.5 + 1.87 standard errors, of 0.5 / sqrt(40) each: 0.648.
    said, judged = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        alike = grid(rng.random((40, 20)) < 0.5, np.ones((40, 20)))
        halves = split_halves(alike, reference=0, rng=rng, splits=20)
        rule = every(alike, Goal.COST, 1.0)
        found = judge_rule(alike, halves, rule, reference=0, n_samples=40)
        said.append(found.in_sample)
        judged.append(found.accuracy.estimate)
    assert np.mean(said) == pytest.approx(0.648, abs=0.02)
    assert np.mean(judged) == pytest.approx(0.5, abs=0.02)


def test_fewer_than_four_problems_cannot_be_split():
    small = grid([[0.2, 0.9]] * 3, [[1, 2]] * 3)
    assert split_halves(small, reference=0, rng=np.random.default_rng(0)) is None
    judged = judge_rule(small, None, every(small, Goal.COST, 2.0), reference=0, n_samples=3)
    assert judged.setting == 1
    assert np.isnan(judged.accuracy.estimate)


def test_a_ratio_of_cheapest_settings_knows_that_another_might_be_the_cheapest():
    rng = np.random.default_rng(3)
    right_PM = rng.random((50, 3)) < np.array([0.9, 0.52, 0.9])
    three = grid(right_PM, [[4, 1, 3]] * 50, sides=[0, 1, 1])
    allowed = [np.array([True, False, False]), np.array([False, True, True])]
    other, one = (ChoiceRule(Goal.ACCURACY, 0.5, each) for each in allowed)
    drawn = draw_means(three, rng=rng)
    ratio = compare_cheapest(three, drawn, one, other, n_samples=150)
    # a half is reached by the one at 1 or, if it is not, by the one at 3; the other costs 4
    assert ratio.estimate in (0.25, 0.75)
    assert (ratio.low, ratio.high) == (pytest.approx(0.25), pytest.approx(0.75))


def test_a_rival_that_does_not_reach_the_accuracy_is_infinitely_dear():
    two = grid([[0.2, 0.9]] * 8, [[1, 2]] * 8, sides=[0, 1])
    rules = [ChoiceRule(Goal.ACCURACY, 0.5, np.arange(2) == side) for side in (1, 0)]
    drawn = draw_means(two, rng=np.random.default_rng(0))
    assert compare_cheapest(two, drawn, *rules, n_samples=8)[:3] == (0.0, 0.0, 0.0)
