import numpy as np
import pytest

from tersely.core.errors import ConfigError
from tersely.metrics.budgets import Protocol
from tersely.metrics.measures import Unit, measure
from tersely.metrics.records import NO_ANSWER, UNKNOWN_ANSWER, SampleTable
from tersely.metrics.significance import minimum_detectable


def table(tokens, correct, *, cap_tokens=100, **rest):
    tokens_PS = np.array(tokens)
    return SampleTable(
        keys=tuple(("b", f"p{row}") for row in range(len(tokens))),
        correct_PS=np.array(correct, dtype=bool),
        finished_PS=tokens_PS < cap_tokens,
        graded_PS=np.ones(tokens_PS.shape, dtype=bool),
        tokens_PS=tokens_PS,
        cap_tokens=cap_tokens,
        **rest,
    )


def evaluate(made, *, budgets=(50, 100), ks=(1, 2), **options):
    return measure(made, title="t", budgets=budgets, ks=ks, rng=np.random.default_rng(0), **options)


# p0: cut at 100 wrong, right at 60; p1: right at 40, right at 80 (its answer stood at 20).
GOLDEN = table(
    [[100, 60], [40, 80]],
    [[0, 1], [1, 1]],
    answer_PS=np.array([[NO_ANSWER, 0], [0, 0]]),
    answer_tokens_PS=np.array([[-1, 30], [40, 20]]),
)


def test_golden_figures():
    # pass@1 within 50: (0 + 1/2)/2; pass@2 within 50: (0 + 1)/2; all of two within 100: p1 only.
    # majority@2 within 100: p0: one vote, right: 1; within 50: p0 none, p1 one right vote.
    # area: (.25 + .75)/2 = .5. AUC-OAA: p0 (0 + .4)/2, p1 (.6 + .2)/2 -> .3
    # outcome efficiency: p0 (0 + 30/60)/2, p1 (40/40 + 20/80)/2 -> (.25 + .625)/2 = .4375
    # tokens per correct 280/3; accuracy per 1,000 tokens .75 / (70 / 1000) = 10.714
    # OckScore 75 - 10 ln(1.007)
    expected = {
        ("mean tokens", None): 70,
        ("mean tokens given correct", None): 60,
        ("mean tokens given wrong", None): 100,
        ("mean tokens given truncated", None): 100,
        ("truncated share", None): 0.25,
        ("share without an answer", None): 0.25,
        ("accuracy", 50): 0.25,
        ("accuracy", 100): 0.75,
        ("mean@2", 100): 0.75,
        ("pass@1", 50): 0.25,
        ("pass@2", 50): 0.5,
        ("pass@2", 100): 1.0,
        ("pass^2", 100): 0.5,
        ("g-pass@2 (0.5)", 50): 0.5,
        ("majority@2", 50): 0.5,
        ("majority@2", 100): 1.0,
        ("tokens per correct answer", None): 280 / 3,
        ("accuracy per 1,000 tokens", None): 0.75 / 0.07,
        ("area over log budget", None): 0.5,
        ("AUC-OAA", None): 0.3,
        ("outcome efficiency", None): 0.4375,
        ("OckScore", None): 75 - 10 * np.log(1.007),
    }
    evaluation = evaluate(GOLDEN)
    for key, value in expected.items():
        assert evaluation.value(*key).estimate == pytest.approx(value), key
    with pytest.raises(KeyError):
        evaluation.value("accuracy", 51)


def test_every_interval_holds_its_estimate_and_shares_stay_in_their_range():
    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 101, size=(40, 4))
    right = (rng.random((40, 4)) < 0.6) & (tokens < 100)
    for quantity, value in evaluate(table(tokens, right), ks=(1, 2, 4)).measured:
        if not np.isnan(value.low):
            assert value.low <= value.estimate <= value.high, quantity
        if quantity.unit is Unit.SHARE:
            assert 0 <= value.low <= value.high <= 1, quantity


def test_undefined_figures_are_nan_not_zero():
    # nothing is right: no length given correct, no tokens per correct answer
    evaluation = evaluate(table([[10, 20], [30, 40]], [[0, 0], [0, 0]]))
    assert np.isnan(evaluation.value("mean tokens given correct").estimate)
    assert np.isnan(evaluation.value("tokens per correct answer").estimate)
    assert evaluation.value("accuracy", 100).estimate == 0.0
    assert evaluation.value("accuracy per 1,000 tokens").estimate == 0.0


def test_majority_is_left_out_or_undefined_where_answers_are_not_known():
    names = {q.name for q, _ in evaluate(table([[10, 20]], [[0, 1]])).measured}
    assert "majority@2" not in names
    # p0's wrong answer is not known: p1 alone, always right, would say 100%
    unknown = table(
        [[10, 20], [10, 20]], [[0, 1], [1, 1]], answer_PS=np.array([[UNKNOWN_ANSWER, 0], [0, 0]])
    )
    assert np.isnan(evaluate(unknown).value("majority@2", 100).estimate)


def test_outcome_efficiency_is_left_out_where_a_right_answers_place_is_not_known():
    # p1 alone, all wrong, would say 0%
    unknown = table([[10, 20], [10, 20]], [[0, 1], [0, 0]], answer_tokens_PS=np.full((2, 2), -1))
    assert "outcome efficiency" not in {q.name for q, _ in evaluate(unknown).measured}


def test_a_k_above_the_samples_and_a_budget_above_the_cap_are_refused():
    with pytest.raises(ConfigError, match=r"k = 3 is outside 1 to 2.*--samples 3"):
        evaluate(GOLDEN, ks=(1, 3))
    with pytest.raises(ConfigError, match="budget 101 exceeds sampled cap 100"):
        evaluate(GOLDEN, budgets=(101,))


def test_answered_uses_the_graded_prefixes_and_only_at_their_budgets():
    prefix_PSC = np.array([[[0, 1], [1, 1]], [[0, 0], [1, 1]]], dtype=bool)
    made = GOLDEN._replace(prefix_budgets_C=np.array([30, 60]), prefix_PSC=prefix_PSC)
    evaluation = evaluate(made, budgets=(60, 30), protocol=Protocol.ANSWERED)
    assert evaluation.protocol is Protocol.ANSWERED
    assert evaluation.value("accuracy", 30).estimate == pytest.approx(0.5)
    assert evaluation.value("accuracy", 60).estimate == pytest.approx(0.75)
    assert "AUC-OAA" not in {q.name for q, _ in evaluation.measured}
    with pytest.raises(ConfigError, match="not graded at budget 50"):
        evaluate(made, budgets=(50,), protocol=Protocol.ANSWERED)


def test_the_detectable_difference_counts_sampling_noise_only():
    # p0 one of two: variance 1/2 / 2 tries = 1/4; p1 two of two: 0. sqrt(2 * (1/8) / 2)
    expected = minimum_detectable(np.sqrt(2 * 0.125 / 2), n_problems=2)
    assert evaluate(GOLDEN).detectable == pytest.approx(expected)


@pytest.mark.parametrize("right", [0, 1])
def test_samples_that_are_all_alike_tell_no_detectable_difference(right):
    alike = table([[10, 20], [10, 20]], [[right, right], [right, right]])
    assert np.isnan(evaluate(alike).detectable)
