"""What a budget for each problem would save."""

import numpy as np
import pytest

from tersely.metrics.records import SampleTable
from tersely.metrics.routing import route


def make(right, tokens, *, cap_tokens=100):
    right_PS, tokens_PS = np.array(right, dtype=bool), np.array(tokens)
    return SampleTable(
        keys=tuple(("b", str(p)) for p in range(len(right_PS))),
        correct_PS=right_PS,
        finished_PS=tokens_PS < cap_tokens,
        graded_PS=np.ones(right_PS.shape, dtype=bool),
        tokens_PS=tokens_PS,
        cap_tokens=cap_tokens,
    )


# One problem right at 10 and 30, wrong at 60; one right at 20 only; one never right.
GOLDEN = make([[1, 1, 0], [1, 0, 0], [0, 0, 0]], [[10, 30, 60], [20, 100, 80], [100, 100, 50]])


def test_golden_oracle_budgets():
    routed = route(GOLDEN, caps=(100,), critical=2.0)
    # Budgets 30, 20, 0: (10 + 30 + 30) + (20 + 20 + 20) + 0 = 130 of 550 tokens; 3 of 9 right.
    assert routed.bound.cost.estimate == pytest.approx(130 / 550)
    assert routed.bound.accuracy.estimate == routed.unrouted.estimate == pytest.approx(3 / 9)
    # Known from the others. First problem: budgets 30, 10, 30: right at 10, not at 30; it spends
    # 10 + 10 + 30. Second: 0, 20, 20: spends 0 + 20 + 20, none right. Third: nothing.
    assert routed.held_out.cost.estimate == pytest.approx(90 / 550)
    assert routed.held_out.accuracy.estimate == pytest.approx(1 / 9)


def test_golden_shares_of_tokens():
    at_50, at_100 = route(GOLDEN, caps=(50, 100), critical=2.0).shares
    # At 100: one sample of the second problem is cut though another is right: 1 of 9. The third
    # problem's 250 of 550 tokens are futile. Over the shortest right one: 30 - 10 = 20.
    assert at_100.starved.estimate == pytest.approx(1 / 9)
    assert at_100.futile.estimate == pytest.approx(250 / 550)
    assert at_100.overthought.estimate == pytest.approx(20 / 550)
    # At 50: cut are 60 of the first, 100 and 80 of the second. Spent 10 + 30 + 50, 20 + 50 + 50
    # and 150.
    assert at_50.starved.estimate == pytest.approx(3 / 9)
    assert at_50.futile.estimate == pytest.approx(150 / 360)
    assert at_50.overthought.estimate == pytest.approx(20 / 360)


def test_budgets_from_the_other_samples_are_those_of_each_sample_left_out():
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 100, size=(20, 5))
    right = rng.random((20, 5)) < 0.4
    table = make(right, tokens)
    kept, spent = 0, 0
    for p in range(20):
        for s in range(5):
            others = [tokens[p, o] for o in range(5) if o != s and right[p, o]]
            budget = max(others, default=0)
            kept += right[p, s] and tokens[p, s] <= budget
            spent += min(tokens[p, s], budget)
    held = route(table, caps=(100,), critical=2.0).held_out
    assert held.accuracy.estimate == pytest.approx(kept / 100)
    assert held.cost.estimate == pytest.approx(spent / tokens.sum())


def test_one_sample_a_problem_says_nothing_about_budgets_from_others():
    assert route(make([[1], [0]], [[5], [9]]), caps=(100,), critical=2.0).held_out is None


def test_the_bound_never_loses_accuracy_and_saves_no_less_where_more_is_futile():
    table = make([[1, 0], [0, 1], [1, 1]], [[10, 90], [80, 20], [30, 40]])
    none = make([[0, 0], [0, 1], [1, 1]], [[10, 90], [80, 20], [30, 40]])
    first, second = (route(t, caps=(100,), critical=2.0).bound.cost.estimate for t in (table, none))
    assert second < first
