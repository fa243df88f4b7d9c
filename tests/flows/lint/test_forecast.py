"""What first steps push for, by hand and by second implementations."""

import numpy as np
import pytest

from tersely.flows.lint.figures import correlate, length_drift, measure_shares
from tersely.flows.lint.forecast import Pushed, find_sources, tabulate_cells
from tersely.metrics.intervals import resample_counts


def pushed(*groups, target=25.0):
    """Groups of (tokens, right, push), each of a problem of its own; reward 1 if pushed up."""
    rows = [(number, *row) for number, group in enumerate(groups) for row in group]
    group_N, tokens_N, right_N, push_N = (np.array(column) for column in zip(*rows, strict=True))
    push_N = push_N.astype(np.float64)
    return Pushed(
        problem_N=group_N,
        group_N=group_N,
        tokens_N=tokens_N,
        right_N=right_N.astype(bool),
        short_N=tokens_N <= target,
        reward_N=(push_N > 0).astype(np.float64),
        keep_N=push_N != 0,
        push_N=push_N,
    )


def resamples(problems, rng=0):
    return resample_counts(problems, rng=np.random.default_rng(rng), resamples=500)


# one group that pushes and one that is silent
TWO = pushed(
    [(10, True, 1.0), (20, True, 0.0), (30, False, 0.0), (40, False, -1.0)],
    [(7, True, 0.0), (7, False, 0.0)],
)


def test_golden_drift_is_the_pushed_gap_over_the_spread_of_length():
    # gaps -15 -5 5 15 0 0; push times gap: -15 0 0 -15 0 0, mean -5
    # variance (225 + 25 + 25 + 225) / 6 = 83.33: sd 9.1287; -5 / 9.1287 = -0.5477
    drift = length_drift(TWO, counts_RP=resamples(2))
    assert drift.tokens == pytest.approx(-5.0)
    assert drift.sd_tokens == pytest.approx(9.12871)
    assert drift.total.estimate == pytest.approx(-0.547723)
    # half of it through the right one that is pushed up, half through the wrong one pushed down
    assert drift.right.estimate == pytest.approx(-0.2738613)
    assert drift.wrong.estimate == pytest.approx(-0.2738613)


def test_the_cells_add_up_to_the_drift_and_to_all_rollouts():
    cells = tabulate_cells(TWO)
    assert [(c.right, c.short) for c in cells] == [
        (True, True),
        (True, False),
        (False, True),
        (False, False),
    ]
    assert [c.n for c in cells] == [3, 0, 1, 2]
    assert sum(c.share for c in cells) == pytest.approx(1)
    assert sum(c.drift for c in cells) == pytest.approx(-0.547723)
    assert np.isnan([cells[1].kept, cells[1].push]).all()
    # wrong and long: one of two kept, pushes 0 and -1
    assert (cells[3].kept, cells[3].push) == (0.5, -0.5)


def test_golden_shares():
    shares = measure_shares(TWO, counts_RP=resamples(2))
    assert shares.positive.estimate == pytest.approx(1 / 6)
    assert shares.silent.estimate == pytest.approx(1 / 2)
    assert shares.right.estimate == pytest.approx(3 / 6)
    assert shares.right_pushed_down.estimate == 0
    assert shares.tokens.estimate == pytest.approx(114 / 6)
    assert shares.tokens_right.estimate == pytest.approx(37 / 3)
    assert shares.tokens_wrong.estimate == pytest.approx(77 / 3)
    assert (shares.silent.n_samples, shares.positive.n_samples) == (2, 6)


def test_a_push_that_does_not_look_at_length_has_no_drift_whatever_its_size():
    # right and wrong at the same four lengths, pushed by correctness alone
    lengths = (5, 10, 80, 300)
    group = [(n, right, 2.0 if right else -2.0) for right in (True, False) for n in lengths]
    drift = length_drift(pushed(group), counts_RP=resamples(1))
    assert [i.estimate for i in (drift.total, drift.right, drift.wrong)] == pytest.approx([0] * 3)


def test_drift_changes_sign_with_the_pushes_and_not_with_the_unit_of_length():
    rng = np.random.default_rng(1)
    groups = [
        [(int(rng.integers(1, 99)), bool(rng.random() < 0.5), rng.normal()) for _ in range(6)]
        for _ in range(9)
    ]
    p, counts = pushed(*groups), resamples(9)
    there = length_drift(p, counts_RP=counts)
    back = length_drift(p._replace(push_N=-p.push_N), counts_RP=counts)
    wide = length_drift(p._replace(tokens_N=7 * p.tokens_N), counts_RP=counts)
    assert back.total.estimate == pytest.approx(-there.total.estimate)
    assert wide.total.estimate == pytest.approx(there.total.estimate)
    assert there.total.low < there.total.estimate < there.total.high
    # by a loop
    slow = [push * (n - np.mean([row[0] for row in g])) for g in groups for n, _, push in g]
    assert there.tokens == pytest.approx(np.mean(slow))
    assert there.total.estimate == pytest.approx(np.mean(slow) / there.sd_tokens)
    # Cauchy and Schwarz: no more than the pushes' root mean square
    assert abs(there.total.estimate) <= np.sqrt((p.push_N**2).mean())


def test_correlations_are_pearsons_and_their_intervals_hold_the_truth():
    rng = np.random.default_rng(2)
    groups = [
        [
            (int(n), bool(rng.random() < 0.6), float(n + rng.normal(0, 20)))
            for n in rng.integers(1, 100, 8)
        ]
        for _ in range(60)
    ]
    p = pushed(*groups)
    found = correlate(p, counts_RP=resamples(60))
    r = p.right_N
    assert found.push.estimate == pytest.approx(np.corrcoef(p.tokens_N, p.push_N)[0, 1])
    expected = np.corrcoef(p.tokens_N[r], p.push_N[r])[0, 1]
    assert found.push_if_right.estimate == pytest.approx(expected)
    # uniform lengths of sd 28.6 and noise of sd 20: 28.6 / sqrt(28.6^2 + 20^2) = .82
    assert found.push.low < 0.82 < found.push.high
    assert found.push.high - found.push.low < 0.1
    # all are paid: no correlation to speak of
    assert np.isnan(correlate(p._replace(reward_N=np.ones(480)), counts_RP=resamples(60))[0][0])


def test_golden_sources():
    # one in eight pushed up by 2, among right and wrong; a group of right ones alone by 1 and -1
    rare = [(10, True, 2.0), *[(10, i < 3, -2 / 7) for i in range(7)]]
    even = [(10, True, 1.0), (20, True, -1.0)]
    sources = find_sources(pushed(rare, even))
    assert sources.rare == pytest.approx(2 / 3)
    assert sources.rare_groups == pytest.approx(1 / 2)
    assert sources.all_right == pytest.approx(2 / 6)
    assert sources.all_wrong == 0
    assert sources.strongest == 2


def test_one_problem_has_no_interval_and_nothing_pushed_no_sources():
    silent = pushed([(10, True, 0.0), (20, False, 0.0)])
    assert np.isnan(length_drift(silent, counts_RP=resamples(1)).total.low)
    assert measure_shares(silent, counts_RP=resamples(1)).silent.estimate == 1
    assert np.isnan(find_sources(silent)).all()
