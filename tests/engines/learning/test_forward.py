"""The lean forward pass and its gradients against Hugging Face's, row by row in float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from tersely.engines.learning.forward import runs_lean, tree_logp
from tersely.engines.learning.lora import add_lora
from tersely.engines.learning.rows import TrainRow
from tersely.engines.learning.tree import split_by_shared_tokens, token_tree

CPU = torch.device("cpu")
VOCABULARY = 11
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0}
CONFIGS = {
    "qwen3": Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True),
    "qwen3, heads as wide as its matrix": Qwen3Config(**SIZES, head_dim=6),
    "qwen2, biases": Qwen2Config(**SIZES, tie_word_embeddings=False),
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=False),
    "llama, a head a query": LlamaConfig(**SIZES | {"num_key_value_heads": 4}),
    "llama, linear rope": LlamaConfig(**SIZES, rope_parameters=LINEAR),
    # Its embedding gets no gradient from where the pad token stands among the others.
    "qwen3, a pad token": Qwen3Config(**SIZES, head_dim=8, pad_token_id=3),
}


def model_of(config: Any) -> Any:
    """Random weights, norm gains and biases included: those are at first 1 and 0."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "bias" in name:
                weight.add_(torch.randn_like(weight) * 0.3)
    return model


def rows_of(*pairs: tuple[Sequence[int], Sequence[int]]) -> list[TrainRow]:
    return [
        TrainRow(
            group=i,
            prompt_ids=tuple(prompt),
            completion_ids=tuple(completion),
            logprobs=np.zeros(len(completion)),
            advantage=1.0,
        )
        for i, (prompt, completion) in enumerate(pairs)
    ]


# Alike: two rows whole, one as far as another goes on, two up to their last token, two prompts
# of one beginning, and one whose prompt is another's completion.
ROWS = rows_of(
    ([1, 2, 3], [4, 5, 6, 7, 0]),
    ([1, 2, 3], [4, 5, 9, 0]),
    ([1, 2, 3], [4, 5, 6, 7, 0]),
    ([1, 2, 3], [4, 5]),
    ([1, 2, 3], [4, 5, 9, 8]),
    ([1, 2, 4], [4, 5, 9, 8, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
    ([1, 2, 3, 4], [5, 3]),
    ([7], [0]),
)


def naive_logp(model: Any, row: TrainRow, *, temperature: float) -> Tensor:
    """Of every completion token: one row, all logits."""
    ids = torch.tensor([row.prompt_ids + row.completion_ids])
    logp_TV = (model(input_ids=ids).logits[0] / temperature).log_softmax(-1)
    return logp_TV[:-1].gather(1, ids[0, 1:, None])[len(row.prompt_ids) - 1 :, 0]


def naive_entropy(model: Any, row: TrainRow, *, temperature: float) -> Tensor:
    ids = torch.tensor([row.prompt_ids + row.completion_ids])
    logp_TV = (model(input_ids=ids).logits[0] / temperature).log_softmax(-1)
    return -(logp_TV.exp() * logp_TV).sum(-1)[len(row.prompt_ids) - 1 : -1]


def weights_like(rows: Sequence[TrainRow]) -> Tensor:
    """A different factor for each completion token, so that no two gradients can be mixed up."""
    count = sum(len(row.completion_ids) for row in rows)
    return torch.linspace(-1.0, 2.0, count, dtype=torch.float64)


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.double() for name, weight in model.named_parameters()}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, right in expected.items():
        error = float((found[name] - right).norm() / right.norm())
        assert error < 1e-5, (name, error)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("name", CONFIGS)
def test_log_probs_and_gradients_are_those_of_the_naive_pass(name: str, temperature: float) -> None:
    model, tree = model_of(CONFIGS[name]), token_tree(ROWS, device=CPU)
    assert runs_lean(model)
    logp_L = tree_logp(model, tree, temperature=temperature).logp_C[tree.prediction_L]
    factor_L = weights_like(ROWS)
    found = gradients(model, (logp_L * factor_L).sum())
    model.double()
    naive_L = torch.cat([naive_logp(model, row, temperature=temperature) for row in ROWS])
    torch.testing.assert_close(logp_L.double(), naive_L, rtol=1e-5, atol=1e-5)
    assert_close(found, gradients(model, (naive_L * factor_L).sum()))


@pytest.mark.parametrize("name", CONFIGS)
def test_in_bfloat16_it_is_as_far_from_float64_as_autocast_is(name: str) -> None:
    model, tree, factor_L = (
        model_of(CONFIGS[name]),
        token_tree(ROWS, device=CPU),
        weights_like(ROWS),
    )
    half_L = tree_logp(model, tree, temperature=1.0, half=True).logp_C[tree.prediction_L]
    with torch.autocast("cpu", torch.bfloat16):
        cast_L = torch.cat([naive_logp(model, row, temperature=1.0) for row in ROWS])
    found, cast = (gradients(model, (x_L * factor_L).sum()) for x_L in (half_L, cast_L))
    model.double()
    true_L = torch.cat([naive_logp(model, row, temperature=1.0) for row in ROWS])
    true = gradients(model, (true_L * factor_L).sum())
    off, cast_off = (float((x_L - true_L).detach().norm()) for x_L in (half_L, cast_L))
    assert 1e-4 < off < 2 * cast_off

    def error(of: dict[str, Tensor]) -> float:
        return float(sum((of[weight] - right).norm() ** 2 for weight, right in true.items())) ** 0.5

    assert 0 < error(found) < 2 * error(cast)


def test_entropies_and_their_gradients_are_those_of_the_naive_pass() -> None:
    model, tree = model_of(CONFIGS["qwen3"]), token_tree(ROWS, device=CPU)
    seen = tree_logp(model, tree, temperature=0.7, with_entropy=True)
    assert seen.entropy_C is not None
    entropy_L, logp_L = seen.entropy_C[tree.prediction_L], seen.logp_C[tree.prediction_L]
    plain = tree_logp(model, tree, temperature=0.7)
    assert plain.entropy_C is None
    torch.testing.assert_close(logp_L, plain.logp_C[tree.prediction_L], rtol=0, atol=2e-6)
    factor_L = weights_like(ROWS)
    found = gradients(model, (entropy_L * factor_L).sum() + logp_L.sum())
    model.double()
    naive_L = torch.cat([naive_entropy(model, row, temperature=0.7) for row in ROWS])
    torch.testing.assert_close(entropy_L.double(), naive_L, rtol=1e-5, atol=1e-5)
    logp = sum(naive_logp(model, row, temperature=0.7).sum() for row in ROWS)
    assert_close(found, gradients(model, (naive_L * factor_L).sum() + logp))


def test_a_bias_of_the_output_matrix_is_in_the_logits_and_gets_its_gradient() -> None:
    model, tree = model_of(CONFIGS["llama"]), token_tree(ROWS, device=CPU)
    model.lm_head.bias = torch.nn.Parameter(torch.randn(VOCABULARY))
    logp_C = tree_logp(model, tree, temperature=1.0).logp_C
    found = gradients(model, logp_C[tree.prediction_L].sum())
    model.double()
    naive = sum(naive_logp(model, row, temperature=1.0).sum() for row in ROWS)
    assert_close(found, gradients(model, naive))


def test_an_impossible_token_has_a_finite_gradient() -> None:
    # exp underflows to 0 at a gap of 1,000 nats; its log-prob must not be -inf.
    model = model_of(CONFIGS["llama"])
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(VOCABULARY))
    model.lm_head.bias.data[5] = -1000.0
    tree = token_tree(rows_of(([1], [5])), device=CPU)
    logp_C = tree_logp(model, tree, temperature=1.0).logp_C
    assert -1100 < float(logp_C.detach()) < -900
    assert all(g.isfinite().all() for g in gradients(model, logp_C.sum()).values())


def test_adapters_experts_and_other_numbers_are_left_to_the_model_itself() -> None:
    adapted = model_of(CONFIGS["qwen3"])
    assert runs_lean(adapted)
    add_lora(adapted, rank=2, seed=0)
    assert not runs_lean(adapted)
    assert not runs_lean(model_of(CONFIGS["qwen3"]).double())
    assert not runs_lean(model_of(CONFIGS["qwen3"]).to(torch.bfloat16))
    experts = Qwen3MoeConfig(**SIZES, num_experts=2, num_experts_per_tok=1, head_dim=8)
    assert not runs_lean(model_of(experts))


def all_prefixes(rows: Sequence[TrainRow]) -> set[tuple[int, ...]]:
    """Of what a model must be run on: every beginning that some token follows."""
    found = set()
    for row in rows:
        ids = row.prompt_ids + row.completion_ids
        found |= {ids[:stop] for stop in range(1, len(ids))}
    return found


TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=6)


@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_tree_runs_each_beginning_once_and_every_row_finds_its_tokens(
    pairs: list[tuple[list[int], list[int]]],
) -> None:
    rows = rows_of(*pairs)
    tree = token_tree(rows, device=CPU)
    # What stands at each place and before it, read off the batches of attention.
    beginnings, end_to_end = {}, 0
    for path in [path for places in tree.batches for path in places]:
        for t, place in enumerate(path.tolist()):
            if int(tree.place_N[place]) == end_to_end + t:
                assert tree.position_N[path[: t + 1]].tolist() == list(range(t + 1))
                beginnings[place] = tuple(tree.ids_N[path[: t + 1]].tolist())
        end_to_end += len(path)
    assert len(beginnings) == len(tree.ids_N)
    assert set(beginnings.values()) == all_prefixes(rows)
    assert len(set(beginnings.values())) == len(beginnings)
    expected = [
        (*row.prompt_ids, *row.completion_ids[: t + 1])
        for row in rows
        for t in range(len(row.completion_ids))
    ]
    places_M = tree.predicts_M.tolist()
    found = [
        (*beginnings[places_M[tree.logits_C[c]]], int(tree.chosen_C[c]))
        for c in tree.prediction_L.tolist()
    ]
    assert found == expected
    assert len(tree.chosen_C) == len(set(expected))


@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=12), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_parts_hold_every_row_once_within_the_limit_and_the_longest_is_first(
    pairs: list[tuple[list[int], list[int]]], tokens: int
) -> None:
    rows = rows_of(*pairs)
    parts = split_by_shared_tokens(rows, tokens=tokens)
    assert sorted(map(id, rows)) == sorted(id(row) for part in parts for row in part)
    for part in parts:
        all_ids = [row.prompt_ids + row.completion_ids for row in part]
        nodes = {ids[:stop] for ids in all_ids for stop in range(1, len(ids) + 1)}
        assert len(part) == 1 or len(nodes) <= tokens or len(set(all_ids)) == 1
        assert len(part) == 1 or sum(row.tokens for row in part) <= 4 * tokens
    longest = [max(row.tokens for row in part) for part in parts]
    assert longest == sorted(longest, reverse=True)
    assert split_by_shared_tokens([], tokens=8) == []
