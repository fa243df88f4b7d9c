from itertools import combinations

import numpy as np
import pytest
from scipy.stats import hypergeom

from tersely.metrics.records import NO_ANSWER, RIGHT, UNKNOWN_ANSWER
from tersely.metrics.votes import gather_votes, majority_at_k


def majority(votes, *, k, graded=None):
    graded_PS = np.ones((1, len(votes)), bool) if graded is None else np.array([graded], bool)
    return float(majority_at_k(in_one_box(np.array([votes]), graded_PS), k=k)[0])


def in_one_box(answer_PS, graded_PS):
    box = gather_votes(answer_PS, graded_PS, np.ones((*answer_PS.shape, 1), bool))
    return box._replace(which_N=box.which_N[:, 0], unknown_N=box.unknown_N[:, 0])


def by_hand(votes, k):
    """Every subset's vote counted with a dictionary; a tie shares the win."""
    total, subsets = 0.0, list(combinations(votes, k))
    for subset in subsets:
        tally = {}
        for vote in subset:
            if vote != NO_ANSWER:
                tally[vote] = tally.get(vote, 0) + 1
        top = [vote for vote, count in tally.items() if count == max(tally.values())]
        total += (RIGHT in top) / max(len(top), 1)
    return total / len(subsets)


def test_golden_votes():
    # three right, two alike wrong: right wins. Two right, two alike wrong: half. Three alike
    # wrong beat two right; three different wrong ones do not. Without an answer nobody votes.
    assert majority([0, 0, 0, 5, 5], k=5) == 1.0
    assert majority([0, 0, 5, 5], k=4) == 0.5
    assert majority([0, 0, 5, 5, 5], k=5) == 0.0
    assert majority([0, 0, 5, 6, 7], k=5) == 1.0
    assert majority([0, NO_ANSWER, NO_ANSWER, NO_ANSWER], k=4) == 1.0
    assert majority([NO_ANSWER, NO_ANSWER], k=2) == 0.0
    # one of two: right half of the time, whatever the others say
    assert majority([0, 9], k=1) == 0.5
    # k=2 of [0, 0, 5]: {0,0} right, {0,5} twice a tie: (1 + .5 + .5) / 3
    assert majority([0, 0, 5], k=2) == pytest.approx(2 / 3)


def test_majority_is_the_mean_over_subsets():
    rng = np.random.default_rng(0)
    for _ in range(60):
        votes = rng.choice([RIGHT, NO_ANSWER, 3, 4, 8], size=6).tolist()
        k = int(rng.integers(1, 7))
        assert majority(votes, k=k) == pytest.approx(by_hand(votes, k)), (votes, k)


def test_rows_of_votes_do_not_mix_and_ungraded_samples_do_not_vote():
    # the second problem's ungraded wrong votes would win; without them the right ones do.
    answer_PS = np.array([[7, 7, 0], [5, 5, 0]])
    box = in_one_box(answer_PS, np.array([[1, 1, 1], [0, 0, 1]], dtype=bool))
    assert majority_at_k(box, k=1) == pytest.approx([1 / 3, 1.0])
    assert np.isnan(majority_at_k(box, k=2)[1])


def test_an_unknown_wrong_answer_or_too_few_samples_are_undefined():
    assert np.isnan(majority([0, 0, UNKNOWN_ANSWER], k=2))
    assert np.isnan(majority([0, 0], k=3))
    with pytest.raises(ValueError, match="k is 0"):
        majority([0], k=0)


def test_many_subsets_are_all_counted():
    # 17 right, 15 alike wrong, k = 31 of 32: right always wins; with replacement it might not.
    assert majority([0] * 17 + [5] * 15, k=31) == pytest.approx(1.0)
    # k = 16 of 32, 601080390 subsets: the exact chance by the hypergeometric law
    law = hypergeom(32, 18, 16)
    exact = sum(law.pmf(x) for x in range(9, 17)) + 0.5 * law.pmf(8)
    assert majority([0] * 18 + [5] * 14, k=16) == pytest.approx(exact, rel=1e-12)
    # 400 samples, half of them right, the others of one mind: by symmetry right wins half
    assert majority([0] * 200 + [5] * 200, k=128) == pytest.approx(0.5, rel=1e-12)


def test_the_same_votes_have_the_same_value_whatever_stands_beside_them():
    votes = np.array([0] * 7 + [5] * 6 + [9] * 3)
    alone = majority(votes.tolist(), k=8)
    among = np.stack([np.zeros(16, dtype=np.int64), votes, np.full(16, 5)])
    together = majority_at_k(in_one_box(among, np.ones((3, 16), dtype=bool)), k=8)
    assert together.tolist() == pytest.approx([1.0, alone, 0.0])


def test_more_subsets_than_a_float_counts_are_weighed_all_the_same():
    # C(1100, 550) is about 1e330. Right wins with more than half of the votes, by the
    # hypergeometric law: 275 of 550 are half.
    votes = [0] * 553 + [5] * 547
    law = hypergeom(1100, 553, 550)
    exact = law.sf(275) + 0.5 * law.pmf(275)
    assert 0.5 < exact < 0.99
    assert majority(votes, k=550) == pytest.approx(exact, rel=1e-11)
    assert majority(votes, k=1) == pytest.approx(553 / 1100)
    assert majority(votes, k=1100) == 1.0


def test_at_each_budget_only_the_answers_in_time_are_votes():
    rng = np.random.default_rng(1)
    answer_PS = rng.choice(
        [RIGHT, NO_ANSWER, UNKNOWN_ANSWER, 3, 4], (40, 5), p=np.array([3, 1, 1, 3, 2]) / 10
    )
    graded_PS, in_time_PSB = rng.random((40, 5)) < 0.9, rng.random((40, 5, 3)) < 0.6
    for k in (1, 2, 3):
        got_PB = majority_at_k(gather_votes(answer_PS, graded_PS, in_time_PSB), k=k)
        for p, b in np.ndindex(40, 3):
            said = np.where(in_time_PSB[p, :, b], answer_PS[p], NO_ANSWER)[graded_PS[p]].tolist()
            if len(said) < k or UNKNOWN_ANSWER in said:
                assert np.isnan(got_PB[p, b])
            else:
                assert got_PB[p, b] == pytest.approx(by_hand(said, k))
