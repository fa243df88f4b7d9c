import numpy as np
import pytest

from tersely.metrics.efficiency import (
    aes,
    area_over_log_budget,
    auc_oaa,
    ock_score,
    outcome_efficiency,
    reg_gap,
)

YES = np.ones((1, 2), dtype=bool)


def test_golden_area_over_log_budget():
    # 0 at 1k, .5 at 2k, 1 at 4k: trapezoids .25 and .75 over two equal doublings: .5
    accuracy_PB = np.array([[0.0, 0.5, 1.0], [0.3, 0.3, 0.3]])
    area_P = area_over_log_budget(accuracy_PB, budgets_B=np.array([1000, 2000, 4000]))
    assert area_P == pytest.approx([0.5, 0.3])
    # unevenly: 0 at 1k, 1 at 2k, 1 at 16k: (.5 * 1 + 1 * 3) / 4 doublings
    assert area_over_log_budget(
        np.array([[0.0, 1.0, 1.0]]), budgets_B=np.array([1000, 2000, 16000])
    ) == pytest.approx([0.875])
    assert area_over_log_budget(np.array([[0.4]]), budgets_B=np.array([9])) == [0.4]


def test_golden_auc_oaa_and_its_integral():
    # right at 250 of 1000, wrong at 100: mean(.75, 0) = .375
    right_PS, tokens_PS = np.array([[True, False]]), np.array([[250, 100]])
    value = auc_oaa(right_PS, tokens_PS, YES, cap_tokens=1000)
    assert value == pytest.approx([0.375])
    grid = np.arange(1000) + 0.5
    curve = (right_PS[0] & (tokens_PS[0] < grid[:, None])).mean(axis=1)
    assert value[0] == pytest.approx(curve.mean(), abs=1e-3)
    assert np.isnan(auc_oaa(right_PS, tokens_PS, ~YES, cap_tokens=1000)).all()


def test_golden_outcome_efficiency():
    # right after 30 of 60 tokens: .5; wrong: 0; mean .25. Never told: undefined.
    right_PS, tokens_PS = np.array([[True, False]]), np.array([[60, 10]])
    assert outcome_efficiency(right_PS, tokens_PS, np.array([[30, -1]]), YES) == [0.25]
    assert np.isnan(outcome_efficiency(right_PS, tokens_PS, np.array([[-1, -1]]), YES))


def test_golden_ock_score():
    # 50% at 10,000 tokens: 50 - 10 ln 2; at no tokens nothing is taken off
    assert ock_score(np.array([0.5]), np.array([10_000.0])) == pytest.approx([50 - 10 * np.log(2)])
    assert ock_score(np.array([0.5]), np.array([0.0])) == 50


def test_golden_aes():
    # half the tokens (dL = .5), accuracy .5 -> .55 (dA = .1): .5 + 3 * .1; -> .45: .5 - 5 * .1
    def score(after):
        return aes(np.array([0.5]), np.array([after]), np.array([100.0]), np.array([50.0])).item()

    assert score(0.55) == pytest.approx(0.8)
    assert score(0.45) == pytest.approx(0.0)
    assert score(0.5) == pytest.approx(0.5)
    # other weights give other figures
    weighted = aes(
        np.array([0.5]), np.array([0.45]), np.array([100.0]), np.array([50.0]), gamma=10.0
    )
    assert weighted == pytest.approx([-0.5])


def test_aes_without_a_base_to_relate_to_is_undefined():
    assert np.isnan(aes(np.array([0.0]), np.array([0.5]), np.array([9.0]), np.array([9.0])))
    assert np.isnan(aes(np.array([0.5]), np.array([0.5]), np.array([0.0]), np.array([9.0])))


def test_golden_reg_gap():
    # frontier 1, 1; curve .5, 1 over 1k..3k: triangle .5 * 2k / 2 over 2k = .25; itself: 0
    budgets_B = np.array([1000, 3000])
    best = np.array([[1.0, 1.0]])
    assert reg_gap(np.array([[0.5, 1.0]]), best, budgets_B=budgets_B) == pytest.approx([0.25])
    assert reg_gap(best, best, budgets_B=budgets_B) == [0.0]
    assert reg_gap(best - 0.5, best, budgets_B=budgets_B) == pytest.approx([0.5])
    assert reg_gap(np.array([[0.2]]), np.array([[0.3]]), budgets_B=np.array([5])) == pytest.approx(
        [0.1]
    )
