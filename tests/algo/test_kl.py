"""Divergence estimates and entropy: by hand, over whole distributions, and by second code."""

import math

import pytest
import torch
from torch import Tensor

from tersely.algo.kl import entropy_sum, kl_k1, kl_k2, kl_k3, token_entropy

ESTIMATES = [kl_k1, kl_k2, kl_k3]


def naive(name: str, logp: float, ref: float) -> float:
    return {
        "kl_k1": logp - ref,
        "kl_k2": 0.5 * (logp - ref) ** 2,
        "kl_k3": math.exp(ref - logp) - (ref - logp) - 1,
    }[name]


def random_tokens(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    logp_BT, ref_BT = torch.randn(2, 5, 7, dtype=torch.float64, generator=made)
    return logp_BT, ref_BT, torch.rand(5, 7, generator=made) < 0.6


@pytest.mark.parametrize("estimate", ESTIMATES, ids=lambda f: f.__name__)
def test_agrees_with_the_naive_implementation(estimate) -> None:
    logp_BT, ref_BT, mask_BT = random_tokens(0)
    weight_B1 = torch.rand(5, 1, dtype=torch.float64)
    each = [
        (naive(estimate.__name__, float(logp_BT[b, t]), float(ref_BT[b, t])), float(weight_B1[b]))
        for b, t in mask_BT.nonzero().tolist()
    ]
    total = estimate(logp_BT, ref_BT, mask_BT)
    assert float(total) == pytest.approx(sum(term for term, _ in each))
    weighted = estimate(logp_BT, ref_BT, mask_BT, weight_BT=weight_B1)
    assert float(weighted) == pytest.approx(sum(term * weight for term, weight in each))


@pytest.mark.parametrize("estimate", ESTIMATES, ids=lambda f: f.__name__)
def test_gradient_is_that_of_finite_differences(estimate) -> None:
    logp_BT, ref_BT, mask_BT = random_tokens(1)
    assert torch.autograd.gradcheck(
        lambda logp_BT: estimate(logp_BT, ref_BT, mask_BT), logp_BT.requires_grad_()
    )


@pytest.mark.parametrize("estimate", ESTIMATES, ids=lambda f: f.__name__)
def test_what_is_masked_may_hold_anything_and_no_tokens_are_zero(estimate) -> None:
    logp_BT, ref_BT, mask_BT = random_tokens(2)
    clean = estimate(logp_BT, ref_BT, mask_BT)
    dirty_BT = torch.where(mask_BT, logp_BT, math.nan).requires_grad_()
    weight_BT = torch.where(mask_BT, 1.0, math.nan).double()
    dirty = estimate(dirty_BT, ref_BT.where(mask_BT, math.inf), mask_BT, weight_BT=weight_BT)
    (grad_BT,) = torch.autograd.grad(dirty, dirty_BT)
    torch.testing.assert_close(dirty.detach(), clean)
    assert grad_BT.isfinite().all()
    assert not grad_BT[~mask_BT].any()
    assert float(estimate(logp_BT, ref_BT, torch.zeros_like(mask_BT))) == 0


@pytest.mark.parametrize("estimate", ESTIMATES, ids=lambda f: f.__name__)
def test_cutting_the_batch_changes_nothing(estimate) -> None:
    logp_BT, ref_BT, mask_BT = random_tokens(3)
    parts = [estimate(logp_BT[b], ref_BT[b], mask_BT[b]) for b in (slice(2), slice(2, 5))]
    torch.testing.assert_close(sum(parts), estimate(logp_BT, ref_BT, mask_BT))


def whole_distributions() -> tuple[Tensor, Tensor]:
    """Logits of a policy and log-probs of a reference over a vocabulary of seven."""
    policy_V, ref_V = torch.randn(
        2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    return policy_V.requires_grad_(), ref_V.log_softmax(-1)


def expected(estimate, logits_V: Tensor, ref_V: Tensor) -> Tensor:
    """The estimate's mean over tokens drawn from the policy; the draw itself has no gradient."""
    logp_V = logits_V.log_softmax(-1)
    weight_BT = logp_V.detach().exp()[:, None]
    one_BT = torch.ones(7, 1, dtype=torch.bool)
    return estimate(logp_V[:, None], ref_V[:, None], one_BT, weight_BT=weight_BT)


@pytest.mark.parametrize("estimate", [kl_k1, kl_k3], ids=lambda f: f.__name__)
def test_k1_and_k3_are_unbiased_and_k2_is_not(estimate) -> None:
    logits_V, ref_V = whole_distributions()
    logits_V = logits_V.detach()
    logp_V = logits_V.log_softmax(-1)
    divergence = float((logp_V.exp() * (logp_V - ref_V)).sum())
    assert float(expected(estimate, logits_V, ref_V)) == pytest.approx(divergence)
    assert float(expected(kl_k2, logits_V, ref_V)) != pytest.approx(divergence, rel=0.01)


def test_expected_gradients_are_none_the_divergence_and_the_opposite_divergence() -> None:
    logits_V, ref_V = whole_distributions()
    logp_V = logits_V.log_softmax(-1)
    forward = (logp_V.exp() * (logp_V - ref_V)).sum()
    opposite = (ref_V.exp() * (ref_V - logp_V)).sum()
    (forward_V,) = torch.autograd.grad(forward, logits_V, retain_graph=True)
    (opposite_V,) = torch.autograd.grad(opposite, logits_V)
    for estimate, truth_V in [
        (kl_k1, torch.zeros_like(forward_V)),
        (kl_k2, forward_V),
        (kl_k3, opposite_V),
    ]:
        (grad_V,) = torch.autograd.grad(expected(estimate, logits_V, ref_V), logits_V)
        torch.testing.assert_close(grad_V, truth_V)


def test_k1_and_k2_by_hand() -> None:
    # d = ln 2 and -ln 2: k1 -ln 2 + ln 2 = 0; k2 twice (ln 2)^2 / 2.
    logp_BT = torch.tensor([[-2.0, -2.0, math.nan]], dtype=torch.float64)
    ref_BT = logp_BT + torch.tensor([[math.log(2), -math.log(2), 1.0]])
    mask_BT = torch.tensor([[True, True, False]])
    assert float(kl_k1(logp_BT, ref_BT, mask_BT)) == pytest.approx(0, abs=1e-12)
    assert float(kl_k2(logp_BT, ref_BT, mask_BT)) == pytest.approx(math.log(2) ** 2, rel=1e-6)


def test_entropy_by_hand() -> None:
    # Four equal: ln 4. Two equal, two impossible: ln 2. One sure: 0.
    inf = math.inf
    logits_NV = torch.tensor([[1.0, 1, 1, 1], [2, 2, -inf, -inf], [0, -inf, -inf, -inf]])
    torch.testing.assert_close(
        token_entropy(logits_NV), torch.tensor([math.log(4), math.log(2), 0.0])
    )


def test_entropy_has_the_gradient_of_finite_differences() -> None:
    logits_NV = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    assert torch.autograd.gradcheck(
        lambda x_NV: token_entropy(x_NV).sum(), logits_NV.requires_grad_()
    )


def test_the_entropy_sum_is_over_loss_tokens_and_weighted() -> None:
    entropy_BT = torch.tensor([[1.0, 2, math.nan], [4, math.nan, math.nan]])
    mask_BT = entropy_BT.isfinite()
    assert float(entropy_sum(entropy_BT, mask_BT)) == 7
    # Sequence mean: 1/2 and 1 a token, so (1 + 2) / 2 + 4.
    weight_B1 = torch.tensor([[0.5], [1.0]])
    assert float(entropy_sum(entropy_BT, mask_BT, weight_BT=weight_B1)) == 5.5


def test_k3_by_hand() -> None:
    # d = ln 2: 2 - ln 2 - 1 = 0.30685; d = -ln 2: 1/2 + ln 2 - 1 = 0.19315; d = 0: 0.
    logp_BT = torch.tensor([[-2.0, -2.0, -2.0, math.nan]], requires_grad=True)
    ref_logp_BT = torch.tensor([[-2 + math.log(2), -2 - math.log(2), -2.0, -math.inf]])
    mask_BT = torch.tensor([[True, True, True, False]])
    kl = kl_k3(logp_BT, ref_logp_BT, mask_BT)
    assert float(kl.detach()) == pytest.approx(0.5, rel=1e-6)
    # d(exp(d) - d - 1)/d logp = 1 - exp(d): -1, 1/2, 0, and 0 where masked.
    (grad_BT,) = torch.autograd.grad(kl, logp_BT)
    torch.testing.assert_close(grad_BT, torch.tensor([[-1.0, 0.5, 0.0, 0.0]]))
