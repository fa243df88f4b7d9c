import numpy as np
import pytest

from tersely.core.errors import DataError
from tersely.metrics.comparison import Unit, compare, compare_families, pair
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


def test_golden_comparison():
    # before: tokens 100* 60 | 40 80 (* cut, wrong): mean 70, correct (60+40+80)/3 = 60, wrong 100
    # after:  tokens 20 30 | 10 20, right are 30 and 10: mean 20, correct 20, wrong 20
    # accuracy within 50: before (0 + 1/2)/2 = 1/4, after 1/2; within 100: 3/4, 1/2
    # pass@2 at 100: both problems have a right sample in either run
    compared = compare(
        "all", BEFORE, AFTER, budgets_B=np.array([50, 100]), rng=np.random.default_rng(0)
    )
    rows = {(m.name, m.budget_tokens): m for m in compared.measures}
    expected = {
        ("mean tokens", None): (70, 20, -50),
        ("mean tokens given correct", None): (60, 20, -40),
        ("mean tokens given wrong", None): (100, 20, -80),
        ("truncated share", None): (0.25, 0, -0.25),
        ("accuracy", 50): (0.25, 0.5, 0.25),
        ("accuracy", 100): (0.75, 0.5, -0.25),
        ("mean@2", 100): (0.75, 0.5, -0.25),
        ("pass@2", 100): (1, 1, 0),
    }
    assert list(rows) == list(expected)
    for key, values in expected.items():
        m = rows[key]
        got = (m.before.estimate, m.after.estimate, m.difference.estimate)
        assert got == pytest.approx(values), key
    assert rows["mean tokens", None].unit is Unit.TOKENS
    assert rows["mean tokens given correct", None].before.n_samples == 3
    assert compared.token_ratio.estimate == pytest.approx(2 / 7)
    assert (compared.n_problems, compared.samples_per_problem) == (2, 2)


def test_ungraded_samples_are_counted_and_left_out():
    # p1 after loses its right sample of 10 tokens: mean (20+30+20)/3, accuracy (1/2 + 0)/2.
    after = AFTER._replace(graded_PS=np.array([[True, True], [False, True]]))
    compared = compare(
        "all", BEFORE, after, budgets_B=np.array([100]), rng=np.random.default_rng(0)
    )
    rows = {m.name: m for m in compared.measures}
    assert (compared.ungraded_before, compared.ungraded_after) == (0, 1)
    assert rows["mean tokens"].after.estimate == pytest.approx(70 / 3)
    assert rows["accuracy"].after.estimate == pytest.approx(0.25)
    assert rows["accuracy"].after.n_samples == 3
    # p1 now has one graded sample, so mean@2 is defined for p0 alone.
    assert rows["mean@2"].after.n_problems == 1


def test_an_ungraded_sample_is_not_wrong():
    # p0 after keeps its right sample of 30 tokens; p1's wrong one of 20 tokens remains.
    after = AFTER._replace(graded_PS=np.array([[False, True], [True, True]]))
    compared = compare(
        "all", BEFORE, after, budgets_B=np.array([100]), rng=np.random.default_rng(0)
    )
    wrong = {m.name: m for m in compared.measures}["mean tokens given wrong"]
    assert (wrong.after.estimate, wrong.after.n_samples, wrong.after.n_problems) == (20, 1, 1)
    assert np.isnan(wrong.after.low)


def test_each_family_is_compared_on_its_own_problems():
    compared = compare_families(
        BEFORE,
        AFTER,
        families=["sums", "clocks"],
        budgets_B=np.array([100]),
        rng=np.random.default_rng(0),
    )
    assert [c.title for c in compared] == ["clocks", "sums"]
    assert [c.measures[0].before.estimate for c in compared] == [60, 80]


def test_pairing_keeps_the_shared_problems_in_one_order():
    keys = (("b", "p1"), ("b", "p9"), ("b", "p0"))
    after = table([[1, 2], [3, 4], [5, 6]], [[1, 1]] * 3, keys=keys)
    left, right = pair(BEFORE, after)
    assert left.keys == right.keys == (("b", "p0"), ("b", "p1"))
    np.testing.assert_array_equal(right.tokens_PS, [[5, 6], [1, 2]])


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (table([[1, 1]], [[1, 1]], keys=(("c", "p0"),)), "share no problem"),
        (table([[1], [1]], [[1], [1]]), "2 samples a problem before, but 1 after"),
        (table([[1, 1], [1, 1]], [[1, 1]] * 2, cap_tokens=99), "cap 100 before, but 99 after"),
    ],
)
def test_evaluations_that_cannot_be_paired_are_refused(after, message):
    with pytest.raises(DataError, match=message):
        pair(BEFORE, after)


def test_unpaired_tables_are_refused():
    other = AFTER._replace(keys=(("b", "p1"), ("b", "p0")))
    with pytest.raises(ValueError, match="pair them first"):
        compare("all", BEFORE, other, budgets_B=np.array([9]), rng=np.random.default_rng(0))
