"""The learner against a naive one that takes one row at a time and no short cut."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from tersely.core.errors import ConfigError, EngineError, TerselyWarning
from tersely.engines.learning.learner import LearnStats, LocalLearner
from tersely.engines.learning.objective import Objective
from tersely.engines.learning.rows import TrainRow, split_by_group, split_by_tokens

# On tensors this small a second thread only waits, for minutes on a busy machine.

VOCABULARY = 13
STOP = 12
SETTINGS = {
    "learning_rate": 1e-4,
    "warmup_steps": 0,
    "tokens_per_micro_batch": 64,
    "max_grad_norm": math.inf,
}


def tiny_model(seed: int = 0) -> Qwen3ForCausalLM:
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    return Qwen3ForCausalLM(config).eval()


def naive_logp(model: Qwen3ForCausalLM, row: TrainRow, *, temperature: float = 1.0) -> Tensor:
    """Log-prob of every completion token: one row, all logits, log_softmax."""
    ids = row.prompt_ids + row.completion_ids
    logits_TV = model(input_ids=torch.tensor([ids])).logits[0] / temperature
    logp_TV = logits_TV.log_softmax(-1)
    start = len(row.prompt_ids)
    return torch.stack([logp_TV[t - 1, ids[t]] for t in range(start, len(ids))])


def make_rows(
    model: Qwen3ForCausalLM,
    *,
    groups: int = 4,
    stale: float = 0.3,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[TrainRow]:
    """Rows of mixed lengths that end in the stop token; the old policy is off by ``stale``."""
    rng = np.random.default_rng(seed)
    rows = []
    for group in range(groups):
        prompt_ids = tuple(rng.integers(0, STOP, rng.integers(1, 6)).tolist())
        for advantage in (1.5, -0.5, 0.0, -1.0):
            completion_ids = (*rng.integers(0, STOP, rng.integers(0, 12)).tolist(), STOP)
            row = TrainRow(
                group=group,
                prompt_ids=prompt_ids,
                completion_ids=completion_ids,
                logprobs=np.zeros(len(completion_ids)),
                advantage=advantage,
            )
            with torch.no_grad():
                logp_T = naive_logp(model, row, temperature=temperature).double().numpy()
            rows.append(replace(row, logprobs=logp_T + rng.normal(0, stale, len(logp_T))))
    return rows


def naive_gradient(
    model: Qwen3ForCausalLM,
    rows: Sequence[TrainRow],
    *,
    temperature: float = 1.0,
    kl_coef: float = 0.0,
    reference: Qwen3ForCausalLM | None = None,
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient of one update, with a Python loop over rows and tokens."""
    model.zero_grad()
    total = torch.zeros(())
    for row in rows:
        logp_T = naive_logp(model, row, temperature=temperature)
        ref_T = naive_logp(reference, row, temperature=temperature).detach() if reference else None
        for t, old in enumerate(row.logprobs):
            ratio = (logp_T[t] - old).exp()
            bound = 1.28 if row.advantage > 0 else 0.8
            beyond = ratio > bound if row.advantage > 0 else ratio < bound
            total = total - (bound if beyond else ratio) * row.advantage
            if ref_T is not None:
                gap = ref_T[t] - logp_T[t]
                total = total + kl_coef * (gap.exp() - gap - 1)
    loss = total / sum(len(row.completion_ids) for row in rows)
    loss.backward()
    grads = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    return loss.item(), grads


def learn(
    model: Qwen3ForCausalLM, rows: Sequence[TrainRow], *, updates: int = 1, **settings: object
) -> tuple[LearnStats, list[dict[str, Tensor]]]:
    """One step, and the gradient that each of its updates handed to the optimizer."""
    learner = LocalLearner(model, **{**SETTINGS, **settings})
    grads: list[dict[str, Tensor]] = []
    learner.optimizer.register_step_pre_hook(
        lambda *_: grads.append({n: w.grad.clone() for n, w in model.named_parameters()})
    )
    return learner.step(rows, updates=updates), grads


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor], *, atol: float = 3e-6) -> None:
    """Within ``atol`` of each tensor's largest entry, or of 1: float32 rounds sums of that size,
    and which way depends on the processor."""
    for name in left:
        size = max(1.0, float(right[name].abs().max()))
        torch.testing.assert_close(left[name], right[name], rtol=0, atol=atol * size, msg=name)


def weights(model: Qwen3ForCausalLM) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.6},
        {"gradient_checkpointing": True},
        {"kl_coef": 0.3, "reference": 7},
        {"kl_coef": 0.3, "reference": 7, "temperature": 1.4},
    ],
    ids=str,
)
def test_gradient_agrees_with_the_naive_learner(settings: dict[str, object]) -> None:
    settings = dict(settings)
    if "reference" in settings:
        settings["reference"] = tiny_model(seed=7)
    naive = {k: v for k, v in settings.items() if k != "gradient_checkpointing"}
    if "kl_coef" in settings:
        settings["objective"] = Objective(kl_coef=settings.pop("kl_coef"))
    temperature = settings.get("temperature", 1.0)
    rows = make_rows(tiny_model(), temperature=temperature)
    loss, expected = naive_gradient(tiny_model(), rows, **naive)
    stats, (grads,) = learn(tiny_model(), rows, **settings)
    assert_same(grads, expected)
    assert stats.loss == pytest.approx(loss, rel=1e-5)
    norm = math.sqrt(sum(float(grad.square().sum()) for grad in expected.values()))
    assert stats.grad_norm == pytest.approx(norm, rel=1e-5)
    assert 0 < stats.clip_share < 1


@pytest.mark.parametrize("tokens", [1, 40, 100, 100_000])
def test_micro_batch_size_never_changes_the_step(tokens: int) -> None:
    rows = make_rows(tiny_model())
    whole, part = tiny_model(), tiny_model()
    expected, (expected_grads,) = learn(whole, rows, tokens_per_micro_batch=10**6)
    stats, (grads,) = learn(part, rows, tokens_per_micro_batch=tokens)
    assert_same(grads, expected_grads)
    assert_same(weights(part), weights(whole))
    np.testing.assert_allclose(stats, expected, rtol=1e-5)


def test_stats_count_what_entered_the_loss() -> None:
    rows = make_rows(tiny_model(), stale=0.0)
    stats, _ = learn(tiny_model(), rows)
    assert stats.update_tokens == sum(len(row.completion_ids) for row in rows if row.advantage)
    assert stats.clip_share == 0
    assert stats.sampler_mismatch < 1e-6
    assert stats.dropped_nonfinite == 0
    assert math.isnan(stats.kl_mean)
    shifted = [replace(row, logprobs=row.logprobs - 0.05) for row in rows]
    assert learn(tiny_model(), shifted)[0].sampler_mismatch == pytest.approx(0.05, rel=1e-4)


def test_mismatch_is_taken_before_the_weights_move() -> None:
    rows = make_rows(tiny_model(), stale=0.0)
    stats, _ = learn(tiny_model(), rows, updates=4, learning_rate=0.1)
    assert stats.sampler_mismatch < 1e-6
    assert stats.clip_share > 0


def test_kl_of_the_model_against_itself_is_zero_and_against_another_is_not() -> None:
    rows = make_rows(tiny_model())
    same, _ = learn(tiny_model(), rows, reference=tiny_model())
    other, _ = learn(tiny_model(), rows, reference=tiny_model(seed=7))
    assert same.kl_mean == pytest.approx(0, abs=1e-9)
    assert other.kl_mean > 0.01
    assert other.update_tokens == same.update_tokens < sum(len(r.completion_ids) for r in rows)


def test_zero_advantage_rows_count_in_the_denominator_only() -> None:
    rows = make_rows(tiny_model())
    some = [row for row in rows if row.advantage]
    _, (grads,) = learn(tiny_model(), rows)
    _, (some_grads,) = learn(tiny_model(), some)
    share = sum(len(r.completion_ids) for r in some) / sum(len(r.completion_ids) for r in rows)
    assert_same(grads, {name: grad * share for name, grad in some_grads.items()})


def test_prompt_tokens_never_enter_the_loss_and_the_stop_token_does() -> None:
    # A bias on the logits tells tokens apart: its gradient is that of the logits, summed.
    model = tiny_model()
    bias_V = torch.nn.Parameter(torch.zeros(VOCABULARY))
    model.lm_head.register_parameter("bias", bias_V)
    row = TrainRow(
        group=0,
        prompt_ids=(1, 2, 3),
        completion_ids=(5, STOP),
        logprobs=np.zeros(2),
        advantage=1.0,
    )
    with torch.no_grad():
        logp_TV = model(input_ids=torch.tensor([[1, 2, 3, 5, STOP]])).logits[0].log_softmax(-1)
    on_policy = replace(row, logprobs=np.array([logp_TV[2, 5], logp_TV[3, STOP]]))
    _, (grads,) = learn(model, [on_policy])
    # d/db of -(logp(5 | prompt) + logp(STOP | prompt 5)) / 2, by hand: p - one-hot at two places.
    expected_V = (logp_TV[2].exp() + logp_TV[3].exp()) / 2
    expected_V[[5, STOP]] -= 0.5
    torch.testing.assert_close(grads["lm_head.bias"], expected_V, rtol=0, atol=1e-6)


def test_updates_split_by_whole_groups_in_order() -> None:
    rows = make_rows(tiny_model(), groups=5)
    parts = split_by_group(rows, parts=2)
    assert [{row.group for row in part} for part in parts] == [{0, 1}, {2, 3, 4}]
    assert [row for part in parts for row in part] == rows
    assert len(split_by_group(rows, parts=99)) == 5
    assert split_by_group([], parts=2) == []


def test_two_updates_are_two_steps_with_the_samplers_logprobs() -> None:
    rows = make_rows(tiny_model())
    together, apart = tiny_model(), tiny_model()
    _, grads = learn(together, rows, updates=2)
    assert len(grads) == 2
    learner = LocalLearner(apart, **SETTINGS)
    for half in (rows[:8], rows[8:]):
        _, expected = naive_gradient(apart, half)
        assert_same(grads.pop(0), expected, atol=2e-6)
        learner.step(half, updates=1)
    assert_same(weights(together), weights(apart), atol=0)


def test_checkpointed_activations_are_recomputed_in_train_mode_without_dropout() -> None:
    model = tiny_model()
    modes = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda mlp, *_: modes.append(mlp.training))
    learn(model, make_rows(model)[:2], gradient_checkpointing=True)
    # The forward pass of the one micro-batch, and its recomputation.
    assert modes[-2:] == [True, True]
    assert not model.training


def test_micro_batches_hold_every_row_once_within_the_limit() -> None:
    rows = make_rows(tiny_model(), groups=6)
    parts = split_by_tokens(rows, tokens=50)
    assert sorted(map(id, rows)) == sorted(id(row) for part in parts for row in part)
    assert all(len(part) * max(row.tokens for row in part) <= 50 for part in parts)
    assert [len(part) for part in split_by_tokens(rows, tokens=1)] == [1] * len(rows)


def test_a_logprob_that_is_not_finite_is_dropped_counted_and_told_of() -> None:
    rows = make_rows(tiny_model())
    holed = rows[0].logprobs.copy()
    holed[-1] = math.nan
    said = "^step 1: 1 token left out of the loss, for the sampler's log-probs are not finite there"
    with pytest.warns(TerselyWarning, match=said):
        stats, (grads,) = learn(tiny_model(), [replace(rows[0], logprobs=holed), *rows[1:]])
    assert stats.dropped_nonfinite == 1
    assert stats.update_tokens == learn(tiny_model(), rows)[0].update_tokens - 1
    assert all(grad.isfinite().all() for grad in grads.values())


@pytest.mark.parametrize("place", ["loss", "gradient norm"])
def test_what_is_not_finite_stops_before_the_weights_move(place: str) -> None:
    model = tiny_model()
    rows = make_rows(model)
    if place == "loss":
        model.model.norm.weight.data[0] = math.nan
    else:
        model.model.layers[0].mlp.up_proj.weight.register_hook(lambda grad: grad * math.inf)
    learner = LocalLearner(model, **SETTINGS)
    before = weights(model)
    with pytest.raises(EngineError, match=f"{place} is (nan|inf) in update 0"):
        learner.step(rows, updates=2)
    for name, weight in weights(model).items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0, equal_nan=True)
    assert not learner.optimizer.state


def test_weights_that_overflow_in_an_update_stop_the_step() -> None:
    model = tiny_model()
    rows = make_rows(model)
    learner = LocalLearner(model, **{**SETTINGS, "learning_rate": 1e39})
    with pytest.raises(EngineError, match="weights are not finite numbers after update 0"):
        learner.step(rows, updates=2)


def test_no_signal_is_no_update() -> None:
    model = tiny_model()
    learner = LocalLearner(model, **SETTINGS)
    rows = make_rows(model)
    learner.step(rows, updates=1)
    before = weights(model)
    for idle in ([], [replace(row, advantage=0.0) for row in rows]):
        stats = learner.step(idle, updates=1)
        assert stats.update_tokens == 0
        assert math.isnan(stats.loss)
        assert math.isnan(stats.grad_norm)
    assert_same(weights(model), before, atol=0)


def test_the_rate_warms_up_over_steps_and_the_norm_is_clipped() -> None:
    model = tiny_model()
    rows = make_rows(model)
    learner = LocalLearner(model, **{**SETTINGS, "warmup_steps": 4, "max_grad_norm": 1e-3})
    norms = []
    learner.optimizer.register_step_pre_hook(
        lambda *_: norms.append(
            math.sqrt(sum(float(w.grad.square().sum()) for w in model.parameters()))
        )
    )
    all_stats = [learner.step(rows, updates=2) for _ in range(6)]
    # 1e-4 * (1/4, 2/4, 3/4, 1, 1, 1).
    rates = [stats.learning_rate for stats in all_stats]
    np.testing.assert_allclose(rates, [2.5e-5, 5e-5, 7.5e-5, 1e-4, 1e-4, 1e-4])
    np.testing.assert_allclose(norms, 1e-3, rtol=1e-3)
    assert all(stats.grad_norm > 1e-2 for stats in all_stats)


def test_a_few_steps_make_the_rewarded_completion_likelier() -> None:
    model = tiny_model()
    good, bad, *_ = make_rows(model, groups=1, stale=0.0, seed=1)
    assert good.completion_ids != bad.completion_ids
    before = naive_logp(model, good).sum().item() - naive_logp(model, bad).sum().item()
    learner = LocalLearner(model, **{**SETTINGS, "learning_rate": 3e-3})
    for _ in range(3):
        learner.step([good, bad], updates=1)
    assert naive_logp(model, good).sum().item() - naive_logp(model, bad).sum().item() > before + 0.1


def test_input_that_cannot_be_learned_from_is_refused() -> None:
    row = make_rows(tiny_model(), groups=1)[0]
    learner = LocalLearner(tiny_model(), **SETTINGS)
    for broken, message in [
        (replace(row, logprobs=row.logprobs[:-1]), "log-probs for"),
        (replace(row, prompt_ids=()), "empty prompt"),
        (replace(row, completion_ids=(), logprobs=np.zeros(0)), "empty prompt or completion"),
        (replace(row, advantage=math.nan), "advantage nan"),
    ]:
        with pytest.raises(EngineError, match=message):
            learner.step([row, broken], updates=1)
    with pytest.raises(ConfigError, match="0 updates"):
        learner.step([row], updates=0)
    with pytest.raises(ConfigError, match=r"kl_coef is 0\.1 but there is no reference"):
        LocalLearner(tiny_model(), **SETTINGS, objective=Objective(kl_coef=0.1))
    dropping = tiny_model()
    dropping.config.attention_dropout = 0.1
    with pytest.raises(ConfigError, match=r"attention_dropout 0\.1"):
        LocalLearner(dropping, **{**SETTINGS, "gradient_checkpointing": True})
