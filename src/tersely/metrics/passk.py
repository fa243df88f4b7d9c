"""Mean@k, Pass@k, Pass^k and G-Pass@k of each problem at each budget.

Everywhere n counts the graded samples of a problem and c its hits among them, and the value is
NaN when ``k > n``: there is no unbiased estimate of what more tries than samples would do.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Tries(NamedTuple):
    """The pairs of n and c that there are, and which of them a problem has at a budget."""

    n_U: Int[np.ndarray, " U"]
    hits_U: Int[np.ndarray, " U"]
    which_PB: Int[np.ndarray, "P B"]


def count_tries(hits_PSB: Float[np.ndarray, "P S B"]) -> Tries:
    """The graded samples and the hits of each problem at each budget.

    Args:
        hits_PSB: 1 hit, 0 miss, NaN ungraded.
    """
    # With the samples first, a sum adds up long rows.
    hits_SPB = np.ascontiguousarray(np.moveaxis(hits_PSB, 1, 0))
    hits_PB = (hits_SPB == 1).sum(axis=0)
    n_PB = hits_PB + (hits_SPB == 0).sum(axis=0)
    base = len(hits_SPB) + 1
    code_U, which_PB = np.unique(n_PB * base + hits_PB, return_inverse=True)
    return Tries(code_U // base, code_U % base, which_PB)


def mean_at_k(tries: Tries, *, k: int) -> Float[np.ndarray, "P B"]:
    """Mean@k: ``c / n`` of each problem's n graded samples; NaN when ``k > n``.

    Its expectation is the same for every k: k only says how many samples must be there.

    Args:
        k: samples per problem, >= 1.
    Raises:
        ValueError: if k is below 1.
    """
    _check_k(k)
    n_U, hits_U, which_PB = tries
    return np.asarray(np.where(n_U >= k, hits_U / np.maximum(n_U, 1), np.nan)[which_PB])


def pass_at_k(tries: Tries, *, k: int) -> Float[np.ndarray, "P B"]:
    """Pass@k: ``1 - C(n-c, k) / C(n, k)``, the chance that k of the n samples hold a hit.

    Unbiased for n >= k. Source: arXiv:2107.03374, Eq. 1.

    Args:
        k: tries, >= 1.
    Raises:
        ValueError: if k is below 1.
    """
    return np.asarray(estimate_pass_at_k(tries.n_U, tries.hits_U, k=k)[tries.which_PB])


def pass_hat_k(tries: Tries, *, k: int) -> Float[np.ndarray, "P B"]:
    """Pass^k: ``C(c, k) / C(n, k)``, the chance that k of the n samples are all hits.

    Unbiased for n >= k. Source: arXiv:2406.12045 (tau-bench).

    Raises:
        ValueError: if k is below 1.
    """
    return g_pass_at_k(tries, k=k, threshold=1.0)


def g_pass_at_k(tries: Tries, *, k: int, threshold: float) -> Float[np.ndarray, "P B"]:
    """G-Pass@k_tau: ``sum_{j >= ceil(tau k)} C(c, j) C(n-c, k-j) / C(n, k)``.

    The chance that at least ``tau k`` (and at least one) of k samples are hits: Pass@k for
    tau → 0, Pass^k at tau = 1. Source: arXiv:2412.13147.

    Args:
        threshold: tau, in [0, 1].
    Raises:
        ValueError: if k is below 1 or tau outside [0, 1].
    """
    _check_k(k)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}, but must lie in [0, 1]")
    # A product such as 0.7 * 10 may lie a rounding error above the whole number it means.
    needed = max(1, math.ceil(threshold * k - 1e-9))
    pairs = zip(tries.n_U.tolist(), tries.hits_U.tolist(), strict=True)
    chance_U = np.array([_share_of_subsets(n, c, k, needed) for n, c in pairs], dtype=np.float64)
    return np.asarray(chance_U[tries.which_PB])


def _share_of_subsets(n: int, c: int, k: int, needed: int) -> float:
    """Share of the k-subsets of n samples, c of them hits, with at least ``needed`` hits."""
    if k > n:
        return math.nan
    good = sum(math.comb(c, j) * math.comb(n - c, k - j) for j in range(needed, k + 1))
    return good / math.comb(n, k)


def estimate_pass_at_k(
    n_N: Int[np.ndarray, "*N"], hits_N: Int[np.ndarray, "*N"], *, k: int
) -> Float[np.ndarray, "*N"]:
    """``1 - prod_{j<k} (n-c-j) / (n-j)`` of n samples with c hits; NaN when ``k > n``.

    The product equals the ratio of binomials without forming them.
    """
    _check_k(k)
    miss_N = np.ones(n_N.shape)
    for j in range(k):
        miss_N = miss_N * np.maximum(n_N - hits_N - j, 0) / np.maximum(n_N - j, 1)
    return np.where(n_N >= k, 1.0 - miss_N, np.nan)


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k is {k}, but must be at least 1")
