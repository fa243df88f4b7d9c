"""The Pareto front of accuracy against tokens, and Holm's correction."""

import numpy as np
import pytest

from tersely.metrics.budgets import Protocol
from tersely.metrics.pareto import place_on_fronts
from tersely.metrics.records import SampleTable
from tersely.metrics.significance import holm


def table(right_P, tokens_P, *, cap_tokens=1000):
    right_P, tokens_P = np.array(right_P, dtype=bool), np.array(tokens_P)
    return SampleTable(
        keys=tuple(("b", str(p)) for p in range(len(right_P))),
        correct_PS=right_P[:, None],
        finished_PS=np.ones((len(right_P), 1), dtype=bool),
        graded_PS=np.ones((len(right_P), 1), dtype=bool),
        tokens_PS=tokens_P[:, None],
        cap_tokens=cap_tokens,
    )


def front(*tables, budgets=(1000,)):
    made = place_on_fronts(
        tables,
        budgets=budgets,
        protocol=Protocol.FINISHED,
        rng=np.random.default_rng(0),
        resamples=200,
    )
    return [front.points for front in made.fronts]


# 40 problems: right in all or in none, 100 or 500 tokens each.
GOOD_SHORT = table([True] * 40, [100] * 40)
GOOD_LONG = table([True] * 40, [500] * 40)
POOR_LONG = table([False] * 40, [500] * 40)
POOR_SHORT = table([False] * 40, [90] * 40)


def test_worse_on_both_axes_by_far_is_dominated_and_settled():
    (points,) = front(GOOD_SHORT, POOR_LONG)
    assert [p.dominated_by for p in points] == [(), (0,)]
    assert [p.settled for p in points] == [True, True]


def test_a_trade_of_accuracy_for_tokens_leaves_both_on_the_front():
    (points,) = front(GOOD_LONG, POOR_SHORT)
    assert [p.dominated_by for p in points] == [(), ()]
    assert all(p.settled for p in points)


def test_equal_accuracy_for_fewer_tokens_dominates_but_is_not_settled():
    (points,) = front(GOOD_SHORT, GOOD_LONG)
    assert points[1].dominated_by == (0,)
    assert not points[1].settled


def test_two_that_are_the_same_are_both_on_the_front_and_not_settled():
    (points,) = front(GOOD_SHORT, GOOD_SHORT)
    assert [(p.dominated_by, p.settled) for p in points] == [((), False), ((), False)]


def test_within_a_budget_a_sample_spends_no_more_than_it():
    # 500 tokens are cut at 200, and what is not finished there is not right.
    at_200, at_1000 = front(GOOD_SHORT, GOOD_LONG, budgets=(200, 1000))
    assert at_200[1].tokens.estimate == 200
    assert at_200[1].accuracy.estimate == 0
    assert at_1000[1].tokens.estimate == 500
    assert at_200[1].settled


def test_the_one_that_settles_it_is_named_first():
    noisy = table([True] * 39 + [False], [100] * 40)
    (points,) = front(noisy, GOOD_SHORT, POOR_LONG)
    assert points[2].dominated_by == (0, 1)
    assert points[0].dominated_by == (1,)
    assert not points[0].settled


def test_holm_is_the_stepwise_bonferroni():
    # Ascending .01, .02, .04 times 3, 2, 1: .03, .04, .04.
    assert holm(np.array([0.04, 0.01, 0.02])) == pytest.approx([0.04, 0.03, 0.04])
    # A larger p never gets a smaller one than those before it, nor more than 1.
    assert holm(np.array([0.5, 0.3])) == pytest.approx([0.6, 0.6])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])


def test_holm_leaves_undefined_p_values_out():
    assert holm(np.array([np.nan, 0.02, 0.03])) == pytest.approx([np.nan, 0.04, 0.04], nan_ok=True)
