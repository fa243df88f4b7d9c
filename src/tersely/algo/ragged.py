"""Groups of different sizes laid end to end, and sums over them without a loop."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped


@dataclass(frozen=True, slots=True)
class Ragged:
    """Where each of P groups lies in flat arrays of N rollouts: group after group, none split.

    Args:
        sizes_P: rollouts of each group, in the order of the flat arrays; 0 is allowed.
    Raises:
        ValueError: if a size is negative.
    """

    sizes_P: Int[np.ndarray, " P"]

    def __post_init__(self) -> None:
        if (self.sizes_P < 0).any():
            raise ValueError(f"group sizes must be >= 0, got {self.sizes_P.min()}")

    @property
    def rollouts(self) -> int:
        """N, the length of a flat array."""
        return int(self.sizes_P.sum())

    def sums(
        self, values_N: Float[np.ndarray, " N"] | Bool[np.ndarray, " N"]
    ) -> Float[np.ndarray, " P"]:
        """The sum over each group; 0 for an empty one."""
        return self._reduced(np.add, values_N.astype(np.float64), empty=0.0)

    def minima(self, values_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " P"]:
        """The least value of each group; +inf for an empty one."""
        return self._reduced(np.minimum, values_N, empty=np.inf)

    def maxima(self, values_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " P"]:
        """The greatest value of each group; -inf for an empty one."""
        return self._reduced(np.maximum, values_N, empty=-np.inf)

    def spread(self, values_P: Shaped[np.ndarray, " P"]) -> Shaped[np.ndarray, " N"]:
        """Every rollout's own group's value."""
        return np.repeat(values_P, self.sizes_P)

    def split(self, values_N: Shaped[np.ndarray, " N"]) -> list[np.ndarray]:
        """One array a group: the view of an author of group functions."""
        self._check(values_N)
        return np.split(values_N, np.cumsum(self.sizes_P)[:-1]) if len(self.sizes_P) else []

    def _reduced(
        self, reduce: np.ufunc, values_N: Float[np.ndarray, " N"], *, empty: float
    ) -> Float[np.ndarray, " P"]:
        # ``reduceat`` has no empty segments: between the starts of the filled groups lie exactly
        # these groups.
        self._check(values_N)
        out_P = np.full(len(self.sizes_P), empty, dtype=np.float64)
        filled_P = self.sizes_P > 0
        if filled_P.any():
            starts_P = np.cumsum(self.sizes_P) - self.sizes_P
            out_P[filled_P] = reduce.reduceat(values_N, starts_P[filled_P])
        return out_P

    def _check(self, values_N: Shaped[np.ndarray, " N"]) -> None:
        if len(values_N) != self.rollouts:
            raise ValueError(
                f"{len(values_N)} values for groups of {self.rollouts} rollouts in all"
            )
