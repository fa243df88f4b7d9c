"""Weights and denominators: by hand, by second code, and against each other where they meet."""

import numpy as np
import pytest

from tersely.algo import aggregation
from tersely.algo.aggregation import Aggregation


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
    for each, expected in [
        (aggregation.token_mean(tokens_B), np.concatenate(rows).mean()),
        (aggregation.sequence_mean(tokens_B), np.mean([row_T.mean() for row_T in filled])),
        (aggregation.prompt_mean(tokens_B, group_B), np.mean([p_T.mean() for p_T in prompts])),
        (
            aggregation.constant(tokens_B, tokens_per_row=16),
            np.mean([row_T.sum() / 16 for row_T in filled]),
        ),
    ]:
        assert reduced(each, rows) == pytest.approx(expected, rel=1e-12)


def test_by_hand() -> None:
    # Prompt 7 has rows of 1 and 3 tokens, prompt 9 one of 4.
    tokens_B, group_B = np.array([1, 3, 4]), np.array([7, 7, 9])
    weight_B, denominator = aggregation.token_mean(tokens_B)
    assert (weight_B.tolist(), denominator) == ([1, 1, 1], 8)
    weight_B, denominator = aggregation.sequence_mean(tokens_B)
    assert (weight_B.tolist(), denominator) == ([1, 1 / 3, 1 / 4], 3)
    weight_B, denominator = aggregation.prompt_mean(tokens_B, group_B)
    assert (weight_B.tolist(), denominator) == ([1 / 4, 1 / 4, 1 / 4], 2)
    weight_B, denominator = aggregation.constant(tokens_B, tokens_per_row=10)
    assert (weight_B.tolist(), denominator) == ([1, 1, 1], 30)


def test_rows_without_loss_tokens_are_not_counted() -> None:
    rows, tokens_B = [np.zeros(0), np.ones(2)], np.array([0, 2])
    for each in (
        aggregation.token_mean(tokens_B),
        aggregation.sequence_mean(tokens_B),
        aggregation.prompt_mean(tokens_B, np.array([0, 1])),
        aggregation.constant(tokens_B, tokens_per_row=2),
    ):
        assert reduced(each, rows) == 1


def test_where_they_meet() -> None:
    rows, tokens_B, _ = random_rows(0)
    token = reduced(aggregation.token_mean(tokens_B), rows)
    one_prompt_B = np.zeros(len(rows), dtype=np.int64)
    assert reduced(aggregation.prompt_mean(tokens_B, one_prompt_B), rows) == pytest.approx(token)
    own_prompt = aggregation.prompt_mean(tokens_B, np.arange(len(rows)))
    sequence = aggregation.sequence_mean(tokens_B)
    assert reduced(own_prompt, rows) == pytest.approx(reduced(sequence, rows))
    even_B, even = np.full(3, 5), [np.arange(5.0) * k for k in range(3)]
    assert reduced(aggregation.constant(even_B, tokens_per_row=5), even) == pytest.approx(
        reduced(aggregation.token_mean(even_B), even)
    )


def test_an_update_without_tokens_and_a_bad_constant_are_refused() -> None:
    empty_B = np.zeros(3, dtype=np.int64)
    for mean in (
        aggregation.token_mean,
        aggregation.sequence_mean,
        lambda tokens_B: aggregation.prompt_mean(tokens_B, np.zeros(3, dtype=np.int64)),
        lambda tokens_B: aggregation.constant(tokens_B, tokens_per_row=4),
    ):
        with pytest.raises(ValueError, match="no loss tokens"):
            mean(empty_B)
    with pytest.raises(ValueError, match="tokens_per_row must be positive, got 0"):
        aggregation.constant(np.ones(3, dtype=np.int64), tokens_per_row=0)
