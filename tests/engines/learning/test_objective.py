"""Every loss a recipe may name, through the learner, against one that loops over tokens."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from tersely.algo import aggregations
from tersely.algo.kl import kl_k2
from tersely.algo.losses.cispo import cispo
from tersely.algo.losses.gspo import gspo
from tersely.algo.losses.ppo_clip import ppo_clip
from tersely.core.errors import TerselyWarning
from tersely.engines.learning.learner import LearnStats, LocalLearner
from tersely.engines.learning.objective import Objective
from tersely.engines.learning.rows import TrainRow

VOCABULARY = 11
CAP_TOKENS = 16


def tiny_model(seed: int = 0) -> Qwen3ForCausalLM:
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    return Qwen3ForCausalLM(config).eval()


def logits_of(model: Qwen3ForCausalLM, row: TrainRow) -> Tensor:
    ids = row.prompt_ids + row.completion_ids
    start = len(row.prompt_ids)
    return model(input_ids=torch.tensor([ids])).logits[0, start - 1 : -1].log_softmax(-1)


def logp_of(model: Qwen3ForCausalLM, row: TrainRow) -> Tensor:
    return logits_of(model, row)[range(len(row.completion_ids)), row.completion_ids]


def make_rows(model: Qwen3ForCausalLM, *, stale: float = 0.4) -> list[TrainRow]:
    rng = np.random.default_rng(0)
    rows = []
    for group in range(3):
        prompt_ids = tuple(rng.integers(0, VOCABULARY, 3).tolist())
        for advantage in (1.5, 0.0, -2.0):
            completion_ids = tuple(rng.integers(0, VOCABULARY, rng.integers(1, 9)).tolist())
            row = TrainRow(
                group=group,
                prompt_ids=prompt_ids,
                completion_ids=completion_ids,
                logprobs=np.zeros(len(completion_ids)),
                advantage=advantage,
            )
            with torch.no_grad():
                exact_T = logp_of(model, row).double().numpy()
            rows.append(replace(row, logprobs=exact_T + rng.normal(0, stale, len(exact_T))))
    return rows


def naive_token(name: str, ratio: Tensor, logp: Tensor, advantage: float) -> Tensor:
    """The loss of one token, in words of its paper."""
    if name == "cispo":
        return -min(max(ratio.item(), 0.5), 1.5) * advantage * logp
    low, high = (0.02, 0.03) if name == "gspo" else (0.2, 0.28)
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)
    if name == "dual" and advantage < 0:
        gain = torch.maximum(gain, torch.tensor(1.1 * advantage))
    return -gain


def naive_loss(
    model: Qwen3ForCausalLM,
    rows: Sequence[TrainRow],
    *,
    name: str,
    aggregation: str,
    kl_coef: float,
    entropy_coef: float,
    cap: float | None,
    reference: Qwen3ForCausalLM,
    old_model: Qwen3ForCausalLM,
) -> Tensor:
    """One row after another, one token after another."""
    lengths = [len(row.completion_ids) for row in rows]
    of_group = dict.fromkeys((row.group for row in rows), 0)
    for row, length in zip(rows, lengths, strict=True):
        of_group[row.group] += length
    total = torch.zeros(())
    for row, length in zip(rows, lengths, strict=True):
        logp_TV, logp_T = logits_of(model, row), logp_of(model, row)
        ref_T, sampler_T = logp_of(reference, row).detach(), torch.tensor(row.logprobs).float()
        old_T = sampler_T if cap is None else logp_of(old_model, row).detach()
        share = {
            "token_mean": 1 / sum(lengths),
            "sequence_mean": 1 / length / len(rows),
            "prompt_mean": 1 / of_group[row.group] / len(of_group),
            "constant": 1 / CAP_TOKENS / len(rows),
        }[aggregation]
        for t in range(length):
            ratio = (logp_T[t] - old_T[t]).exp()
            if name == "gspo":
                ratio = (logp_T - old_T).mean().exp()
            token = naive_token(name, ratio, logp_T[t], row.advantage)
            if cap is not None:
                token = token * min((old_T[t] - sampler_T[t]).exp().item(), cap)
            token = token + kl_coef * (ref_T[t] - logp_T[t]) ** 2 / 2
            token = token + entropy_coef * (logp_TV[t].exp() * logp_TV[t]).sum()
            total = total + share * token
    return total


POLICIES = {
    "ppo": ppo_clip,
    "dual": partial(ppo_clip, dual_clip=1.1),
    "gspo": partial(gspo, clip_low=0.02, clip_high=0.03),
    "cispo": partial(cispo, clip_low=0.5, clip_high=0.5),
}


def learn(
    model: Qwen3ForCausalLM, rows: Sequence[TrainRow], *, updates: int = 1, tokens: int = 40, **how
) -> tuple[LearnStats, list[dict[str, Tensor]]]:
    learner = LocalLearner(
        model,
        learning_rate=1e-2,
        warmup_steps=0,
        tokens_per_micro_batch=tokens,
        max_grad_norm=math.inf,
        **how,
    )
    grads: list[dict[str, Tensor]] = []
    learner.optimizer.register_step_pre_hook(
        lambda *_: grads.append({n: w.grad.clone() for n, w in model.named_parameters()})
    )
    return learner.step(rows, updates=updates), grads


CASES = [
    ("ppo", "token_mean", 0.0, 0.0, None),
    ("ppo", "sequence_mean", 0.0, 0.0, None),
    ("ppo", "prompt_mean", 0.2, 0.0, None),
    ("ppo", "constant", 0.0, 0.1, None),
    ("dual", "token_mean", 0.0, 0.0, None),
    ("gspo", "sequence_mean", 0.0, 0.0, None),
    ("cispo", "token_mean", 0.0, 0.0, None),
    ("ppo", "token_mean", 0.0, 0.0, 1.2),
    ("cispo", "prompt_mean", 0.2, 0.1, 1.2),
]


@pytest.mark.parametrize(("name", "aggregation", "kl_coef", "entropy_coef", "cap"), CASES)
def test_the_gradient_is_that_of_the_naive_loss(name, aggregation, kl_coef, entropy_coef, cap):
    rows, model, reference = make_rows(tiny_model()), tiny_model(), tiny_model(7)
    loss = naive_loss(
        model,
        rows,
        name=name,
        aggregation=aggregation,
        kl_coef=kl_coef,
        entropy_coef=entropy_coef,
        cap=cap,
        reference=reference,
        old_model=tiny_model(),
    )
    loss.backward()
    expected = {n: w.grad.clone() for n, w in model.named_parameters()}
    size = max(float(grad.abs().max()) for grad in expected.values())
    objective = Objective(
        policy=POLICIES[name],
        aggregate=aggregations.load(aggregation, cap_tokens=CAP_TOKENS),
        kl=kl_k2,
        kl_coef=kl_coef,
        entropy_coef=entropy_coef,
        importance_cap=cap,
    )
    for tokens in (20, 10_000):
        stats, (grads,) = learn(
            tiny_model(), rows, tokens=tokens, objective=objective, reference=reference
        )
        assert stats.loss == pytest.approx(loss.item(), rel=2e-5)
        for key in expected:
            torch.testing.assert_close(grads[key], expected[key], rtol=0, atol=5e-6 * size, msg=key)


def test_with_a_cap_the_second_update_is_stale_against_the_learner_before_the_first() -> None:
    rows, model, start = make_rows(tiny_model()), tiny_model(), tiny_model()
    objective = Objective(importance_cap=1.2)
    _, (_, second) = learn(model, rows, updates=2, objective=objective)
    # The weights that the second update saw: the first one alone, from the same start.
    after_first = tiny_model()
    learn(after_first, rows[:3], objective=objective)
    loss = naive_loss(
        after_first,
        rows[3:],
        name="ppo",
        aggregation="token_mean",
        kl_coef=0.0,
        entropy_coef=0.0,
        cap=1.2,
        reference=start,
        old_model=start,
    )
    loss.backward()
    expected = {n: w.grad for n, w in after_first.named_parameters()}
    size = max(float(grad.abs().max()) for grad in expected.values())
    for key, grad in expected.items():
        torch.testing.assert_close(second[key], grad, rtol=0, atol=2e-5 * size, msg=key)


@pytest.mark.parametrize("cap", [None, 2.0])
def test_the_mismatch_is_against_the_sampler_whatever_the_old_policy(cap: float | None) -> None:
    exact = make_rows(tiny_model(), stale=0.0)
    rows = [replace(row, logprobs=row.logprobs - 0.05) for row in exact]
    stats, _ = learn(tiny_model(), rows, objective=Objective(importance_cap=cap))
    assert stats.sampler_mismatch == pytest.approx(0.05, rel=1e-4)


def test_an_entropy_term_alone_moves_rows_without_advantage() -> None:
    rows = [replace(row, advantage=0.0) for row in make_rows(tiny_model())]
    _, still = learn(tiny_model(), rows)
    _, moved = learn(tiny_model(), rows, objective=Objective(entropy_coef=0.1))
    assert (len(still), len(moved)) == (0, 1)


def test_a_dropped_token_is_counted_under_a_cap_too() -> None:
    rows = make_rows(tiny_model())
    holed = rows[0].logprobs.copy()
    holed[0] = math.nan
    with pytest.warns(TerselyWarning, match="1 token left out of the loss"):
        stats, (grads,) = learn(
            tiny_model(),
            [replace(rows[0], logprobs=holed), *rows[1:]],
            objective=Objective(importance_cap=2.0),
        )
    assert stats.dropped_nonfinite == 1
    assert all(grad.isfinite().all() for grad in grads.values())
