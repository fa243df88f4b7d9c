"""Draws one token a row from logits and given uniforms; shared by all local samplers."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tersely.core.types import SamplingSpec


class Draw(NamedTuple):
    """Sampled tokens, their log-probabilities (nats) and the policy's entropy (nats)."""

    token_B: Int64[Tensor, " B"]
    logprob_B: Float[Tensor, " B"]
    entropy_B: Float[Tensor, " B"]


def draw(
    logits_BV: Float[Tensor, "B V"], uniform_B: Float[Tensor, " B"], *, spec: SamplingSpec
) -> Draw:
    """Inverse-CDF sample in vocabulary order; ``temperature`` 0 takes the argmax.

    Log-probabilities and entropy are of the temperature-scaled, untruncated policy (of the
    temperature-1 policy when greedy); top-k, then top-p of what is left, limit only the draw.
    Where logits are not numbers, both are NaN and the token means nothing.

    Args:
        uniform_B: one number in (0, 1) a row, float64.
    """
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
        cdf_BV = torch.cumsum(kept_BV, dim=-1, dtype=torch.float64)
        aim_B1 = uniform_B.unsqueeze(-1) * cdf_BV[:, -1:]
        token_B1 = torch.searchsorted(cdf_BV, aim_B1, right=True)
        # logits that are not numbers lead past the end, where a GPU would stop for good
        token_B1 = token_B1.clamp_(max=logits_BV.shape[-1] - 1)
    return Draw(token_B1.squeeze(-1), logp_BV.gather(-1, token_B1).squeeze(-1), entropy_B)


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
