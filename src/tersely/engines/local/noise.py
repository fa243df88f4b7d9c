"""Counter-based random numbers: a hash of (seed, problem, sample, position), never of a batch."""

from collections.abc import Sequence
from hashlib import blake2b

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# splitmix64 (Steele, Lea and Flood, 2014), written as signed 64-bit numbers.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64
# 48 bits keep u * total < total in float64, so an inverse CDF never runs off its end.
_BITS = 48


def row_keys(seed: int, problem_ids: Sequence[str], samples: Sequence[int]) -> Int64[Tensor, " B"]:
    """A 64-bit key for each row: ``blake2b("seed|problem|sample")``, little-endian, signed."""
    keys = [_key(seed, p, s) for p, s in zip(problem_ids, samples, strict=True)]
    return torch.tensor(keys, dtype=torch.int64)


def uniforms(keys_B: Int64[Tensor, "*B"], positions_B: Int64[Tensor, "*P"]) -> Float[Tensor, "..."]:
    """``(splitmix64(key + (position + 1) * golden) >> 16) + 1/2) / 2**48``, in the open (0, 1).

    Args:
        keys_B: one key a row; broadcasts against the positions.
        positions_B: index of the sampled token in its completion, from 0.
    """
    x = keys_B + (positions_B + 1) * _GOLDEN
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    x = _shift(x ^ _shift(x, 31), 64 - _BITS)
    return x.to(torch.float64).add_(0.5).mul_(2.0**-_BITS)


def _key(seed: int, problem_id: str, sample: int) -> int:
    digest = blake2b(f"{seed}|{problem_id}|{sample}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _shift(x: Int64[Tensor, "..."], bits: int) -> Int64[Tensor, "..."]:
    """Logical right shift; torch's ``>>`` copies the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
