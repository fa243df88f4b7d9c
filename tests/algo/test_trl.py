"""Our losses and advantages against TRL's own code, run on CPU where it is installed.

TRL's pins are its own: it runs in an environment apart, which ``make bench-trl`` makes, with the
test tools added. Its trainer's loss is called on given log-probs, without a model.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from tersely.algo.aggregations.constant import constant
from tersely.algo.aggregations.sequence_mean import sequence_mean
from tersely.algo.aggregations.token_mean import token_mean
from tersely.algo.importance import truncated_importance
from tersely.algo.kl import entropy_sum, kl_k3
from tersely.algo.losses.cispo import cispo
from tersely.algo.losses.gspo import gspo
from tersely.algo.losses.ppo_clip import ppo_clip

grpo_trainer = pytest.importorskip(
    "trl.trainer.grpo_trainer", reason="TRL's pins conflict with ours; run this beside TRL 1.16"
)

ROWS, TOKENS, LOW, HIGH = 6, 8, 0.2, 0.28


class _Accelerator(SimpleNamespace):
    """One process: gathering and reducing change nothing."""

    num_processes = 1

    def gather(self, values: Tensor) -> Tensor:
        return values

    def reduce(self, values: Tensor, reduction: str) -> Tensor:
        return values


def trl_loss(batch: dict[str, Tensor], **settings: object) -> Tensor:
    """TRL's ``_compute_loss`` on given log-probs; the trainer is only its settings."""
    defaults = {
        "model": SimpleNamespace(training=False),
        "accelerator": _Accelerator(),
        "aux_loss_enabled": False,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "importance_sampling_level": "token",
        "loss_type": "dapo",
        "epsilon_low": LOW,
        "epsilon_high": HIGH,
        "beta": 0.0,
        "use_vllm": False,
        "vllm_importance_sampling_correction": False,
        "max_completion_length": 16,
        "current_gradient_accumulation_steps": 1,
        "_entropy_bonus_enabled": False,
        "use_adaptive_entropy": False,
        "entropy_coef": 0.0,
        "args": SimpleNamespace(delta=None, use_bias_correction_kl=False),
    }
    trainer = SimpleNamespace(**(defaults | settings))
    trainer._metrics = {"eval": _Sink()}
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (
        batch["logps"],
        batch["entropies"],
        None,
    )
    return grpo_trainer.GRPOTrainer._compute_loss(trainer, trainer.model, batch)


class _Sink(dict):
    """Metrics that nobody reads."""

    def __missing__(self, key: str) -> list:
        return []


def make_batch(seed: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    logps = torch.tensor(-rng.exponential(1.0, (ROWS, TOKENS)), requires_grad=True)
    lengths_B = torch.tensor(rng.integers(1, TOKENS + 1, ROWS))
    mask_BT = torch.arange(TOKENS)[None] < lengths_B[:, None]
    noise = [torch.tensor(rng.normal(0, 0.3, (ROWS, TOKENS))) for _ in range(3)]
    return {
        "prompt_ids": torch.zeros(ROWS, 1, dtype=torch.long),
        "prompt_mask": torch.ones(ROWS, 1, dtype=torch.long),
        "completion_ids": torch.zeros(ROWS, TOKENS, dtype=torch.long),
        "completion_mask": mask_BT.double(),
        "logps": logps,
        "entropies": torch.tensor(rng.random((ROWS, TOKENS))),
        "advantages": torch.tensor(rng.normal(0, 1, ROWS)),
        "old_per_token_logps": logps.detach() + noise[0],
        "ref_per_token_logps": logps.detach() + noise[1],
        "sampling_per_token_logps": logps.detach() + noise[0] + noise[2],
        "num_items_in_batch": mask_BT.sum(),
    }


def ours(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mask_BT = batch["completion_mask"].bool()
    return batch["logps"], batch["old_per_token_logps"], batch["advantages"], mask_BT


def scale(batch: dict[str, Tensor], each) -> dict[str, object]:
    """An aggregation of this batch as a loss takes it."""
    weight_B, denominator = each(
        batch["completion_mask"].sum(dim=1).long().numpy(), np.arange(ROWS)
    )
    return {"weight_BT": torch.tensor(weight_B)[:, None], "denominator": denominator}


def assert_same(batch: dict[str, Tensor], theirs: Tensor, mine: Tensor) -> None:
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)
    grads = [torch.autograd.grad(loss, batch["logps"])[0] for loss in (mine, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("delta", [None, 1.4])
def test_ppo_clip_under_each_aggregation(seed: int, delta: float | None) -> None:
    batch = make_batch(seed)
    for loss_type, each in (
        ("dapo", token_mean),
        ("bnpo", token_mean),
        ("grpo", sequence_mean),
        ("dr_grpo", partial(constant, tokens_per_row=16)),
    ):
        args = SimpleNamespace(delta=delta, use_bias_correction_kl=False)
        theirs = trl_loss(batch, loss_type=loss_type, args=args)
        mine = ppo_clip(
            *ours(batch), clip_low=LOW, clip_high=HIGH, dual_clip=delta, **scale(batch, each)
        )
        assert_same(batch, theirs, mine.loss)


@pytest.mark.parametrize("seed", range(3))
def test_gspo(seed: int) -> None:
    batch = make_batch(seed)
    theirs = trl_loss(
        batch,
        loss_type="grpo",
        importance_sampling_level="sequence",
        epsilon_low=0.05,
        epsilon_high=0.06,
    )
    mine = gspo(*ours(batch), clip_low=0.05, clip_high=0.06, **scale(batch, sequence_mean))
    assert_same(batch, theirs, mine.loss)


@pytest.mark.parametrize("seed", range(3))
def test_cispo(seed: int) -> None:
    batch = make_batch(seed)
    theirs = trl_loss(batch, loss_type="cispo", epsilon_high=1.2)
    mine = cispo(*ours(batch), clip_high=0.2, **scale(batch, token_mean))
    assert_same(batch, theirs, mine.loss)


def test_kl_term_and_entropy_bonus() -> None:
    batch = make_batch(0)
    mask_BT, tokens = batch["completion_mask"].bool(), int(batch["completion_mask"].sum())
    plain = ppo_clip(*ours(batch), clip_low=LOW, clip_high=HIGH, denominator=tokens).loss
    theirs = trl_loss(batch, beta=0.1)
    kl = kl_k3(batch["logps"], batch["ref_per_token_logps"], mask_BT)
    assert_same(batch, theirs, plain + 0.1 * kl / tokens)
    theirs = trl_loss(batch, _entropy_bonus_enabled=True, entropy_coef=0.1)
    bonus = entropy_sum(batch["entropies"], mask_BT)
    torch.testing.assert_close(plain - 0.1 * bonus / tokens, theirs)


def test_truncated_importance_as_a_weight() -> None:
    # The weights are TRL's ``token_truncate``: clamp(exp(old - sampling), max=C).
    batch = make_batch(1)
    logps, old, adv_B, mask_BT = ours(batch)
    sampling = batch["sampling_per_token_logps"]
    batch["importance_sampling_ratio"] = (old - sampling).exp().clamp(max=1.1)
    theirs = trl_loss(batch, use_vllm=True, vllm_importance_sampling_correction=True)
    correction = truncated_importance(old, sampling, mask_BT, cap=1.1)
    mine = ppo_clip(
        logps,
        old,
        adv_B,
        correction.used_BT,
        clip_low=LOW,
        clip_high=HIGH,
        weight_BT=correction.weight_BT,
        denominator=int(mask_BT.sum()),
    )
    assert_same(batch, theirs, mine.loss)
