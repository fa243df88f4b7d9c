"""The curve of accuracy read the other way."""

import numpy as np
import pytest

from tersely.metrics import needed as needed_module
from tersely.metrics.needed import find_needed, trace_curve
from tersely.metrics.records import SampleTable

CAP = 4096


def make(right, tokens, *, cap_tokens=CAP):
    right_PS, tokens_PS = np.array(right, dtype=bool), np.array(tokens)
    return SampleTable(
        keys=tuple(("b", str(p)) for p in range(len(right_PS))),
        correct_PS=right_PS,
        finished_PS=tokens_PS < cap_tokens,
        graded_PS=np.ones(right_PS.shape, dtype=bool),
        tokens_PS=tokens_PS,
        cap_tokens=cap_tokens,
    )


def need(table, accuracy, seed=0):
    return find_needed(trace_curve(table), accuracy=accuracy, rng=np.random.default_rng(seed))


def test_the_cap_is_the_length_of_the_sample_that_reaches_the_accuracy():
    # Right at 100, 200, 400 of four: 25% at 100, 50% at 200, 75% at 400, never 80%.
    table = make([[1], [1], [1], [0]], [[100], [200], [400], [4096]])
    assert [need(table, share).cap.estimate for share in (0.2, 0.25, 0.5, 0.75)] == [
        *(100, 100, 200, 400)
    ]
    assert np.isnan(need(table, 0.8).cap.estimate)
    assert need(table, 0.8).cap.high == np.inf
    # At a cap of 200 the four cost 100, 200, 200 and 200, but for the caps that are looked at.
    assert need(table, 0.5).cost.estimate == pytest.approx(175, rel=0.01)


def test_more_accuracy_never_needs_less():
    rng = np.random.default_rng(3)
    tokens = np.minimum(rng.lognormal(6, 1, (80, 4)), CAP).astype(np.int64)
    table = make((rng.random((80, 4)) < 0.7) & (tokens < CAP), tokens)
    needs = [need(table, share) for share in (0.1, 0.3, 0.5, 0.6)]
    for part in ("cap", "cost"):
        values = np.array([getattr(each, part)[:3] for each in needs])
        assert (np.diff(values, axis=0) >= 0).all()
        assert (values[:, 1] <= values[:, 0]).all()
        assert (values[:, 0] <= values[:, 2]).all()


def test_one_problem_gives_no_interval():
    needed = need(make([[1, 1]], [[10, 20]]), 0.5)
    assert needed.cap.estimate == 10
    assert np.isnan(needed.cap.low)


def world(problems, rng):
    chance_P = rng.beta(0.8, 0.6, size=problems)
    log_P = 6 + 0.8 * (1 - chance_P) + 0.35 * rng.standard_normal(problems)
    right_PS = rng.random((problems, 4)) < chance_P[:, None]
    log_PS = log_P[:, None] + 0.3 * rng.standard_normal((problems, 4))
    tokens_PS = np.minimum(np.ceil(np.exp(log_PS)), CAP).astype(np.int64)
    return make(right_PS & (tokens_PS < CAP), tokens_PS)


def test_the_intervals_hold_the_truth_19_times_in_20(monkeypatch):
    monkeypatch.setattr(needed_module, "DRAWS", 500)
    truth = need(world(200_000, np.random.default_rng(0)), 0.4)
    held, worlds = np.zeros(2), 80
    for seed in range(worlds):
        found = need(world(60, np.random.default_rng([seed, 1])), 0.4, seed)
        for at, part in enumerate(("cap", "cost")):
            interval = getattr(found, part)
            held[at] += interval.low <= getattr(truth, part).estimate <= interval.high
    # Of 80 worlds, 95% less 2 standard errors: 72.
    assert (held >= 72).all(), held
    assert (held < 80).all(), held
