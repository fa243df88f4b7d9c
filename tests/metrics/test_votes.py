"""What k votes under a cap do, against every subset counted one by one."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import hypergeom

from tersely.metrics.records import NO_ANSWER, RIGHT, UNKNOWN_ANSWER, SampleTable, cut_at
from tersely.metrics.votes import Ballots, cast, expect_majority, gather_votes, majority_at_k

CAP = 100


def make(answers, tokens, *, finished=None, graded=None, cap_tokens=CAP):
    answer_PS, tokens_PS = np.array(answers), np.array(tokens)
    shape = answer_PS.shape
    return SampleTable(
        keys=tuple(("b", str(p)) for p in range(shape[0])),
        correct_PS=answer_PS == RIGHT,
        finished_PS=np.ones(shape, bool) if finished is None else np.array(finished),
        graded_PS=np.ones(shape, bool) if graded is None else np.array(graded),
        tokens_PS=tokens_PS,
        cap_tokens=cap_tokens,
        answer_PS=answer_PS,
    )


def draw(seed, *, problems=6, samples=6):
    rng = np.random.default_rng(seed)
    shape = (problems, samples)
    tokens = rng.integers(1, CAP + 1, size=shape)
    return make(
        rng.choice([RIGHT, NO_ANSWER, 3, 4, 8], size=shape),
        tokens,
        finished=(tokens < CAP) & (rng.random(shape) < 0.9),
        graded=rng.random(shape) < 0.9,
    )


def count(table, problem, *, cap, votes):
    """Every subset of the graded samples, its vote counted with a dictionary."""
    graded = np.flatnonzero(table.graded_PS[problem])
    if len(graded) < votes:
        return [np.nan] * 3
    right, tokens, longest, subsets = 0.0, 0.0, 0.0, list(combinations(graded, votes))
    for subset in subsets:
        spent = [min(int(table.tokens_PS[problem, s]), cap) for s in subset]
        tally = {}
        for s in subset:
            in_time = table.finished_PS[problem, s] and table.tokens_PS[problem, s] <= cap
            answer = int(table.answer_PS[problem, s])
            if in_time and answer != NO_ANSWER:
                tally[answer] = tally.get(answer, 0) + 1
        top = [a for a, n in tally.items() if n == max(tally.values())]
        right += (RIGHT in top) / max(len(top), 1)
        tokens, longest = tokens + sum(spent), longest + max(spent)
    return [each / len(subsets) for each in (right, tokens, longest)]


@pytest.mark.parametrize("seed", range(4))
def test_every_cap_and_number_of_votes_is_the_mean_over_all_subsets(seed):
    table = draw(seed)
    caps = sorted({1, CAP, *np.unique(table.tokens_PS)[::5].tolist()})
    for cap, votes, found in cast(table, caps=caps, votes=range(1, 7)):
        expected = [count(table, p, cap=cap, votes=votes) for p in range(len(table.keys))]
        assert np.column_stack(found) == pytest.approx(np.array(expected), nan_ok=True)


def test_votes_are_majority_at_k_of_the_records_cut_at_the_cap():
    table = draw(9, problems=40)
    for cap, votes, found in cast(table, caps=[30, 70, CAP], votes=[1, 2, 3, 5]):
        cut = cut_at(table, cap_tokens=cap)
        right_PS = np.where(cut.correct_PS, RIGHT, cut.answer_PS)
        box = gather_votes(right_PS, cut.graded_PS, np.ones((*right_PS.shape, 1), dtype=bool))
        known = majority_at_k(box, k=votes)[:, 0]
        assert found.right_P == pytest.approx(known, nan_ok=True)


def test_golden_votes():
    # two of [right, right, a]: {r, r} wins, {r, a} twice a tie: (1 + 1/2 + 1/2) / 3
    assert expect_majority(ballots(2, 0, [1]), votes=2) == pytest.approx([2 / 3])
    # two of [right, a, b]: {r, a}, {r, b} ties, {a, b} lost: 1/3
    assert expect_majority(ballots(1, 0, [1, 1]), votes=2) == pytest.approx([1 / 3])
    # three of [right, a, b]: three tie: 1/3. Silent samples cost nothing but a vote.
    assert expect_majority(ballots(1, 0, [1, 1]), votes=3) == pytest.approx([1 / 3])
    assert expect_majority(ballots(1, 2, []), votes=2) == pytest.approx([2 / 3])
    assert np.isnan(expect_majority(ballots(1, 1, [1]), votes=4)).all()


def ballots(right, silent, sizes):
    return Ballots(np.array([right]), np.array([silent]), np.array([sizes], dtype=np.int64))


def test_many_subsets_are_counted_exactly_by_the_hypergeometric_law():
    # 18 right and 14 alike wrong, 16 votes: right wins with 9 and more, shares with 8
    law = hypergeom(32, 18, 16)
    exact = sum(law.pmf(x) for x in range(9, 17)) + 0.5 * law.pmf(8)
    assert expect_majority(ballots(18, 0, [14]), votes=16) == pytest.approx([exact], rel=1e-12)


def test_the_order_of_samples_and_problems_changes_nothing():
    table, rng = draw(3), np.random.default_rng(0)
    rows, columns = rng.permutation(6), rng.permutation(6)
    names = ("correct_PS", "finished_PS", "graded_PS", "tokens_PS", "answer_PS")
    turned = table._replace(**{n: getattr(table, n)[rows][:, columns] for n in names})
    both = (cast(each, caps=[50], votes=[1, 2, 4]) for each in (table, turned))
    for one, other in zip(*both, strict=True):
        assert np.column_stack(one[2])[rows] == pytest.approx(
            np.column_stack(other[2]), nan_ok=True
        )


def test_an_unknown_answer_within_the_cap_leaves_votes_undefined_but_not_one_vote():
    table = make([[RIGHT, UNKNOWN_ANSWER, 3]], [[10, 60, 10]])
    found = {
        (cap, k): each.right_P[0] for cap, k, each in cast(table, caps=[50, 100], votes=[1, 2])
    }
    assert found[100, 1] == pytest.approx(1 / 3)
    assert np.isnan(found[100, 2])
    # at 50 the unknown one is cut and does not vote: {r, -} right, {r, 3} a tie, {-, 3} wrong
    assert found[50, 2] == pytest.approx(0.5)
