"""Whether levels are obeyed: each kind of server, golden shares, and what cannot be told."""

import zlib

import numpy as np
import pytest

from tersely.metrics.adherence import (
    CountedTokens,
    LevelSamples,
    Obedience,
    PairState,
    judge_adherence,
)

RNG = np.random.default_rng
PROBLEMS, SAMPLES = 24, 3
OBEYED, IN_PART, IGNORED, _, REVERSED, UNKNOWN = Obedience


def level(name, tokens_PS, *, thinking_PS=None, budget=None, rank=None, texts=None, cap=None):
    tokens_PS = np.asarray(tokens_PS, dtype=float)
    if thinking_PS is None:
        thinking_PS = np.full(tokens_PS.shape, np.nan)
    # Texts of their own, unless said.
    own = zlib.crc32(name.encode()) * 10**6 + np.arange(tokens_PS.size).reshape(tokens_PS.shape) + 1
    return LevelSamples(
        name=name,
        tokens_PS=tokens_PS,
        thinking_PS=np.asarray(thinking_PS, dtype=float),
        cut_PS=np.zeros(tokens_PS.shape, bool) if cap is None else tokens_PS >= cap,
        text_PS=own if texts is None else texts,
        budget_tokens=budget,
        rank=rank,
    )


def lengths(mean, seed, *, problems=PROBLEMS, samples=SAMPLES, spread=0.2):
    hard_P = RNG(99).lognormal(0, 0.4, size=problems)[:, None]
    return np.round(mean * hard_P * RNG(seed).lognormal(0, spread, size=(problems, samples)))


def efforts(*means, **rest):
    return [
        level(f"level-{at}", lengths(mean, at, **rest), rank=at) for at, mean in enumerate(means)
    ]


def verdicts(levels):
    return [each.verdict for each in judge_adherence(levels, rng=RNG(0)).levels]


KINDS = {
    "levels that work": ((100, 200, 400), (OBEYED, OBEYED, OBEYED)),
    "levels that do nothing": ((200, 200, 200), (IGNORED, IGNORED, IGNORED)),
    "the wrong order": ((400, 200, 100), (REVERSED, REVERSED, REVERSED)),
    "two of them swapped": ((100, 400, 200), (OBEYED, REVERSED, REVERSED)),
    "two that are one": ((100, 100, 400), (IN_PART, IN_PART, OBEYED)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_effort_is_named(kind) -> None:
    means, expected = KINDS[kind]
    assert verdicts(efforts(*means)) == list(expected)


def test_levels_without_an_order_may_differ_either_way() -> None:
    levels = [each._replace(rank=None) for each in efforts(400, 100)]
    assert verdicts(levels) == [OBEYED, OBEYED]
    assert not judge_adherence(levels, rng=RNG(0)).ordered


def test_few_noisy_problems_are_no_proof_that_a_level_is_ignored() -> None:
    assert verdicts(efforts(200, 200, problems=8, samples=1, spread=1.0)) == [UNKNOWN, UNKNOWN]


def test_one_problem_tells_nothing() -> None:
    assert verdicts(efforts(200, 200, problems=1)) == [UNKNOWN, UNKNOWN]


def test_equal_texts_prove_it_even_of_one_problem() -> None:
    tokens_PS = lengths(200, 1, problems=1)
    texts = np.arange(1, SAMPLES + 1)[None]
    levels = [level(name, tokens_PS, texts=texts, rank=at) for at, name in enumerate("ab")]
    adherence = judge_adherence(levels, rng=RNG(0))
    assert adherence.all_equal
    assert [each.verdict for each in adherence.levels] == [IGNORED, IGNORED]
    assert (adherence.pairs[0].equal_texts, adherence.pairs[0].texts) == (SAMPLES, SAMPLES)


def test_equal_short_answers_after_hidden_thinking_of_other_lengths_are_not_equal_texts() -> None:
    texts = np.ones((PROBLEMS, SAMPLES), dtype=int)
    levels = [level(str(mean), lengths(mean, mean), texts=texts, rank=mean) for mean in (100, 400)]
    adherence = judge_adherence(levels, rng=RNG(0))
    assert adherence.pairs[0].state is PairState.RIGHT
    assert [each.verdict for each in adherence.levels] == [OBEYED, OBEYED]


def test_lengths_that_the_cap_made_equal_tell_nothing() -> None:
    levels = [
        level(name, np.full((PROBLEMS, SAMPLES), 300), rank=at, cap=300)
        for at, name in enumerate("ab")
    ]
    assert verdicts(levels) == [UNKNOWN, UNKNOWN]


def test_the_share_over_a_budget_counts_thinking_where_it_is_known() -> None:
    # 3 problems x 2 samples; thinking of 4 samples is above 100: 4/6. All tokens: 6/6.
    tokens_PS = np.array([[150, 150], [150, 150], [150, 150]])
    thinking_PS = np.array([[101, 100], [140, 120], [90, 130]])
    levels = [
        level(n, tokens_PS, thinking_PS=thinking_PS, budget=b) for n, b in (("a", 100), ("b", 200))
    ]
    first = judge_adherence(levels, rng=RNG(0)).levels[0]
    assert (first.counted, first.over.estimate) == (CountedTokens.THINKING, pytest.approx(4 / 6))
    # One sample without it: all tokens count, of all samples.
    thinking_PS = np.where(thinking_PS == 90, np.nan, thinking_PS)
    levels = [
        level(n, tokens_PS, thinking_PS=thinking_PS, budget=b) for n, b in (("a", 100), ("b", 200))
    ]
    first = judge_adherence(levels, rng=RNG(0)).levels[0]
    assert (first.counted, first.over.estimate) == (CountedTokens.ALL, 1.0)


def budgets(*budgets_B, keeps=True, wants=300.0, beyond=0):
    def made(budget, at):
        natural_PS = lengths(wants, at)
        return np.minimum(natural_PS, budget + beyond) if keeps else natural_PS

    return [
        level(str(b), made(b, at), budget=b, rank=b, thinking_PS=made(b, at))
        for at, b in enumerate(budgets_B)
    ]


def test_budgets_that_are_kept_are_obeyed_where_more_would_be_wanted() -> None:
    # The largest binds too: many samples end at it.
    assert verdicts(budgets(100, 200, 300)) == [OBEYED, OBEYED, OBEYED]


def test_a_budget_that_nobody_wants_to_go_over_cannot_be_judged() -> None:
    assert verdicts(budgets(100, 20_000, 50_000)) == [OBEYED, UNKNOWN, UNKNOWN]


def test_budgets_that_most_samples_go_over_are_ignored() -> None:
    assert verdicts(budgets(50, 100, 20_000, keeps=False)) == [IGNORED, IGNORED, UNKNOWN]


def test_a_budget_that_a_few_go_over_is_ignored_where_lengths_do_not_follow_it() -> None:
    # At 500, some natural lengths are above it, as many as without it.
    assert verdicts(budgets(500, 20_000, keeps=False)) == [IGNORED, UNKNOWN]


def test_a_budget_that_is_overshot_but_followed_is_obeyed_in_part() -> None:
    assert verdicts(budgets(50, 100, 20_000, beyond=30)) == [IN_PART, IN_PART, UNKNOWN]


def test_a_level_without_samples_is_no_verdict() -> None:
    levels = budgets(100, 200)
    levels[0] = level("none", np.full((PROBLEMS, SAMPLES), np.nan), budget=100, rank=100)
    assert verdicts(levels)[0] is UNKNOWN


def test_the_order_in_which_problems_stand_changes_no_verdict() -> None:
    levels = efforts(100, 100, 400)
    turned = [
        each._replace(tokens_PS=each.tokens_PS[::-1], text_PS=each.text_PS[::-1]) for each in levels
    ]
    assert verdicts(levels) == verdicts(turned)


def test_means_are_over_samples_with_an_interval_by_problem() -> None:
    levels = [
        level("a", [[10, 20], [30, np.nan]], rank=0),
        level("b", [[10, 20], [30, 40]], rank=1),
    ]
    one, other = judge_adherence(levels, rng=RNG(0)).levels
    assert one.tokens.estimate == pytest.approx(20)  # (10 + 20 + 30) / 3
    assert (one.tokens.n_problems, one.tokens.n_samples) == (2, 3)
    assert other.tokens.estimate == pytest.approx(25)


def test_one_small_p_among_six_pairs_is_no_difference() -> None:
    # Found by trying seeds: the smallest p is .02, after Holm's correction .12.
    levels = [level(f"level-{at}", lengths(200, 1000 + at), rank=at) for at in range(4)]
    adherence = judge_adherence(levels, rng=RNG(0))
    assert min(pair.tokens.p for pair in adherence.pairs) < 0.05
    assert [each.verdict for each in adherence.levels] == [IGNORED] * 4


def test_levels_of_equal_data_have_equal_intervals_and_equal_p() -> None:
    tokens_PS = lengths(200, 1)
    low, high, other = (
        level(name, each, thinking_PS=each, budget=150 + 50 * (name == "other"))
        for name, each in [("low", tokens_PS), ("high", tokens_PS), ("other", lengths(300, 2))]
    )
    adherence = judge_adherence([low, high, other], rng=RNG(0))
    one, two, _ = adherence.levels
    assert one[2:9] == two[2:9]  # tokens to cut: every figure with an interval
    _, to_low, to_high = (pair.tokens for pair in adherence.pairs)
    assert to_low[2:] == to_high[2:]
