"""Mean@k, Pass@k, Pass^k and G-Pass@k of each problem at each budget.

Everywhere n counts the graded samples of a problem and c its hits among them, and the value is
NaN when ``k > n``: there is no unbiased estimate of what more tries than samples would do.
"""

import math

import numpy as np
from jaxtyping import Float, Int

from tersely.metrics.means import average_defined


def mean_at_k(hits_PSB: Float[np.ndarray, "P S B"], *, k: int) -> Float[np.ndarray, "P B"]:
    """Mean@k: ``c / n`` of each problem's n graded samples; NaN when ``k > n``.

    Its expectation is the same for every k: k only says how many samples must be there.

    Args:
        hits_PSB: 1 hit, 0 miss, NaN ungraded.
        k: samples per problem, >= 1.
    Raises:
        ValueError: if k is below 1.
    """
    _check_k(k)
    n_PB = (~np.isnan(hits_PSB)).sum(axis=1)
    return np.where(n_PB >= k, average_defined(hits_PSB, axis=1), np.nan)


def pass_at_k(hits_PSB: Float[np.ndarray, "P S B"], *, k: int) -> Float[np.ndarray, "P B"]:
    """Pass@k: ``1 - C(n-c, k) / C(n, k)``, the chance that k of the n samples hold a hit.

    Unbiased for n >= k. Source: arXiv:2107.03374, Eq. 1.

    Args:
        hits_PSB: 1 hit, 0 miss, NaN ungraded.
        k: tries, >= 1.
    Raises:
        ValueError: if k is below 1.
    """
    return estimate_pass_at_k(*_counts(hits_PSB), k=k)


def pass_hat_k(hits_PSB: Float[np.ndarray, "P S B"], *, k: int) -> Float[np.ndarray, "P B"]:
    """Pass^k: ``C(c, k) / C(n, k)``, the chance that k of the n samples are all hits.

    Unbiased for n >= k. Source: arXiv:2406.12045 (tau-bench).

    Raises:
        ValueError: if k is below 1.
    """
    return g_pass_at_k(hits_PSB, k=k, threshold=1.0)


def g_pass_at_k(
    hits_PSB: Float[np.ndarray, "P S B"], *, k: int, threshold: float
) -> Float[np.ndarray, "P B"]:
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
    n_PB, hits_PB = _counts(hits_PSB)
    base = int(n_PB.max(initial=0)) + 1
    code_U, which_N = np.unique(n_PB.ravel() * base + hits_PB.ravel(), return_inverse=True)
    chance_U = np.array(
        [_share_of_subsets(code // base, code % base, k, needed) for code in code_U.tolist()]
    )
    return np.asarray(chance_U[which_N].reshape(n_PB.shape), dtype=np.float64)


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


def _counts(
    hits_PSB: Float[np.ndarray, "P S B"],
) -> tuple[Int[np.ndarray, "P B"], Int[np.ndarray, "P B"]]:
    """Graded samples and hits of each problem at each budget."""
    n_PB = (~np.isnan(hits_PSB)).sum(axis=1)
    return n_PB, np.nansum(hits_PSB, axis=1).astype(np.int64)


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k is {k}, but must be at least 1")
