"""Batches for every loss: random ones, and rows made by hand."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tersely.algo import aggregations
from tersely.algo.policy_loss import PolicyLoss

ROWS, TOKENS = 7, 9


class Batch(NamedTuple):
    logp_BT: Tensor
    old_logp_BT: Tensor
    adv_B: Tensor
    loss_mask_BT: Tensor


class OneRow(NamedTuple):
    """The loss of a row from log-prob -2, each token's gradient, and the clipped tokens."""

    loss: float
    grads: list[float]
    clipped: int


def make_batch(seed: int) -> Batch:
    """Float64, ragged, with an empty row and a sampler log-prob that is missing."""
    rng = np.random.default_rng(seed)
    logp_BT = torch.tensor(-rng.exponential(1.0, (ROWS, TOKENS)), requires_grad=True)
    old_logp_BT = logp_BT.detach() + torch.tensor(rng.normal(0, 0.4, (ROWS, TOKENS)))
    old_logp_BT[1, 0] = math.nan
    lengths_B = torch.tensor([0, *rng.integers(2, TOKENS + 1, ROWS - 1)])
    loss_mask_BT = torch.arange(TOKENS)[None] < lengths_B[:, None]
    return Batch(logp_BT, old_logp_BT, torch.tensor(rng.normal(0, 1, ROWS)), loss_mask_BT)


@pytest.fixture
def random_batch() -> Callable[[int], Batch]:
    return make_batch


@pytest.fixture
def one_row() -> Callable[..., OneRow]:
    """``(loss, ratios, adv) -> OneRow``."""

    def run(loss: Callable[..., PolicyLoss], ratios: list[float], adv: float) -> OneRow:
        logp_BT = torch.tensor([ratios], dtype=torch.float64).log().sub(2).requires_grad_()
        old_BT = torch.full_like(logp_BT, -2.0).detach()
        adv_B = torch.tensor([adv], dtype=torch.float64)
        result = loss(logp_BT, old_BT, adv_B, old_BT < 0, denominator=1)
        (grad_BT,) = torch.autograd.grad(result.loss, logp_BT)
        return OneRow(float(result.loss.detach()), grad_BT[0].tolist(), result.clipped_tokens)

    return run


Naive = Callable[[list[float], list[float], float], list[float]]


@pytest.fixture
def assert_agrees() -> Callable[[Callable[..., PolicyLoss], Naive], None]:
    """``(loss, naive)``: the token losses of a row's used tokens, in plain Python, from their
    ratios, log-probs and the row's advantage, under every aggregation."""

    def run(loss: Callable[..., PolicyLoss], naive: Naive) -> None:
        for seed in range(4):
            batch = make_batch(seed)
            tokens_B = batch.loss_mask_BT.sum(dim=1).numpy()
            used_BT = batch.loss_mask_BT & batch.old_logp_BT.isfinite()
            for name in aggregations.available():
                aggregate = aggregations.load(name, cap_tokens=16)
                weight_B, denominator = aggregate(tokens_B, np.arange(ROWS) // 3)
                total = 0.0
                for b in range(1, ROWS):
                    logp = batch.logp_BT[b][used_BT[b]].tolist()
                    old = batch.old_logp_BT[b][used_BT[b]].tolist()
                    ratios = [math.exp(new - before) for new, before in zip(logp, old, strict=True)]
                    total += weight_B[b] * sum(naive(ratios, logp, float(batch.adv_B[b])))
                weight_B1 = torch.tensor(weight_B)[:, None]
                result = loss(*batch, weight_BT=weight_B1, denominator=denominator)
                assert float(result.loss.detach()) == pytest.approx(total / denominator, rel=1e-12)

    return run


@pytest.fixture
def assert_gradient_is_the_values() -> Callable[[Callable[..., PolicyLoss]], None]:
    """The gradient is that of finite differences, with weights and without."""

    def run(loss: Callable[..., PolicyLoss]) -> None:
        batch = make_batch(11)
        for weight_BT in (None, torch.rand(ROWS, TOKENS, dtype=torch.float64)):

            def value(logp_BT: Tensor, weight_BT: Tensor | None = weight_BT) -> Tensor:
                return loss(logp_BT, *batch[1:], weight_BT=weight_BT, denominator=5).loss

            assert torch.autograd.gradcheck(value, batch.logp_BT, eps=1e-7, atol=1e-6)

    return run
