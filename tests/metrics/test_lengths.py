import numpy as np
import pytest

from tersely.metrics.lengths import Among, mask, summarise_lengths
from tersely.metrics.records import SampleTable


def table(correct, finished, tokens, graded, *, cap_tokens=1000):
    return SampleTable(
        keys=tuple(("b", f"p{row}") for row in range(len(tokens))),
        correct_PS=np.array(correct, dtype=bool),
        finished_PS=np.array(finished, dtype=bool),
        graded_PS=np.array(graded, dtype=bool),
        tokens_PS=np.array(tokens),
        cap_tokens=cap_tokens,
    )


# graded: correct 10, 20 (finished); wrong 40 (cut), 50 (finished). Ungraded 999 is nowhere.
GOLDEN = table(
    [[1, 0, 1], [1, 0, 1]],
    [[1, 0, 1], [1, 1, 1]],
    [[10, 40, 20], [999, 50, 999]],
    [[1, 1, 1], [0, 1, 0]],
)


def test_golden_quantiles_by_correctness():
    # medians by linear interpolation: all (20+40)/2 = 30, correct 15, wrong 45, truncated 40.
    summaries = {a: summarise_lengths(GOLDEN, a, quantiles_Q=(0.0, 0.5, 1.0)) for a in Among}
    estimates = {a: [q.estimate for q in s.quantiles] for a, s in summaries.items()}
    assert estimates[Among.ALL] == [10, 30, 50]
    assert estimates[Among.CORRECT] == [10, 15, 20]
    assert estimates[Among.WRONG] == [40, 45, 50]
    assert estimates[Among.TRUNCATED] == [40, 40, 40]
    assert [s.n_samples for s in summaries.values()] == [4, 2, 2, 1]


def test_the_distribution_function_counts_samples_up_to_each_length():
    summary = summarise_lengths(GOLDEN, Among.ALL)
    for x, share in zip(summary.grid_X, summary.cdf_X, strict=True):
        assert share == np.mean(np.array([10, 20, 40, 50]) <= x)
    assert summary.cdf_X[0] == 0.0
    assert summary.cdf_X[-1] == 1.0


def test_correct_and_wrong_make_up_all():
    among = {a: mask(GOLDEN, a) for a in Among}
    assert not (among[Among.CORRECT] & among[Among.WRONG]).any()
    np.testing.assert_array_equal(among[Among.CORRECT] | among[Among.WRONG], among[Among.ALL])


def test_an_empty_set_is_nan_throughout():
    summary = summarise_lengths(table([[1]], [[1]], [[7]], [[1]]), Among.WRONG)
    assert summary.n_samples == 0
    assert np.isnan(summary.cdf_X).all()
    assert all(np.isnan(q[:3]).all() for q in summary.quantiles)


def test_one_problem_has_quantiles_but_no_interval():
    (median,) = summarise_lengths(
        table([[1, 1]], [[1, 1]], [[7, 9]], [[1, 1]]), Among.ALL, quantiles_Q=(0.5,)
    ).quantiles
    assert median.estimate == 8
    assert np.isnan(median.low)


@pytest.mark.parametrize("problems", [30, 300])
def test_quantile_intervals_cover_when_samples_of_a_problem_resemble_each_other(problems):
    # Lengths exp(a_i + e_ij), a and e of like spread: the median of all is exp(0) = 1 unit. 300
    # worlds: 95% coverage has standard error .0126; .90 is four below. Ignoring the clusters
    # would make errors too small by sqrt(1 + 7/2), which covers less than two thirds.
    rng, covered, worlds = np.random.default_rng(3), 0, 300
    for _ in range(worlds):
        log_PS = rng.standard_normal((problems, 1)) + rng.standard_normal((problems, 8))
        tokens_PS = np.round(1000 * np.exp(log_PS)).astype(np.int64)
        ones = np.ones(tokens_PS.shape)
        made = table(ones, ones, tokens_PS, ones, cap_tokens=10**9)
        (median,) = summarise_lengths(made, Among.ALL, quantiles_Q=(0.5,)).quantiles
        covered += median.low <= 1000 <= median.high
    assert 0.90 <= covered / worlds <= 0.99
