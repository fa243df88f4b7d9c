"""What a router between evaluations would save."""

from itertools import combinations, product

import numpy as np
import pytest

from tersely.metrics.between import route_between
from tersely.metrics.records import SampleTable

CAP = 1000
PLAIN = (0.0, 1.0)


def make(right, tokens, graded=None):
    tokens_PS = np.array(tokens)
    return SampleTable(
        keys=tuple(("b", str(p)) for p in range(len(tokens_PS))),
        correct_PS=np.array(right, dtype=bool),
        finished_PS=tokens_PS < CAP,
        graded_PS=np.ones(tokens_PS.shape, bool) if graded is None else np.array(graded, bool),
        tokens_PS=tokens_PS,
        cap_tokens=CAP,
    )


def route(tables, lines=None, seed=0):
    return route_between(
        tables,
        lines=lines or [PLAIN] * len(tables),
        critical=2.0,
        rng=np.random.default_rng(seed),
    )


def test_golden_router_takes_the_cheapest_that_is_right():
    # Problem by problem the dear one is right 1, 1, 0; the cheap one 1, 0, 0.
    dear = make([[1], [1], [0]], [[100], [200], [300]])
    cheap = make([[1], [0], [0]], [[10], [20], [30]])
    routed = route([dear, cheap])
    # To the cheap one (10), to the dear one (200), and to the cheap one, where none is right (30).
    assert routed.best == 0
    assert routed.bound.cost.estimate == pytest.approx(240 / 600)
    assert routed.bound.accuracy.estimate == routed.unrouted.estimate == pytest.approx(2 / 3)
    assert routed.share_I == pytest.approx((1 / 3, 2 / 3))
    assert routed.held_out is None


def test_golden_router_pays_prices_and_prompts():
    dear, cheap = make([[1], [1]], [[100], [100]]), make([[1], [1]], [[150], [150]])
    # A vote of the second costs 5 + 150 / 10 = 20, a fifth of the first's 100.
    routed = route([dear, cheap], [PLAIN, (5.0, 0.1)])
    assert routed.best == 1
    assert routed.bound.cost.estimate == pytest.approx(1.0)
    assert route([cheap, dear], [(0.0, 4.0), PLAIN]).share_I == (0.0, 1.0)


def test_a_right_answer_that_was_cut_is_not_right():
    cut, ended = make([[1], [1]], [[CAP], [CAP]]), make([[1], [1]], [[900], [900]])
    assert route([cut, ended]).share_I == (0.0, 1.0)


def naive_halves(tables):
    """Mean over every pair of halves of each problem, by brute force."""
    right_all, cost_all = [], []
    for p in range(len(tables[0].keys)):
        samples = [
            [
                (bool(t.correct_PS[p, s] and t.finished_PS[p, s]), int(t.tokens_PS[p, s]))
                for s in range(t.tokens_PS.shape[1])
                if t.graded_PS[p, s]
            ]
            for t in tables
        ]
        halves = [list(combinations(range(len(each)), len(each) // 2)) for each in samples]
        values = []
        for chosen in product(*halves):
            for swapped in (False, True):
                seen = [
                    [s for at, s in enumerate(each) if (at in half) != swapped]
                    for each, half in zip(samples, chosen, strict=True)
                ]
                judged = [
                    [s for at, s in enumerate(each) if (at in half) == swapped]
                    for each, half in zip(samples, chosen, strict=True)
                ]
                shares = [np.mean([s[0] for s in each]) for each in seen]
                costs = [np.mean([s[1] for s in each]) for each in seen]
                able = [i for i, share in enumerate(shares) if share >= 0.5] or range(len(shares))
                i = min(able, key=lambda i: costs[i])
                values.append([np.mean([s[at] for s in judged[i]]) for at in (0, 1)])
        right, cost = np.mean(values, axis=0)
        right_all.append(right)
        cost_all.append(cost)
    return np.mean(right_all), np.mean(cost_all)


def test_choosing_by_halves_is_the_mean_over_all_halves():
    # Many copies of a few problems stand in for many draws of halves.
    rng = np.random.default_rng(3)
    few, copies = 6, 200
    shapes = [(few, 4), (few, 3), (few, 2)]
    drawn = [(rng.random(shape) < 0.5, rng.integers(50, 1000, size=shape)) for shape in shapes]
    graded = np.ones((few, 4), dtype=bool)
    graded[0, 3] = False
    rows = [make(*drawn[0], graded), make(*drawn[1]), make(*drawn[2])]
    right, cost = naive_halves(rows)
    tiled = [
        make(
            np.tile(t.correct_PS, (copies, 1)),
            np.tile(t.tokens_PS, (copies, 1)),
            np.tile(t.graded_PS, (copies, 1)),
        )
        for t in rows
    ]
    routed = route(tiled)
    assert routed.held_out is not None
    assert routed.held_out.accuracy.estimate == pytest.approx(right, abs=0.005)
    best = tiled[routed.best]
    n_P = best.graded_PS.sum(axis=1)
    base = (np.where(best.graded_PS, best.tokens_PS, 0).sum(axis=1) / n_P).mean()
    assert routed.held_out.cost.estimate == pytest.approx(cost / base, rel=0.005)


def test_models_that_are_alike_gain_nothing_that_holds_on_other_samples():
    # Right by a coin at equal lengths: the same samples promise more, other samples half.
    rng = np.random.default_rng(5)
    tables = [make(rng.random((400, 4)) < 0.5, np.full((400, 4), 100)) for _ in range(4)]
    routed = route(tables)
    assert routed.bound.accuracy.estimate > 0.6
    assert routed.held_out is not None
    assert routed.held_out.accuracy.estimate == pytest.approx(0.5, abs=0.03)
