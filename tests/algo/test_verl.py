"""Our losses and advantages against verl's own functions, run on CPU where it is installed.

verl's pins are its own: it runs in an environment apart. Where the two differ on purpose, the test
says by how much.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from tersely.algo.advantages.batch_normalised import batch_normalised
from tersely.algo.advantages.group_centred import group_centred
from tersely.algo.advantages.group_normalised_sample import group_normalised_sample
from tersely.algo.advantages.leave_one_out import leave_one_out
from tersely.algo.aggregations.constant import constant
from tersely.algo.aggregations.sequence_mean import sequence_mean
from tersely.algo.aggregations.token_mean import token_mean
from tersely.algo.kl import kl_k1, kl_k2, kl_k3
from tersely.algo.losses.cispo import cispo
from tersely.algo.losses.gspo import gspo
from tersely.algo.losses.ppo_clip import ppo_clip
from tersely.algo.ragged import Ragged

core_algos = pytest.importorskip(
    "verl.trainer.ppo.core_algos", reason="verl's pins conflict with ours; run this beside 0.9.1"
)
workers = pytest.importorskip("verl.workers.config")

ROWS, TOKENS, LOW, HIGH = 6, 8, 0.2, 0.28


def make_batch(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    logp_BT = torch.tensor(-rng.exponential(1.0, (ROWS, TOKENS)), requires_grad=True)
    old_BT = logp_BT.detach() + torch.tensor(rng.normal(0, 0.6, (ROWS, TOKENS)))
    lengths_B = torch.tensor(rng.integers(1, TOKENS + 1, ROWS))
    mask_BT = torch.arange(TOKENS)[None] < lengths_B[:, None]
    return logp_BT, old_BT, torch.tensor(rng.normal(0, 2, ROWS)), mask_BT


def verl_loss(name: str, batch: tuple[Tensor, ...], mode: str, **settings: float) -> Tensor:
    logp_BT, old_BT, adv_B, mask_BT = batch
    config = workers.ActorConfig(
        strategy="fsdp",
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        clip_ratio_low=settings.get("low", LOW),
        clip_ratio_high=settings.get("high", HIGH),
    )
    loss, _ = core_algos.get_policy_loss_fn(name)(
        old_log_prob=old_BT,
        log_prob=logp_BT,
        advantages=adv_B[:, None].expand(ROWS, TOKENS),
        response_mask=mask_BT.double(),
        loss_agg_mode=mode,
        config=config,
    )
    return loss


AGGREGATIONS = {
    "token-mean": token_mean,
    "seq-mean-token-mean": sequence_mean,
    "seq-mean-token-sum-norm": partial(constant, tokens_per_row=TOKENS),
}


def scale(mask_BT: Tensor, mode: str) -> dict[str, object]:
    weight_B, denominator = AGGREGATIONS[mode](mask_BT.sum(dim=1).numpy(), np.arange(ROWS))
    return {"weight_BT": torch.tensor(weight_B)[:, None], "denominator": denominator}


@pytest.mark.parametrize("mode", AGGREGATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients(seed: int, mode: str) -> None:
    batch = make_batch(seed)
    how = scale(batch[3], mode)
    pairs = [
        (
            verl_loss("vanilla", batch, mode),
            ppo_clip(*batch, clip_low=LOW, clip_high=HIGH, dual_clip=3.0, **how),
        ),
        (
            verl_loss("gspo", batch, mode, low=0.05, high=0.06),
            gspo(*batch, clip_low=0.05, clip_high=0.06, **how),
        ),
        (
            verl_loss("cispo", batch, mode),
            cispo(*batch, clip_low=LOW, clip_high=HIGH, **how),
        ),
    ]
    for theirs, mine in pairs:
        torch.testing.assert_close(mine.loss, theirs, rtol=1e-6, atol=1e-7)
        grads = [torch.autograd.grad(loss, batch[0])[0] for loss in (mine.loss, theirs)]
        torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("name", "ours"), [("k1", kl_k1), ("k2", kl_k2), ("k3", kl_k3)])
def test_divergence_estimates(name: str, ours) -> None:
    logp_BT, ref_BT, _, mask_BT = make_batch(0)
    logp_BT = logp_BT.detach()
    theirs = (core_algos.kl_penalty(logp_BT, ref_BT, name) * mask_BT).sum()
    torch.testing.assert_close(ours(logp_BT, ref_BT, mask_BT), theirs)


def outcome(seed: int) -> tuple[np.ndarray, Ragged, dict[str, object]]:
    """Rewards of ragged groups of at least two, and the same as verl takes them."""
    rng = np.random.default_rng(seed)
    layout = Ragged(rng.integers(2, 7, 9))
    rewards_N = rng.integers(0, 2, layout.rollouts).astype(np.float64)
    tokens_N = torch.tensor(rng.integers(1, TOKENS + 1, layout.rollouts))
    mask_NT = torch.arange(TOKENS)[None] < tokens_N[:, None]
    at_end_NT = torch.arange(TOKENS)[None] == tokens_N[:, None] - 1
    call = {
        "token_level_rewards": torch.tensor(rewards_N)[:, None] * at_end_NT,
        "response_mask": mask_NT.double(),
        "index": layout.spread(np.arange(9)),
    }
    return rewards_N, layout, call


@pytest.mark.parametrize("seed", range(3))
def test_advantages(seed: int) -> None:
    rewards_N, layout, call = outcome(seed)
    keep_N = np.ones(layout.rollouts, dtype=np.bool_)
    for theirs, ours in (
        (core_algos.compute_grpo_outcome_advantage(**call), group_normalised_sample),
        (
            core_algos.compute_grpo_outcome_advantage(norm_adv_by_std_in_grpo=False, **call),
            group_centred,
        ),
        (core_algos.compute_rloo_outcome_advantage(**call), leave_one_out),
    ):
        # verl's 1e-6 under the std moves its advantages by up to 1e-6 / 0.4 of themselves.
        adv_N = ours(rewards_N, keep_N, layout)
        np.testing.assert_allclose(theirs[0][:, 0].numpy(), adv_N, rtol=4e-6, atol=1e-6)


def test_verl_whitens_over_tokens_and_so_pays_an_all_wrong_group() -> None:
    # A right answer of 1 token and a wrong one of 3, then an all-wrong pair of 2: gaps 1/2, -1/2,
    # 0, 0. Over 8 tokens: mean (1/2 - 3/2) / 8 = -1/8, which the silent pair is above.
    mask_NT = torch.arange(3)[None] < torch.tensor([1, 3, 2, 2])[:, None]
    rewards_NT = torch.zeros(4, 3, dtype=torch.float64)
    rewards_NT[0, 0] = 1.0
    theirs_NT, _ = core_algos.compute_reinforce_plus_plus_baseline_outcome_advantage(
        token_level_rewards=rewards_NT,
        response_mask=mask_NT.double(),
        index=np.array([0, 0, 1, 1]),
        config=SimpleNamespace(),
    )
    # Sample variance: (25/64 + 3 * 9/64 + 4 * 1/64) / 7 = 56 / 448 = 1/8.
    np.testing.assert_allclose(theirs_NT[2:, 0].numpy(), [8**0.5 / 8] * 2, rtol=1e-6)
    ours_N = batch_normalised(
        np.array([1.0, 0, 0, 0]), np.ones(4, dtype=np.bool_), Ragged(np.array([2, 2]))
    )
    assert ours_N[2:].tolist() == [0, 0]
