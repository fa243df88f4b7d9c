"""Draws one token a row from logits and given uniforms; shared by all local samplers."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from tersely.core.types import SamplingSpec
from tersely.engines.local.kernel import Kernel

# Logits of the rows that a CPU draws for at a time: several passes over 1.2 MB stay in its cache.
_CACHED_NUMBERS = 300_000
_BLOCK_TOKENS = 256


class Draw(NamedTuple):
    """Sampled tokens, their log-probabilities (nats) and the policy's entropy (nats)."""

    token_B: Int64[Tensor, " B"]
    logprob_B: Float[Tensor, " B"]
    entropy_B: Float[Tensor, " B"]


def draw(
    logits_BV: Float[Tensor, "B V"],
    uniform_B: Float[Tensor, " B"],
    *,
    spec: SamplingSpec,
    kernel: Kernel | None = None,
) -> Draw:
    """Inverse-CDF sample in vocabulary order; ``temperature`` 0 takes the argmax.

    Log-probabilities and entropy are of the temperature-scaled, untruncated policy (of the
    temperature-1 policy when greedy); top-k, then top-p of what is left, limit only the draw.
    Where logits are not numbers, both are NaN and the token means nothing.

    Args:
        uniform_B: one number in (0, 1) a row, float64.
        kernel: what sums a small vocabulary on a CPU; the same draw, to the bit, without it.
    """
    if logits_BV.numel() <= _CACHED_NUMBERS or logits_BV.device.type != "cpu":
        return _draw(logits_BV, uniform_B, spec=spec, kernel=kernel)
    rows = max(1, _CACHED_NUMBERS // logits_BV.shape[1])
    parts = zip(logits_BV.split(rows), uniform_B.split(rows), strict=True)
    draws = [_draw(logits, uniform, spec=spec, kernel=kernel) for logits, uniform in parts]
    return Draw(*map(torch.cat, zip(*draws, strict=True)))


def _draw(
    logits_BV: Float[Tensor, "B V"],
    uniform_B: Float[Tensor, " B"],
    *,
    spec: SamplingSpec,
    kernel: Kernel | None,
) -> Draw:
    """As :func:`draw`, of rows that fit into a processor's cache together."""
    logits_BV = logits_BV.float()
    if spec.temperature not in (0.0, 1.0):
        logits_BV = logits_BV / spec.temperature
    # a finite floor keeps 0 * log 0 at 0 where a model forbids a token with -inf
    logp_BV = torch.log_softmax(logits_BV, dim=-1).clamp_(min=-1e30)
    p_BV = logp_BV.exp()
    entropy_B = torch.linalg.vecdot(p_BV, logp_BV).neg_()
    if spec.temperature == 0.0:
        token_B1 = logp_BV.argmax(dim=-1, keepdim=True)
    else:
        truncated = spec.top_k > 0 or spec.top_p < 1.0
        kept_BV = truncate(p_BV, top_k=spec.top_k, top_p=spec.top_p) if truncated else p_BV
        if kernel is not None and p_BV.shape[1] <= _BLOCK_TOKENS:
            return Draw(*kernel.choose(kept_BV, logp_BV, uniform_B), entropy_B)
        token_B1 = first_beyond(kept_BV, uniform_B.unsqueeze(-1))
        # logits that are not numbers lead past the end, where a GPU would stop for good
        token_B1 = token_B1.clamp_(max=logits_BV.shape[-1] - 1)
    return Draw(token_B1.squeeze(-1), logp_BV.gather(-1, token_B1).squeeze(-1), entropy_B)


def first_beyond(
    p_BV: Float[Tensor, "B V"], share_B1: Float[Tensor, "B 1"]
) -> Int64[Tensor, "B 1"]:
    """The first token up to which the sum of ``p``, in float64, exceeds this share of all.

    A large vocabulary is summed by blocks, and only the block in which the token lies is read
    one by one: a running sum over all of it takes longer than the rest of the draw.

    Args:
        share_B1: in (0, 1), float64.
    """
    cells = p_BV.shape[-1]
    if cells <= _BLOCK_TOKENS:
        cdf_BV = torch.cumsum(p_BV, dim=-1, dtype=torch.float64)
        return torch.searchsorted(cdf_BV, share_B1 * cdf_BV[:, -1:], right=True)
    p_BNK = F.pad(p_BV, (0, -cells % _BLOCK_TOKENS)).unflatten(-1, (-1, _BLOCK_TOKENS))
    cdf_BN = torch.cumsum(p_BNK.sum(dim=-1), dim=-1, dtype=torch.float64)
    aim_B1 = share_B1 * cdf_BN[:, -1:]
    block_B1 = torch.searchsorted(cdf_BN, aim_B1, right=True).clamp_(max=cdf_BN.shape[-1] - 1)
    inside_BK = torch.take_along_dim(p_BNK, block_B1.unsqueeze(-1), dim=1).squeeze(1)
    cdf_BK = torch.cumsum(inside_BK, dim=-1, dtype=torch.float64)
    # counted back from the block's end, where the aim cannot lie; its two sums differ in their last
    # digits, so that it may seem to lie before the block
    left_B1 = cdf_BK[:, -1:] - (cdf_BN.gather(-1, block_B1) - aim_B1)
    return block_B1 * _BLOCK_TOKENS + torch.searchsorted(
        cdf_BK, left_B1.clamp_(min=0.0), right=True
    )


def truncate(p_BV: Float[Tensor, "B V"], *, top_k: int, top_p: float) -> Float[Tensor, "B V"]:
    """Zeroes all but the ``top_k`` likeliest tokens, then all outside the nucleus of the rest.

    The nucleus is the smallest set, likeliest first, that holds a share ``top_p``; it is never
    empty. Ties go to the smaller token id. The result is not renormalised.
    """
    sorted_BV, order_BV = p_BV.sort(dim=-1, descending=True, stable=True)
    if top_k > 0:
        sorted_BV[:, top_k:] = 0.0
    if top_p < 1.0:
        mass_BV = torch.cumsum(sorted_BV, dim=-1, dtype=torch.float64)
        outside_BV = mass_BV - sorted_BV >= top_p * mass_BV[:, -1:]
        outside_BV[:, 0] = False
        sorted_BV.masked_fill_(outside_BV, 0.0)
    return torch.zeros_like(p_BV).scatter_(-1, order_BV, sorted_BV)
