"""Rows whose tokens have advantages of their own, through the learner, against a naive loop."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from tersely.algo.aggregations.sequence_mean import sequence_mean
from tersely.core.errors import EngineError
from tersely.engines.learning.learner import LearnStats, LocalLearner
from tersely.engines.learning.objective import Objective
from tersely.engines.learning.rows import TrainRow

VOCABULARY = 13


def tiny_model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    return Qwen3ForCausalLM(config).eval()


def naive_logp(model: Qwen3ForCausalLM, row: TrainRow) -> Tensor:
    ids, start = row.prompt_ids + row.completion_ids, len(row.prompt_ids)
    logp_TV = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return torch.stack([logp_TV[t - 1, ids[t]] for t in range(start, len(ids))])


def make_rows(model: Qwen3ForCausalLM) -> list[TrainRow]:
    rng = np.random.default_rng(0)
    rows = []
    for group in range(3):
        prompt_ids = tuple(rng.integers(0, VOCABULARY, 3).tolist())
        for advantage in (1.5, 0.0, -0.7):
            completion_ids = tuple(rng.integers(0, VOCABULARY, rng.integers(2, 10)).tolist())
            row = TrainRow(
                group=group,
                prompt_ids=prompt_ids,
                completion_ids=completion_ids,
                logprobs=np.zeros(len(completion_ids)),
                advantage=advantage,
            )
            with torch.no_grad():
                logp_T = naive_logp(model, row).double().numpy()
            rows.append(replace(row, logprobs=logp_T + rng.normal(0, 0.3, len(logp_T))))
    return rows


def credited(rows: Sequence[TrainRow], *, share: float) -> list[TrainRow]:
    """Every second row credits its second half with a share."""
    made = []
    for place, row in enumerate(rows):
        count = len(row.completion_ids)
        own_T = np.full(count, row.advantage)
        own_T[count // 2 :] *= share
        made.append(replace(row, token_advantages=own_T) if place % 2 == 0 else row)
    return made


def learn(rows: Sequence[TrainRow], **settings: object) -> tuple[LearnStats, dict[str, Tensor]]:
    """One update from the same weights, and the gradient that the optimizer got."""
    model = tiny_model()
    plain = {"tokens_per_micro_batch": 64, "max_grad_norm": math.inf, "warmup_steps": 0}
    learner = LocalLearner(model, learning_rate=1e-4, **{**plain, **settings})
    grads: dict[str, Tensor] = {}
    learner.optimizer.register_step_pre_hook(
        lambda *_: grads.update({n: w.grad.clone() for n, w in model.named_parameters()})
    )
    return learner.step(rows, updates=1), grads


def naive(rows: Sequence[TrainRow]) -> tuple[float, dict[str, Tensor]]:
    """One row, one token after the other."""
    model = tiny_model()
    total = torch.zeros(())
    for row in rows:
        logp_T = naive_logp(model, row)
        for t, old in enumerate(row.logprobs):
            own = row.advantage if row.token_advantages is None else float(row.token_advantages[t])
            ratio = (logp_T[t] - old).exp()
            held = ratio.clamp(max=1.28) if own > 0 else ratio.clamp(min=0.8)
            total = total - held * own
    loss = total / sum(len(row.completion_ids) for row in rows)
    loss.backward()
    return loss.item(), {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("share", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("tokens", [16, 64, 1000])
def test_gradient_agrees_with_the_naive_loop(share: float, tokens: int) -> None:
    rows = credited(make_rows(tiny_model()), share=share)
    stats, grads = learn(rows, tokens_per_micro_batch=tokens)
    loss, wanted = naive(rows)
    assert stats.loss == pytest.approx(loss, abs=1e-6)
    for name, grad in wanted.items():
        size = max(1.0, float(grad.abs().max()))
        torch.testing.assert_close(grads[name], grad, rtol=0, atol=3e-6 * size, msg=name)


@pytest.mark.parametrize("settings", [{}, {"objective": Objective(aggregate=sequence_mean)}])
def test_with_all_shares_one_it_is_the_plain_loss_to_the_bit(settings: dict[str, object]) -> None:
    rows = make_rows(tiny_model())
    plain, plain_grads = learn(rows, **settings)
    stats, grads = learn(credited(rows, share=1.0), **settings)
    assert stats == plain
    for name, grad in plain_grads.items():
        assert torch.equal(grads[name], grad), name
    lowered, _ = learn(credited(rows, share=0.5), **settings)
    assert lowered.loss != plain.loss


def test_denominators_and_counts_do_not_see_the_credit() -> None:
    rows = make_rows(tiny_model())
    plain, _ = learn(rows)
    stats, _ = learn(credited(rows, share=0.0))
    assert stats.update_tokens == plain.update_tokens
    # A positive and a negative row of zero advantage are not run, credited or not.
    (zero,) = {len(row.completion_ids) for row in rows if row.advantage == 0 and row.group == 0}
    assert plain.update_tokens <= sum(len(row.completion_ids) for row in rows) - zero


def test_a_row_is_learned_from_where_only_its_tokens_have_an_advantage() -> None:
    rows = make_rows(tiny_model())[:3]
    balanced_T = np.zeros(len(rows[1].completion_ids))
    balanced_T[0], balanced_T[1] = 1.0, -1.0
    only = [replace(row, advantage=0.0) for row in rows]
    assert not learn(only)[1]
    only[1] = replace(only[1], token_advantages=balanced_T)
    stats, grads = learn(only)
    assert grads
    assert stats.update_tokens == len(rows[1].completion_ids)


def test_after_several_updates_and_with_a_correction_tokens_keep_their_advantages() -> None:
    rows = make_rows(tiny_model())
    settings = {"objective": Objective(importance_cap=2.0)}
    for updates in (1, 3):
        plain = LocalLearner(
            tiny_model(), learning_rate=1e-3, warmup_steps=0, tokens_per_micro_batch=64, **settings
        ).step(rows, updates=updates)
        whole = LocalLearner(
            tiny_model(), learning_rate=1e-3, warmup_steps=0, tokens_per_micro_batch=64, **settings
        ).step(credited(rows, share=1.0), updates=updates)
        lower = LocalLearner(
            tiny_model(), learning_rate=1e-3, warmup_steps=0, tokens_per_micro_batch=64, **settings
        ).step(credited(rows, share=0.2), updates=updates)
        assert whole == plain
        assert lower.loss != plain.loss


def test_too_few_token_advantages_and_ones_that_are_no_number_are_refused() -> None:
    row = make_rows(tiny_model())[0]
    with pytest.raises(EngineError, match="has 1 token advantages for"):
        learn([replace(row, token_advantages=np.zeros(1))])
    bad_T = np.full(len(row.completion_ids), np.nan)
    with pytest.raises(EngineError, match="a token advantage that is no number"):
        learn([replace(row, token_advantages=bad_T)])
