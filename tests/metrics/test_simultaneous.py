"""Intervals that hold all at once."""

import numpy as np
import pytest
from scipy.stats import t

from tersely.metrics import simultaneous
from tersely.metrics.serving import CostAxis, ServingGrid, ServingSetting
from tersely.metrics.simultaneous import (
    bound_changes,
    bound_levels,
    find_critical,
    one_critical,
)


def centred(values_PM):
    return values_PM - values_PM.mean(axis=0)


def critical(values_PM, seed=0):
    return find_critical(centred(values_PM), rng=np.random.default_rng(seed))


def test_one_figure_asks_for_students_bound_and_copies_of_it_for_no_more():
    values_P1 = np.random.default_rng(0).standard_normal((400, 1))
    alone = critical(values_P1)
    assert alone == pytest.approx(t.ppf(0.975, 399), rel=0.06)
    assert critical(np.repeat(values_P1, 9, axis=1)) == pytest.approx(alone)


@pytest.mark.parametrize("problems", [400, 2500])
def test_independent_figures_ask_for_sidaks_bound(problems):
    # by resampling and by the normal law: 10 figures, each at 1 - 0.95^(1/10)
    values_PM = np.random.default_rng(1).standard_normal((problems, 10))
    sidak = t.ppf(1 - (1 - 0.95**0.1) / 2, problems - 1)
    assert critical(values_PM) == pytest.approx(sidak, rel=0.05)


def test_what_is_alike_everywhere_takes_no_part_and_one_problem_bounds_nothing():
    values_PM = np.random.default_rng(2).standard_normal((100, 2))
    with_still = np.hstack([values_PM, np.ones((100, 1))])
    assert critical(with_still) == pytest.approx(critical(values_PM))
    assert critical(np.ones((50, 3))) == pytest.approx(one_critical(50))
    assert np.isnan(critical(np.ones((1, 3))))
    assert np.isnan(critical(values_PM[:9]))
    assert np.isnan(one_critical(9))


CAPS = (800, 1600, 3200, 6400)


def world(problems, rng):
    """Four caps of one vote, the lower ones losing; cost grows with the cap."""
    chance_P = rng.beta(1.5, 1.5, size=problems)
    tokens_PS = np.exp(7 + 0.6 * rng.standard_normal(problems)[:, None]) * rng.gamma(
        4, 0.25, (problems, 4)
    )
    right_PS = rng.random((problems, 4)) < chance_P[:, None]
    columns = [
        ((right_PS & (tokens_PS <= cap)).mean(axis=1), np.minimum(tokens_PS, cap).mean(axis=1))
        for cap in CAPS
    ]
    right_PM, cost_PM = (np.column_stack(each) for each in zip(*columns, strict=True))
    settings = tuple(ServingSetting(0, cap, 1) for cap in CAPS)
    return ServingGrid(CostAxis.TOKENS, settings, right_PM, cost_PM, cost_PM, cost_PM)


def holds(intervals, truth_M):
    return all(i.low <= v <= i.high for i, v in zip(intervals, truth_M, strict=True))


def test_all_intervals_hold_the_truth_at_once_19_times_in_20(monkeypatch):
    monkeypatch.setattr(simultaneous, "RESAMPLES", 300)
    truth = world(300_000, np.random.default_rng(0))
    right_M, cost_M = truth.right_PM.mean(axis=0), truth.cost_PM.mean(axis=0)
    worlds, held = 100, {"levels": 0, "changes": 0}
    for seed in range(worlds):
        rng = np.random.default_rng([seed, 5])
        found = world(120, rng)
        levels = bound_levels(found, n_samples_M=np.full(4, 480), rng=rng)
        changes = bound_changes(found, pairs=[(m, 3) for m in range(3)], n_samples=480, rng=rng)
        held["levels"] += holds(levels.accuracy, right_M) and holds(levels.cost, cost_M)
        gains, times = (right_M - right_M[3])[:3], (cost_M / cost_M[3])[:3]
        held["changes"] += holds(changes.accuracy, gains) and holds(changes.cost, times)
    # Of 100 worlds 95 ± 4, two standard errors.
    assert all(0.91 <= count / worlds <= 0.99 for count in held.values()), held


def test_a_cap_that_loses_nothing_is_not_known_to_lose_nothing():
    found = world(100, np.random.default_rng(1))
    same = found._replace(right_PM=np.repeat(found.right_PM[:, 3:], 4, axis=1))
    (first, *_) = bound_changes(
        same, pairs=[(0, 3)], n_samples=400, rng=np.random.default_rng(0), together=False
    ).accuracy
    # Wilson's bound on a share of 0 in 100 problems: z^2 / (100 + z^2)
    z = t.ppf(0.975, 99)
    assert first[:3] == pytest.approx((0, -(z**2) / (100 + z**2), 0))


def test_the_order_of_problems_changes_estimates_and_errors_by_nothing():
    found, order = world(50, np.random.default_rng(2)), np.random.default_rng(3).permutation(50)
    turned = found._replace(right_PM=found.right_PM[order], cost_PM=found.cost_PM[order])
    one, other = (
        bound_levels(each, n_samples_M=np.full(4, 200), rng=np.random.default_rng(0))
        for each in (found, turned)
    )
    for before, after in zip(one.accuracy, other.accuracy, strict=True):
        assert after.estimate == pytest.approx(before.estimate)
        assert after.standard_error == pytest.approx(before.standard_error)


def test_a_cost_is_never_said_to_be_more_than_it_can_be():
    rng = np.random.default_rng(4)
    low_P, high_P = np.minimum(100.0, tokens_P := rng.integers(20, 400, 12)), 1.0 * tokens_P
    settings = [ServingSetting(0, cap, votes) for votes in (1, 4) for cap in (100, 400)]
    right_PM = np.tile(rng.random((12, 1)), 4)
    cost_PM = np.stack([low_P, high_P, 4 * low_P, 4 * high_P], axis=1)
    grid = ServingGrid(CostAxis.TOKENS, tuple(settings), right_PM, cost_PM, cost_PM, cost_PM)
    pairs = [(0, 1), (2, 0), (3, 1), (2, 1)]
    found = bound_changes(grid, pairs=pairs, n_samples=12, rng=rng)
    assert found.cost[0].high <= 1.0
    # Four votes at the same cap cost four times as much, whatever the samples.
    assert found.cost[1][:3] == found.cost[2][:3] == (4.0, 4.0, 4.0)
    assert found.cost[3].high <= 4.0
    assert all(-1 <= each.low <= each.high <= 1 for each in found.accuracy)
