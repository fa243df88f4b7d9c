import numpy as np
import pytest

from tersely.core.errors import ConfigError, DataError
from tersely.metrics.budgets import Protocol
from tersely.metrics.changes import list_changes
from tersely.metrics.comparison import compare, compare_families, pair
from tersely.metrics.measures import Unit, measure
from tersely.metrics.records import SampleTable


def table(tokens, correct, *, keys=None, cap_tokens=100, graded=None):
    tokens_PS = np.array(tokens)
    return SampleTable(
        keys=keys or tuple(("b", f"p{row}") for row in range(len(tokens))),
        correct_PS=np.array(correct, dtype=bool),
        finished_PS=tokens_PS < cap_tokens,
        graded_PS=np.ones(tokens_PS.shape, bool) if graded is None else np.array(graded, bool),
        tokens_PS=tokens_PS,
        cap_tokens=cap_tokens,
    )


BEFORE = table([[100, 60], [40, 80]], [[0, 1], [1, 1]])
AFTER = table([[20, 30], [10, 20]], [[0, 1], [1, 0]])


def compared_at(before, after, *, budgets=(100,), **options):
    return compare("all", before, after, budgets=budgets, rng=np.random.default_rng(0), **options)


def test_golden_comparison():
    # before: tokens 100* 60 | 40 80 (* cut, wrong): mean 70, correct (60+40+80)/3 = 60, wrong 100
    # after:  tokens 20 30 | 10 20, right are 30 and 10: mean 20, correct 20, wrong 20
    # accuracy within 50: before (0 + 1/2)/2 = 1/4, after 1/2; within 100: 3/4, 1/2
    # pass@2 at 100: both problems have a right sample in either run; pass^2: before p1 only
    # tokens per correct answer: 280/3, 80/2. AES: dL = 50/70, dA = -1/3: 5/7 - 5/3
    compared = compared_at(BEFORE, AFTER, budgets=[100, 50])
    expected = {
        ("mean tokens", None): (70, 20, -50),
        ("mean tokens given correct", None): (60, 20, -40),
        ("mean tokens given wrong", None): (100, 20, -80),
        ("truncated share", None): (0.25, 0, -0.25),
        ("accuracy", 50): (0.25, 0.5, 0.25),
        ("accuracy", 100): (0.75, 0.5, -0.25),
        ("mean@2", 100): (0.75, 0.5, -0.25),
        ("pass@2", 100): (1, 1, 0),
        ("pass^2", 100): (0.5, 0, -0.5),
        ("tokens per correct answer", None): (280 / 3, 40, 40 - 280 / 3),
        ("area over log budget", None): (0.5, 0.5, 0),
        # the better curve is .5, .75: gaps .25, 0 and 0, .25, triangles over the whole range
        ("REG gap to the better curve", None): (0.125, 0.125, 0),
    }
    for key, values in expected.items():
        m = compared.find(*key)
        got = (m.before.estimate, m.after.estimate, m.difference.estimate)
        assert got == pytest.approx(values), key
    assert compared.find("mean tokens").unit is Unit.TOKENS
    assert compared.find("mean tokens given correct").before.n_samples == 3
    assert compared.token_ratio.estimate == pytest.approx(2 / 7)
    assert compared.aes.estimate == pytest.approx(5 / 7 - 5 / 3)
    assert (compared.n_problems, compared.samples_before, compared.samples_after) == (2, 2, 2)
    assert compared.budgets == (50, 100)
    assert np.isnan(compared.find("mean tokens given truncated").difference.estimate)


def test_every_measure_agrees_with_the_evaluation_of_each_run_alone():
    rng = np.random.default_rng(3)
    tokens = rng.integers(1, 101, size=(2, 25, 4))
    right = rng.random((2, 25, 4)) < 0.5
    sides = [table(t, r & (t < 100)) for t, r in zip(tokens, right, strict=True)]
    compared = compared_at(*sides, budgets=[25, 100], ks=[2, 4])
    for side, level in zip(sides, ("before", "after"), strict=True):
        alone = measure(side, title="x", budgets=[25, 100], ks=[2, 4], rng=rng)
        for quantity, interval in alone.measured:
            m = compared.find(quantity.name, quantity.budget_tokens)
            assert getattr(m, level).estimate == pytest.approx(interval.estimate, nan_ok=True)
            assert getattr(m, level).n_problems == interval.n_problems
    for m in compared.measures:
        gap = m.after.estimate - m.before.estimate
        assert m.difference.estimate == pytest.approx(gap, nan_ok=True), m.name


def test_swapping_the_runs_swaps_every_difference():
    there, back = compared_at(BEFORE, AFTER), compared_at(AFTER, BEFORE)
    for m, n in zip(there.measures, back.measures, strict=True):
        assert m.difference.estimate == pytest.approx(-n.difference.estimate, nan_ok=True)
        assert m.difference.low == pytest.approx(-n.difference.high, nan_ok=True, abs=1e-9)


def test_ungraded_samples_are_counted_and_left_out():
    # p1 after loses its right sample of 10 tokens: mean (20+30+20)/3, accuracy (1/2 + 0)/2.
    after = AFTER._replace(graded_PS=np.array([[True, True], [False, True]]))
    compared = compared_at(BEFORE, after)
    assert (compared.ungraded_before, compared.ungraded_after) == (0, 1)
    assert compared.find("mean tokens").after.estimate == pytest.approx(70 / 3)
    assert compared.find("accuracy", 100).after.estimate == pytest.approx(0.25)
    assert compared.find("accuracy", 100).after.n_samples == 3
    # p1 now has one graded sample, so mean@2 is compared on p0 alone, in both runs.
    mean = compared.find("mean@2", 100)
    assert mean.after.n_problems == mean.before.n_problems == 1
    assert (mean.before.estimate, mean.after.estimate) == (0.5, 0.5)


def test_an_ungraded_sample_is_not_wrong():
    # p0 after keeps its right sample of 30 tokens; p1's wrong one of 20 tokens remains.
    after = AFTER._replace(graded_PS=np.array([[False, True], [True, True]]))
    wrong = compared_at(BEFORE, after).find("mean tokens given wrong")
    assert (wrong.after.estimate, wrong.after.n_samples, wrong.after.n_problems) == (20, 1, 1)
    assert np.isnan(wrong.after.low)


def test_each_family_is_compared_on_its_own_problems():
    compared = compare_families(
        BEFORE,
        AFTER,
        families=["sums", "clocks"],
        budgets=[100],
        rng=np.random.default_rng(0),
    )
    assert [c.title for c in compared] == ["clocks", "sums"]
    assert [c.measures[0].before.estimate for c in compared] == [60, 80]


def test_pairing_keeps_the_shared_problems_in_one_order_and_says_what_it_left_out():
    keys = (("b", "p1"), ("b", "p9"), ("b", "p0"))
    after = table([[1, 2], [3, 4], [5, 6]], [[1, 1]] * 3, keys=keys)
    left, right, notes = pair(BEFORE, after)
    assert left.keys == right.keys == (("b", "p0"), ("b", "p1"))
    np.testing.assert_array_equal(right.tokens_PS, [[5, 6], [1, 2]])
    assert notes == ("Problems in one evaluation only, left out: 0 before, 1 after.",)


def test_runs_of_different_caps_are_compared_at_the_lower_one():
    # at 70 tokens: before 70* 60 | 40 70*; only 60 and 40 are right and finished
    after = table([[20, 30], [10, 20]], [[0, 1], [1, 0]], cap_tokens=70)
    left, right, notes = pair(BEFORE, after)
    assert left.cap_tokens == right.cap_tokens == 70
    np.testing.assert_array_equal(left.tokens_PS, [[70, 60], [40, 70]])
    assert compared_at(left, right, budgets=[70]).find("accuracy", 70).before.estimate == 0.5
    assert "cut at 70 tokens" in notes[0]


def test_runs_with_different_numbers_of_samples_are_compared_up_to_the_fewer():
    after = table([[20], [10]], [[1], [1]])
    left, right, notes = pair(BEFORE, after)
    compared = compared_at(left, right)
    assert "Samples a problem: 2 before, 1 after" in notes[0]
    assert compared.find("accuracy", 100).difference.estimate == pytest.approx(0.25)
    assert compared.find("pass@1", 100).before.estimate == pytest.approx(0.75)
    with pytest.raises(ConfigError, match="k = 2 is outside 1 to 1"):
        compared_at(left, right, ks=[2])


def test_evaluations_that_share_no_problem_are_refused():
    with pytest.raises(DataError, match="share no problem"):
        pair(BEFORE, table([[1, 1]], [[1, 1]], keys=(("c", "p0"),)))


def test_unpaired_tables_are_refused():
    other = AFTER._replace(keys=(("b", "p1"), ("b", "p0")))
    with pytest.raises(ValueError, match="pair them first"):
        compared_at(BEFORE, other)


def test_lost_and_won_problems_are_those_that_some_and_no_sample_solves():
    before = table([[10, 10], [10, 10], [10, 10]], [[1, 0], [0, 0], [1, 1]])
    after = table([[5, 5], [5, 5], [5, 5]], [[0, 0], [0, 1], [1, 0]])
    changes = list_changes(before, after, budget_tokens=100, protocol=Protocol.FINISHED)
    assert [c.lost for c in changes] == [True, False, False]
    assert [c.won for c in changes] == [False, True, False]
    assert changes[2][2:] == (2, 2, 1, 2, 10.0, 5.0)
    # none of an ungraded problem's samples says that it is lost
    ungraded = after._replace(graded_PS=np.array([[0, 0], [1, 1], [1, 1]], dtype=bool))
    changes = list_changes(before, ungraded, budget_tokens=100, protocol=Protocol.FINISHED)
    assert not changes[0].lost


def test_lengths_are_compared_over_the_problems_with_graded_samples_on_both_sides():
    before = table([[10, 10], [90, 90]], [[1, 1], [1, 1]])
    after = table([[10, 10], [0, 0]], [[1, 1], [0, 0]], graded=[[1, 1], [0, 0]])
    compared = compared_at(before, after)
    for name in ("mean tokens", "tokens per correct answer"):
        row = compared.find(name)
        assert (row.before.estimate, row.after.estimate, row.difference.estimate) == (10, 10, 0)
    assert compared.aes.estimate == 0


def test_a_loss_of_pass_at_k_that_mean_at_k_hides_is_there_to_see():
    # p0 8/8 before and after 8/8; p1 1/8 -> 0/8; p2 4/8 -> 8/8: mean .54 -> .67, pass@8 1 -> 2/3
    def run(*hits):
        return table([[10] * 8] * 3, [[1] * h + [0] * (8 - h) for h in hits])

    compared = compared_at(run(8, 1, 4), run(8, 0, 8))
    assert compared.find("mean@8", 100).difference.estimate == pytest.approx(1 / 8)
    assert compared.find("pass@8", 100).difference.estimate == pytest.approx(-1 / 3)
