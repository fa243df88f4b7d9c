"""Effects over seeds and problems, and what they say of a claim."""

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from tersely.metrics.crossed import Effect, mean_effect, ratio_effect
from tersely.metrics.verdicts import FEWEST_SEEDS, ClaimVerdict, Relation, judge


def test_worked_by_hand() -> None:
    # Rows (seeds) 1 2 3 and 3 2 7: means 2 and 4; columns 2, 2, 5; mean 3.
    # MS_K = 3 * ((2-3)^2 + (4-3)^2) / 1 = 6; MS_P = 2 * (1 + 1 + 4) / 2 = 6.
    # Residuals 0 1 -1 / 0 -1 1 → 4, over 1 * 2 = 2. Variance (6 + 6 - 2) / 6 = 5/3.
    # Degrees of freedom 10^2 / (6^2/1 + 6^2/2 + 2^2/2) = 100 / 56.
    effect = mean_effect(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 7.0]]))
    assert effect.estimate == 3.0
    assert effect.standard_error == pytest.approx(np.sqrt(5 / 3))
    assert effect.freedom == pytest.approx(100 / 56)
    half = t.ppf(0.975, 100 / 56) * np.sqrt(5 / 3)
    assert (effect.low, effect.high) == pytest.approx((3 - half, 3 + half))


def test_one_problem_is_a_t_interval_over_seeds() -> None:
    values = np.array([[1.0], [4.0], [2.5], [3.0]])
    theirs = ttest_1samp(values[:, 0], 0).confidence_interval(0.95)
    ours = mean_effect(values)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_one_seed_is_a_t_interval_over_problems() -> None:
    values = np.array([[1.0, 4.0, 2.5, 3.0]])
    theirs = ttest_1samp(values[0], 0).confidence_interval(0.95)
    ours = mean_effect(values)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert np.isnan(mean_effect(np.array([[2.0]])).low)


def test_never_surer_than_the_seeds_alone_or_the_problems_alone() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.normal(size=(3, 1)) * rng.uniform(0, 2) + rng.normal(size=(3, 9))
        error = mean_effect(values).standard_error
        assert error >= values.mean(axis=1).std(ddof=1) / np.sqrt(3) - 1e-12
        assert error >= values.mean(axis=0).std(ddof=1) / np.sqrt(9) - 1e-12


@pytest.mark.parametrize("seed_spread", [0.0, 0.05, 0.3])
def test_it_covers_what_it_says(seed_spread: float) -> None:
    rng = np.random.default_rng(1)
    hits, draws = 0, 1500
    for _ in range(draws):
        seeds = rng.normal(0, seed_spread, size=(5, 1))
        problems = rng.normal(0, 0.3, size=(1, 80))
        effect = mean_effect(0.1 + seeds + problems + rng.normal(0, 0.2, size=(5, 80)))
        hits += effect.low < 0.1 < effect.high
    # 0.95, and three standard errors of a share of 1,500 below it.
    assert hits / draws > 0.95 - 3 * np.sqrt(0.95 * 0.05 / draws)
    assert hits / draws < 0.99


def test_why_two_seeds_are_too_few_for_a_verdict() -> None:
    rng = np.random.default_rng(2)
    draws, hits = 1000, {2: 0, FEWEST_SEEDS: 0}
    for count in hits:
        for _ in range(draws):
            seeds, problems = rng.normal(0, 0.05, (count, 1)), rng.normal(0, 0.2, (1, 192))
            effect = mean_effect(seeds + problems + rng.normal(0, 0.15, (count, 192)))
            hits[count] += effect.low < 0 < effect.high
    # Measured: 884 and 921.
    assert hits[2] < 910 <= hits[FEWEST_SEEDS] + 10


def test_problems_without_a_value_in_some_seed_are_left_out() -> None:
    values = np.array([[1.0, np.nan, 3.0], [2.0, 9.0, 5.0]])
    assert mean_effect(values) == mean_effect(values[:, [0, 2]])


def test_ratios_are_of_the_means() -> None:
    after, before = np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[4.0, 4.0], [2.0, 6.0]])
    effect = ratio_effect(after, before)
    assert effect.estimate == pytest.approx(8 / 16 - 1)
    assert effect.low < effect.estimate < effect.high
    # Twice everything after: the ratio doubles, and so does its distance to zero.
    assert ratio_effect(2 * after, before).estimate == pytest.approx(16 / 16 - 1)
    assert np.isnan(ratio_effect(after, 0 * before).estimate)


def made(low: float, high: float, *, seeds: int = 5) -> Effect:
    return Effect((low + high) / 2, low, high, 0.01, 4.0, 0.03, seeds, 100)


@pytest.mark.parametrize(
    ("low", "high", "relation", "bound", "verdict"),
    [
        (0.03, 0.07, "above", 0.02, "holds"),
        (0.01, 0.07, "above", 0.02, "cannot tell"),
        (-0.01, 0.01, "above", 0.02, "does not hold"),
        (-0.07, -0.03, "above", 0.02, "the opposite holds"),
        (-0.07, -0.01, "above", 0.0, "the opposite holds"),
        # Not worse by more than two points: being worse is no opposite of it.
        (-0.01, 0.01, "above", -0.02, "holds"),
        (-0.07, -0.03, "above", -0.02, "does not hold"),
        (-0.3, -0.2, "below", -0.1, "holds"),
        (-0.05, -0.02, "below", -0.1, "does not hold"),
        (0.2, 0.3, "below", -0.1, "the opposite holds"),
        (-0.02, 0.03, "within", 0.05, "holds"),
        (-0.02, 0.06, "within", 0.05, "cannot tell"),
        (0.06, 0.09, "within", 0.05, "does not hold"),
    ],
)
def test_verdicts(low: float, high: float, relation: str, bound: float, verdict: str) -> None:
    assert judge(made(low, high), relation=Relation(relation), bound=bound) == verdict


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_cannot_tell(seeds: int) -> None:
    effect = made(0.5, 0.6, seeds=seeds)
    assert judge(effect, relation=Relation.ABOVE, bound=0.0) is ClaimVerdict.UNKNOWN
