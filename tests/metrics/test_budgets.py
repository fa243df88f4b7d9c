import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tersely.core.errors import ConfigError
from tersely.metrics.budgets import score_budgets

YES, NO = True, False


def test_golden_hits_at_budgets():
    # problem 0: right in 100; right in 200; wrong in 50; right but cut at the cap 400.
    #   budget 99: 0/4   budget 100: 1/4   budget 200: 2/4   budget 400: 2/4
    # problem 1: right in 400; ungraded; ungraded; wrong in 10.  Two graded samples.
    #   budget 99: 0/2   100: 0/2   200: 0/2   400: 1/2
    # problem 2: nothing graded: no part in any mean.
    # mean over problems 0 and 1: 0, (1/4 + 0)/2 = 1/8, 1/4, 1/2
    scored = score_budgets(
        np.array([[YES, YES, NO, YES], [YES, YES, NO, NO], [YES] * 4]),
        np.array([[YES, YES, YES, NO], [YES] * 4, [YES] * 4]),
        np.array([[100, 200, 50, 400], [400, 5, 5, 10], [1, 1, 1, 1]]),
        np.array([[YES] * 4, [YES, NO, NO, YES], [NO] * 4]),
        budgets_B=np.array([99, 100, 200, 400]),
        cap_tokens=400,
    )
    np.testing.assert_array_equal(scored.accuracy_B, [0, 1 / 8, 1 / 4, 1 / 2])
    np.testing.assert_array_equal(scored.accuracy_PB[1], [0, 0, 0, 1 / 2])
    assert np.isnan(scored.accuracy_PB[2]).all()
    np.testing.assert_array_equal(scored.hits_PSB[0, :, 1], [1, 0, 0, 0])
    assert np.isnan(scored.hits_PSB[1, 1]).all()


def test_a_budget_above_the_sampled_cap_is_refused_with_the_fix():
    with pytest.raises(
        ConfigError, match=r"^budget 640 exceeds sampled cap 320; resample with --cap-tokens 640$"
    ):
        score([320, 640], cap_tokens=320)
    assert score([320], cap_tokens=320).accuracy_B == [1.0]


def test_a_budget_below_one_token_is_refused():
    with pytest.raises(ConfigError, match="budget 0 is below 1 token"):
        score([0], cap_tokens=320)


def test_no_graded_sample_at_all_is_nan_not_zero():
    one = np.array([[YES]])
    scored = score_budgets(one, one, np.array([[3]]), ~one, budgets_B=np.array([8]), cap_tokens=8)
    assert np.isnan(scored.accuracy_B).all()


def score(budgets, *, cap_tokens):
    one = np.array([[YES]])
    return score_budgets(
        one, one, np.array([[3]]), one, budgets_B=np.array(budgets), cap_tokens=cap_tokens
    )


SHAPE = (5, 3)
masks = arrays(bool, SHAPE)


@given(masks, masks, arrays(np.int64, SHAPE, elements=st.integers(1, 12)), masks)
def test_agrees_with_a_loop_and_never_falls_as_the_budget_grows(
    correct_PS, finished_PS, tokens_PS, graded_PS
):
    budgets = [1, 4, 8, 12]
    scored = score_budgets(
        correct_PS,
        finished_PS,
        tokens_PS,
        graded_PS,
        budgets_B=np.array(budgets),
        cap_tokens=12,
    )
    for b, budget in enumerate(budgets):
        means = []
        for p in range(SHAPE[0]):
            kept = [s for s in range(SHAPE[1]) if graded_PS[p, s]]
            right = [
                s
                for s in kept
                if correct_PS[p, s] and finished_PS[p, s] and not tokens_PS[p, s] > budget
            ]
            if kept:
                means.append(len(right) / len(kept))
        expected = sum(means) / len(means) if means else np.nan
        np.testing.assert_allclose(scored.accuracy_B[b], expected, equal_nan=True)
    assert not (np.diff(scored.accuracy_B) < 0).any()
