"""Mean@k and pass@k of each problem, at each budget."""

import numpy as np
from jaxtyping import Float, Int

from tersely.metrics.means import average_defined


def mean_at_k(hits_PSB: Float[np.ndarray, "P S B"], *, k: int) -> Float[np.ndarray, "P B"]:
    """``c / n`` of each problem's n graded samples; NaN when ``k > n``.

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
    """``1 - C(n-c, k) / C(n, k)``: the chance that k of the n samples hold a hit.

    Unbiased for n >= k; NaN when ``k > n``. n counts graded samples only.
    Source: arXiv:2107.03374, Eq. 1.

    Args:
        hits_PSB: 1 hit, 0 miss, NaN ungraded.
        k: tries, >= 1.
    Raises:
        ValueError: if k is below 1.
    """
    n_PB = (~np.isnan(hits_PSB)).sum(axis=1)
    hits_PB = np.nansum(hits_PSB, axis=1).astype(np.int64)
    return estimate_pass_at_k(n_PB, hits_PB, k=k)


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
