"""Weights and denominators: by hand, by second code, and against each other where they meet."""

import numpy as np
import pytest

from tersely.algo import aggregations
from tersely.algo.aggregations import Aggregation
from tersely.algo.aggregations.constant import constant
from tersely.algo.aggregations.prompt_mean import prompt_mean
from tersely.algo.aggregations.sequence_mean import sequence_mean
from tersely.algo.aggregations.token_mean import token_mean
from tersely.core.errors import ConfigError


def reduced(each: Aggregation, rows: list[np.ndarray]) -> float:
    """What a loss does with an aggregation."""
    total = sum(w * row_T.sum() for w, row_T in zip(each.weight_B, rows, strict=True))
    return float(total / each.denominator)


def random_rows(seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    group_B = np.sort(rng.integers(0, 4, 12)) * 10
    tokens_B = rng.integers(0, 9, 12)
    return [rng.normal(size=tokens) for tokens in tokens_B], tokens_B, group_B


@pytest.mark.parametrize("seed", range(5))
def test_each_is_the_mean_that_it_says(seed: int) -> None:
    rows, tokens_B, group_B = random_rows(seed)
    filled = [row_T for row_T in rows if len(row_T)]
    prompts = [
        np.concatenate([row_T for row_T, g in zip(rows, group_B, strict=True) if g == group])
        for group in sorted(set(group_B.tolist()))
    ]
    prompts = [tokens_T for tokens_T in prompts if len(tokens_T)]
    for name, expected in {
        "token_mean": np.concatenate(rows).mean(),
        "sequence_mean": np.mean([row_T.mean() for row_T in filled]),
        "prompt_mean": np.mean([p_T.mean() for p_T in prompts]),
        "constant": np.mean([row_T.sum() / 16 for row_T in filled]),
    }.items():
        aggregate = aggregations.load(name, cap_tokens=16)
        assert reduced(aggregate(tokens_B, group_B), rows) == pytest.approx(expected, rel=1e-12)


def test_by_hand() -> None:
    # Prompt 7 has rows of 1 and 3 tokens, prompt 9 one of 4.
    tokens_B, group_B = np.array([1, 3, 4]), np.array([7, 7, 9])
    weight_B, denominator = token_mean(tokens_B, group_B)
    assert (weight_B.tolist(), denominator) == ([1, 1, 1], 8)
    weight_B, denominator = sequence_mean(tokens_B, group_B)
    assert (weight_B.tolist(), denominator) == ([1, 1 / 3, 1 / 4], 3)
    weight_B, denominator = prompt_mean(tokens_B, group_B)
    assert (weight_B.tolist(), denominator) == ([1 / 4, 1 / 4, 1 / 4], 2)
    weight_B, denominator = constant(tokens_B, group_B, tokens_per_row=10)
    assert (weight_B.tolist(), denominator) == ([1, 1, 1], 30)


every_name = pytest.mark.parametrize("name", aggregations.available())


@every_name
def test_rows_without_loss_tokens_are_not_counted(name: str) -> None:
    aggregate = aggregations.load(name, cap_tokens=2)
    assert reduced(aggregate(np.array([0, 2]), np.array([0, 1])), [np.zeros(0), np.ones(2)]) == 1


@every_name
def test_even_is_said_of_those_whose_weights_are_all_one(name: str) -> None:
    aggregate = aggregations.load(name, cap_tokens=9)
    weight_B = aggregate(np.array([1, 3, 4]), np.array([7, 7, 9])).weight_B
    other_B = aggregate(np.array([2, 5]), np.array([7, 9])).weight_B
    same = {*weight_B.tolist(), *other_B.tolist()} == {1.0}
    assert aggregations.is_even(name) is same
    assert aggregations.in_verl(name) is None or same


def test_an_unknown_aggregation_is_refused_with_the_choices() -> None:
    listed = ", ".join(aggregations.available())
    for ask in (aggregations.check, aggregations.is_even, aggregations.in_verl):
        with pytest.raises(ConfigError, match=f"no aggregation 'nope'; choose one of {listed}"):
            ask("nope")


def test_where_they_meet() -> None:
    rows, tokens_B, group_B = random_rows(0)
    token = reduced(token_mean(tokens_B, group_B), rows)
    one_prompt_B = np.zeros(len(rows), dtype=np.int64)
    assert reduced(prompt_mean(tokens_B, one_prompt_B), rows) == pytest.approx(token)
    own_prompt = prompt_mean(tokens_B, np.arange(len(rows)))
    sequence = sequence_mean(tokens_B, group_B)
    assert reduced(own_prompt, rows) == pytest.approx(reduced(sequence, rows))
    even_B, even = np.full(3, 5), [np.arange(5.0) * k for k in range(3)]
    assert reduced(constant(even_B, even_B, tokens_per_row=5), even) == pytest.approx(
        reduced(token_mean(even_B, even_B), even)
    )


@every_name
def test_an_update_without_tokens_is_refused(name: str) -> None:
    empty_B = np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match="no loss tokens"):
        aggregations.load(name, cap_tokens=4)(empty_B, empty_B)


def test_a_bad_constant_is_refused() -> None:
    ones_B = np.ones(3, dtype=np.int64)
    with pytest.raises(ValueError, match="tokens_per_row must be positive, got 0"):
        constant(ones_B, ones_B, tokens_per_row=0)
