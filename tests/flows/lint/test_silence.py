"""Groups that teach nothing: counted, and estimated for sizes that were not sampled."""

from itertools import combinations

import numpy as np
import pytest

from tersely.flows.lint.silence import RATES_R, chance_all, silent_share, spread_rates


def test_golden_chance_that_all_are_of_one_kind():
    # 3 of 4, drawn two: C(3, 2) / C(4, 2) = 1/2; 1 of 4: none
    found = chance_all(np.array([3, 1]), np.array([4, 4]), draws=2)
    assert found == (0.25, True)
    assert chance_all(np.array([0, 0]), np.array([4, 4]), draws=9) == (0, False)
    assert chance_all(np.array([4, 2]), np.array([4, 2]), draws=9) == (1, False)


@pytest.mark.parametrize("draws", [1, 2, 3, 5])
def test_silent_groups_are_those_among_all_that_could_be_drawn(draws):
    # 0 and 1 are pays, None is masked
    prompts = [[0, 0, 1, 1, None], [0, 0, 0, None, None], [1, 1, 1, 1, 0], [None] * 5]

    def is_silent(group):
        return len({pay for pay in group if pay is not None}) < 2

    counted = np.mean(
        [np.mean([is_silent(group) for group in combinations(prompt, draws)]) for prompt in prompts]
    )
    kinds_PV = np.array([[prompt.count(0), prompt.count(1)] for prompt in prompts])
    masked_P = np.array([prompt.count(None) for prompt in prompts])
    found = silent_share(kinds_PV, masked_P, draws=draws)
    assert found.share == pytest.approx(counted)
    assert found.unbiased


def test_rates_are_spread_as_they_were_drawn():
    rng = np.random.default_rng(3)
    rate_P = rng.choice([0.02, 0.6], 2000)
    of_P = np.full(2000, 8)
    weight_R = spread_rates(rng.binomial(8, rate_P), of_P)
    assert weight_R.sum() == pytest.approx(1)
    assert weight_R @ RATES_R == pytest.approx(rate_P.mean(), abs=0.01)
    assert weight_R[RATES_R < 0.15].sum() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.beta(0.3, 2, n),
        lambda rng, n: rng.beta(2, 2, n),
        lambda rng, n: rng.choice([0.02, 0.6], n),
        lambda rng, n: np.where(rng.random(n) < 0.3, 0, rng.beta(1, 2, n)),
    ],
)
def test_groups_larger_than_the_samples_are_estimated_within_what_is_said(draw):
    rng = np.random.default_rng(4)
    rate = draw(rng, 200_000)
    truth = (rate**24 + (1 - rate) ** 24).mean()
    errors = []
    for _ in range(20):
        right_P = rng.binomial(8, draw(rng, 100))
        found = silent_share(np.stack([right_P, 8 - right_P], axis=1), right_P * 0, draws=24)
        assert not found.unbiased
        errors.append(found.share - truth)
    assert np.sqrt(np.mean(np.square(errors))) < 0.09
