import numpy as np

from tersely.metrics.lengths import split_lengths


def test_golden_lengths_by_correctness():
    # graded: correct 10, 20 (finished); wrong 40 (cut), 50 (finished). Ungraded 999 is nowhere.
    # all: (10+20+40+50)/4 = 30, 1/4 cut; correct: 15, 0 cut; wrong: 45, 1/2 cut.
    # medians by linear interpolation: all (20+40)/2 = 30, correct 15, wrong 45.
    lengths = split_lengths(
        np.array([[True, False, True], [True, False, True]]),
        np.array([[True, False, True], [True, True, True]]),
        np.array([[10, 40, 20], [999, 50, 999]]),
        np.array([[True, True, True], [False, True, False]]),
        quantiles_Q=(0.0, 0.5, 1.0),
    )
    assert (lengths.all.mean_tokens, lengths.all.truncated_share) == (30.0, 0.25)
    assert (lengths.correct.mean_tokens, lengths.correct.truncated_share) == (15.0, 0.0)
    assert (lengths.wrong.mean_tokens, lengths.wrong.truncated_share) == (45.0, 0.5)
    np.testing.assert_array_equal(lengths.all.quantile_tokens_Q, [10, 30, 50])
    assert [summary.n_samples for summary in lengths] == [4, 2, 2]


def test_an_empty_set_is_nan_throughout():
    one = np.array([[True]])
    lengths = split_lengths(one, one, np.array([[7]]), one)
    assert lengths.wrong.n_samples == 0
    assert np.isnan(lengths.wrong.mean_tokens)
    assert np.isnan(lengths.wrong.truncated_share)
    assert np.isnan(lengths.wrong.quantile_tokens_Q).all()
    assert lengths.all.mean_tokens == lengths.correct.mean_tokens == 7.0
