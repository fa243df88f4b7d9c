"""Which tokens an advantage reaches: where the excess lies, and what each rule makes of it."""

import math

import numpy as np
import pytest

from tersely.algo import credit
from tersely.algo.credit import CreditStep, Excess, available, excess_of, load
from tersely.algo.ragged import Ragged
from tersely.core.errors import ConfigError

every_rule = pytest.mark.parametrize("name", available())


def make_step(
    advantages: list[float],
    right: list[int],
    tokens: list[int],
    spans: list[tuple[int, int]],
    *,
    sizes: tuple[int, ...] | None = None,
    keep: list[int] | None = None,
) -> CreditStep:
    """Groups of ``sizes`` rollouts; one group of all by default."""
    begins, ends = zip(*spans, strict=True)
    return CreditStep(
        advantage_N=np.array(advantages, dtype=np.float64),
        right_N=np.array(right, dtype=np.bool_),
        keep_N=np.array(keep or [1] * len(right), dtype=np.bool_),
        tokens_N=np.array(tokens),
        excess=Excess(np.array(begins), np.array(ends)),
        layout=Ragged(np.array(sizes or (len(right),))),
        cap_tokens=20.0,
    )


def random_step(seed: int) -> CreditStep:
    rng = np.random.default_rng(seed)
    sizes = tuple(int(n) for n in rng.integers(1, 6, 4))
    count = sum(sizes)
    tokens = rng.integers(1, 20, count)
    right = rng.random(count) < 0.7
    begins = np.where(right, rng.integers(0, 20, count) % tokens, 0)
    ends = np.where(right, begins + rng.integers(0, 20, count) % (tokens - begins), 0)
    keep = rng.random(count) < 0.9
    return make_step(
        np.where(keep, rng.normal(0, 1, count), 0.0).tolist(),
        right.tolist(),
        tokens.tolist(),
        list(zip(begins.tolist(), ends.tolist(), strict=True)),
        sizes=sizes,
        keep=keep.tolist(),
    )


def excess(*, right=True, finished=True, tokens=10, thinking=0, first_right=10) -> tuple[int, int]:
    found = excess_of(
        right_N=np.array([right]),
        finished_N=np.array([finished]),
        tokens_N=np.array([tokens]),
        thinking_N=np.array([thinking]),
        first_right_N=np.array([first_right]),
    )
    return int(found.begin_N[0]), int(found.end_N[0])


def test_the_excess_runs_from_the_answer_to_the_mark_that_ends_the_thinking() -> None:
    # 3 tokens to the answer, thinking of 7 with its mark: tokens 3, 4, 5; the reply is no excess.
    assert excess(thinking=7, first_right=3) == (3, 6)
    # The answer is the last thing thought, or comes in the reply: nothing between it and the end.
    assert excess(thinking=7, first_right=6) == (6, 6)


def test_without_thinking_it_runs_to_the_stop_token() -> None:
    assert excess(first_right=4) == (4, 9)
    assert excess(first_right=4, finished=False) == (4, 10)
    # In a reply after the thinking: tokens 8 to 9, the stop token left out.
    assert excess(thinking=5, first_right=8) == (8, 9)


def test_thinking_that_never_ends_has_no_mark() -> None:
    assert excess(thinking=10, first_right=4, finished=False) == (4, 10)
    assert excess(thinking=10, first_right=4) == (4, 9)


def test_a_wrong_rollout_and_one_whose_answer_nothing_marks_have_none() -> None:
    assert excess(right=False, first_right=2) == (0, 0)
    begin, end = excess(first_right=10)
    assert begin == end


def test_after_right_lowers_the_excess_of_positive_advantages_and_nothing_else() -> None:
    # A right short, a right long one whose advantage is negative, a wrong one.
    step = make_step([2, -1, -1], [1, 1, 0], [5, 6, 2], [(2, 4), (1, 5), (0, 0)])
    made = load("after_right")(step, share=0.25)
    assert [each.tolist() for each in made.tokens] == [[2, 2, 0.5, 0.5, 2], [-1] * 6, [-1] * 2]
    assert made.advantage_N.tolist() == [2, -1, -1]
    pushed = load("after_right")(step, share=-1.0)
    assert pushed.tokens[0].tolist() == [2, 2, -2, -2, 2]


def test_after_right_with_a_share_of_one_gives_every_token_its_rollouts_advantage() -> None:
    for seed in range(10):
        step = random_step(seed)
        made = load("after_right")(step, share=1.0)
        assert np.array_equal(made.advantage_N, step.advantage_N)
        for advantage, advantage_T in zip(step.advantage_N, made.tokens, strict=True):
            assert (advantage_T == advantage).all()


def test_golden_decs_of_two_right_rollouts() -> None:
    # Cap 20, bonus 0.1. One of 4 tokens goes on at token 2 and 3, paid 1 + 0.1 * (1 - 4/20) = 1.08
    # there and 1.1 elsewhere; the other ends after 2, and counts with 1.1 to the end. Positions 0
    # and 1: alike, nothing. 2 and 3: -0.01 and 0.01 of the mean, sample std 0.02 / sqrt(2).
    step = make_step([0, 0], [1, 1], [4, 2], [(2, 4), (2, 2)])
    made = load("decs")(step)
    pushed = -0.01 / (0.02 / math.sqrt(2) + 1e-6)
    np.testing.assert_allclose(made.tokens[0], [0, 0, pushed, pushed])
    np.testing.assert_allclose(made.tokens[1], [0, 0])
    np.testing.assert_allclose(made.advantage_N, [pushed / 2, 0])


def test_decs_is_the_naive_loop_over_positions() -> None:
    for seed in range(20):
        step = random_step(seed)
        made = load("decs")(step, bonus=0.3)
        start = 0
        for size in step.layout.sizes_P:
            rows = [i for i in range(start, start + size) if step.keep_N[i]]
            start += size
            for t in range(int(max(step.tokens_N[rows], default=0))):
                paid = []
                for i in rows:
                    reward = 1.3 if step.right_N[i] else 0.0
                    if step.right_N[i] and step.excess.begin_N[i] <= t < step.excess.end_N[i]:
                        reward = 1 + 0.3 * (1 - step.tokens_N[i] / 20)
                    paid.append(reward)
                mean = sum(paid) / len(paid)
                spread = sum((reward - mean) ** 2 for reward in paid)
                for i, reward in zip(rows, paid, strict=True):
                    if t >= step.tokens_N[i]:
                        continue
                    alone = len(rows) < 2 or max(paid) == min(paid)
                    std = 1.0 if alone else math.sqrt(spread / (len(rows) - 1))
                    wanted = 0.0 if alone else (reward - mean) / (std + 1e-6)
                    assert made.tokens[i][t] == pytest.approx(wanted, abs=1e-9)


def test_decs_never_pushes_a_right_rollout_down_before_its_answer() -> None:
    for seed in range(40):
        step = random_step(seed)
        made = load("decs")(step)
        for i, advantage_T in enumerate(made.tokens):
            if step.right_N[i]:
                assert (advantage_T[: step.excess.begin_N[i]] >= 0).all()
                assert (advantage_T[step.excess.end_N[i] :] >= 0).all()


@every_rule
def test_one_array_a_rollout_of_its_tokens_and_nothing_for_masked_ones(name: str) -> None:
    for seed in range(20):
        step = random_step(seed)
        made = load(name)(step)
        assert [len(each) for each in made.tokens] == step.tokens_N.tolist()
        assert all(np.isfinite(each).all() for each in made.tokens)
        for advantage, kept, advantage_T in zip(
            made.advantage_N, step.keep_N, made.tokens, strict=True
        ):
            assert kept or not advantage_T.any()
            assert bool(advantage) == bool(advantage_T.any())


@every_rule
def test_a_group_without_excess_and_the_same_answers_of_one_length_is_silent(name: str) -> None:
    made = load(name)(make_step([0, 0, 0], [1, 1, 1], [5, 5, 5], [(5, 5)] * 3))
    assert not any(each.any() for each in made.tokens)


@every_rule
def test_reordering_a_group_reorders_its_tokens(name: str) -> None:
    step = make_step([2, -1, 1, 0], [1, 0, 1, 1], [5, 3, 9, 9], [(1, 4), (0, 0), (3, 8), (9, 9)])
    order = np.array([2, 0, 3, 1])
    moved = step._replace(
        **{key: getattr(step, key)[order] for key in ("advantage_N", "right_N", "tokens_N")},
        excess=Excess(step.excess.begin_N[order], step.excess.end_N[order]),
    )
    before, after = load(name)(step).tokens, load(name)(moved).tokens
    for place, new in zip(order, after, strict=True):
        np.testing.assert_allclose(new, before[place], atol=1e-12)


@every_rule
def test_it_leaves_the_step_alone(name: str) -> None:
    step, same = random_step(3), random_step(3)
    load(name)(step)
    np.testing.assert_array_equal(step.advantage_N, same.advantage_N)
    np.testing.assert_array_equal(step.excess.begin_N, same.excess.begin_N)


def test_an_unknown_rule_and_a_setting_out_of_bounds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"credit\.name: there is no credit rule 'nope'"):
        credit.check("nope", {})
    with pytest.raises(ConfigError, match=r"credit\.share = 2 is above 1; set credit\.share <= 1"):
        credit.check("after_right", {"share": 2.0})
    assert credit.check("after_right", {"share": 1}) == {"share": 1.0}
