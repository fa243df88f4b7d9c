import numpy as np
import pytest

from tersely.metrics.lengths import Among, Part, lengths_of, mask, read_quantiles, summarise_lengths
from tersely.metrics.records import SampleTable, cut_at, select


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


# Of GOLDEN: thinking 6, 40 (cut within it), 0 and 45; right answers stood at 8 and 20.
PARTS = GOLDEN._replace(
    thinking_PS=np.array([[6, 40, 0], [-1, 45, -1]]),
    answer_tokens_PS=np.array([[8, -1, 20], [-1, -1, -1]]),
)


def part_means(made: SampleTable) -> list[float]:
    found = [lengths_of(made, part) for part in Part]
    return [float(x.tokens_PS[x.among_PS].mean()) for x in found if x.among_PS.any()]


def test_golden_parts_of_lengths():
    # thinking (6 + 40 + 0 + 45) / 4, reply (4 + 0 + 20 + 5) / 4, after the right answer (2 + 0) / 2
    assert part_means(PARTS) == [22.75, 7.25, 1.0]
    summary = summarise_lengths(PARTS, Part.REPLY, quantiles_Q=(0.0, 1.0))
    assert [q.estimate for q in summary.quantiles] == [0, 20]
    assert (summary.n_samples, summary.unknown) == (4, 0)


def test_thinking_and_reply_make_up_all_tokens():
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 100, size=(20, 4))
    made = table(rng.random((20, 4)) < 0.5, tokens < 90, tokens, rng.random((20, 4)) < 0.9)
    made = made._replace(thinking_PS=rng.integers(0, tokens + 1))
    thinking, reply = lengths_of(made, Part.THINKING), lengths_of(made, Part.REPLY)
    np.testing.assert_array_equal(thinking.tokens_PS + reply.tokens_PS, tokens)
    np.testing.assert_array_equal(thinking.among_PS, reply.among_PS)
    turned = select(made, rows_P=rng.permutation(20))
    np.testing.assert_allclose(part_means(turned), part_means(made))


def test_a_part_that_is_not_known_of_every_sample_is_shown_of_none():
    some = PARTS._replace(thinking_PS=np.array([[-1, 40, 0], [-1, 45, -1]]))
    summary = summarise_lengths(some, Part.THINKING)
    assert (summary.n_samples, summary.unknown) == (0, 1)
    assert summarise_lengths(some, Part.AFTER_RIGHT).unknown == 0
    assert summarise_lengths(GOLDEN, Part.AFTER_RIGHT).unknown == 2
    assert summarise_lengths(GOLDEN, Part.REPLY).unknown == 4


def test_a_lower_cap_cuts_the_thinking_too():
    made = cut_at(PARTS, cap_tokens=15)
    assert part_means(made)[:2] == [(6 + 15 + 0 + 15) / 4, (4 + 0 + 15 + 0) / 4]


def test_quantiles_of_sorted_lengths_are_numpys_to_the_last_bit():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 17, 1000):
        sorted_N = np.sort(rng.integers(1, 32_000, size)).astype(np.float64)
        q_Q = np.array([0.0, 0.05, 0.5, 0.95, 1.0, *rng.random(200)])
        np.testing.assert_array_equal(read_quantiles(sorted_N, q_Q), np.quantile(sorted_N, q_Q))
