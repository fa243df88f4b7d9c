"""Do the 95% intervals hold the truth 95 times in 100? Worlds are drawn, measured and counted."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from tersely.metrics.comparison import compare
from tersely.metrics.measures import measure
from tersely.metrics.records import SampleTable

SAMPLES, CAP_TOKENS, BUDGETS = 8, 32768, (2048, 8192, 32768)
# Pass rates from half hopeless, half easy (like MATH) to mostly hopeless (like AIME).
PASS_RATES = {"mixed": (0.7, 0.5), "hard": (0.4, 1.0)}


class World(NamedTuple):
    """Problems with a chance to be solved and a typical log length; right answers are shorter."""

    chance_P: np.ndarray
    log_tokens_P: np.ndarray


def draw_world(problems, kind, *, rng):
    chance_P = rng.beta(*PASS_RATES[kind], size=problems)
    return World(chance_P, 8.2 + 0.8 * (1 - chance_P) + 0.35 * rng.standard_normal(problems))


def sample(world, *, rng, shift=0.0, gain=1.0):
    """One evaluation; ``shift`` of the log lengths and odds times ``gain`` make another model."""
    odds_P = gain * world.chance_P / np.maximum(1 - world.chance_P, 1e-12)
    shape = (len(world.chance_P), SAMPLES)
    right_PS = rng.random(shape) < (odds_P / (1 + odds_P))[:, None]
    log_PS = world.log_tokens_P[:, None] + 0.3 * rng.standard_normal(shape) - 0.3 * right_PS + shift
    tokens_PS = np.minimum(np.ceil(np.exp(log_PS)), CAP_TOKENS).astype(np.int64)
    finished_PS = tokens_PS < CAP_TOKENS
    return SampleTable(
        keys=tuple(("b", f"p{row}") for row in range(shape[0])),
        correct_PS=right_PS & finished_PS,
        finished_PS=finished_PS,
        graded_PS=np.ones(shape, dtype=bool),
        tokens_PS=tokens_PS,
        cap_tokens=CAP_TOKENS,
    )


def figures(table, *, rng, resamples=400):
    """The measures that are checked, by name and budget."""
    evaluation = measure(table, title="w", budgets=BUDGETS, ks=[1, 8], rng=rng, resamples=resamples)
    wanted = {
        *(("accuracy", budget) for budget in BUDGETS),
        ("pass@8", 8192),
        ("pass@8", 32768),
        ("mean tokens", None),
        ("mean tokens given correct", None),
        ("tokens per correct answer", None),
        ("area over log budget", None),
    }
    return {key: evaluation.value(*key) for key in wanted}


@cache
def truth_of(kind, **model):
    """Figures of a world large enough to stand for all problems: 200,000 of them."""
    rng = np.random.default_rng(12345)
    table = sample(draw_world(200_000, kind, rng=rng), rng=rng, **model)
    return {key: v.estimate for key, v in figures(table, rng=rng, resamples=1).items()}


def count_covered(kind, problems, worlds):
    truth = truth_of(kind)
    covered = dict.fromkeys(truth, 0)
    for number in range(worlds):
        rng = np.random.default_rng([number, problems])
        found = figures(sample(draw_world(problems, kind, rng=rng), rng=rng), rng=rng)
        for key, interval in found.items():
            covered[key] += interval.low <= truth[key] <= interval.high
    return {key: count / worlds for key, count in covered.items()}


@cache
def differences_covered(kind, problems, number, ungraded):
    """Whether one world's intervals hold the truth: accuracy at each budget, mean tokens and their
    ratio, of a model that is shorter and a little better; that share of its samples has no grade.
    """
    model = {"shift": -0.4, "gain": 1.3}
    before, after = truth_of(kind), truth_of(kind, **model)
    rng = np.random.default_rng([number, problems, 1])
    world = draw_world(problems, kind, rng=rng)
    pair = [sample(world, rng=rng), sample(world, rng=rng, **model)]
    graded_PS = rng.random(pair[1].graded_PS.shape) >= ungraded
    pair[1] = pair[1]._replace(graded_PS=graded_PS)
    compared = compare("w", *pair, budgets=BUDGETS, ks=[8], rng=rng, resamples=400)
    keys = [("mean tokens", None), *(("accuracy", budget) for budget in BUDGETS)]
    found = {key: (compared.find(*key).difference, after[key] - before[key]) for key in keys}
    ratio = after[keys[0]] / before[keys[0]]
    found["token ratio", None] = compared.token_ratio, ratio
    return {key: each.low <= truth <= each.high for key, (each, truth) in found.items()}


def count_differences_covered(kind, problems, worlds, ungraded=0.0):
    """The share of worlds by figure."""
    found = [differences_covered(kind, problems, number, ungraded) for number in range(worlds)]
    return {key: sum(each[key] for each in found) / worlds for key in found[0]}


@pytest.mark.parametrize("problems", [30, 500])
def test_levels_cover_about_as_often_as_they_claim(problems):
    # 150 worlds: the standard error of 95% is 1.8 points, so .895 is three below. The exact
    # check, 93% to 97% with 4,000 worlds, is `python tests/metrics/test_coverage.py`.
    for key, share in count_covered("mixed", problems, worlds=150).items():
        assert share >= 0.895, key


@pytest.mark.parametrize("ungraded", [0.0, 0.01])
def test_differences_cover_about_as_often_as_they_claim(ungraded):
    for key, share in count_differences_covered("mixed", 30, 60, ungraded).items():
        assert share >= 0.86, key


def test_a_token_ratio_does_not_cover_more_often_than_it_claims_where_samples_are_ungraded():
    # Of 120 worlds at 95%, 119 or more hold the truth in 1.5 of 100 tries. An interval of twice the
    # width would hold it always.
    covered = count_differences_covered("mixed", 30, worlds=120, ungraded=0.01)
    assert covered["token ratio", None] < 0.99


def test_intervals_that_ignore_clusters_would_be_caught():
    # 40 problems whose 8 samples agree: treated as 320 independent samples the interval is
    # narrower by about sqrt(8) and covers about half of the time.
    from tersely.metrics.intervals import bootstrap_mean

    rng, clustered, naive = np.random.default_rng(7), 0, 0
    for _ in range(200):
        hits_PS = np.repeat(rng.integers(2, size=(40, 1)), 8, axis=1).astype(float)
        options = {"n_samples": 320, "rng": rng, "resamples": 250}
        low, high = bootstrap_mean(hits_PS.mean(axis=1), **options)[1:3]
        clustered += low <= 0.5 <= high
        low, high = bootstrap_mean(hits_PS.ravel(), **options)[1:3]
        naive += low <= 0.5 <= high
    assert 0.89 <= clustered / 200 <= 0.995
    assert naive / 200 < 0.7


if __name__ == "__main__":
    for kind in PASS_RATES:
        for problems, worlds in ((30, 4000), (500, 4000)):
            shares = count_covered(kind, problems, worlds)
            shares |= {
                (f"difference of {name}", budget): share
                for (name, budget), share in count_differences_covered(
                    kind, problems, worlds // 4
                ).items()
            }
            for (name, budget), share in sorted(shares.items(), key=str):
                print(f"{kind:6s} {problems:4d} problems x {SAMPLES}: {name} {budget}: {share:.1%}")
