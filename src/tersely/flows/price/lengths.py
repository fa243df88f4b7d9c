"""How long the rollouts of a step are, given nothing but their mean and their cap."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Lengths(NamedTuple):
    """After t tokens ``(1 - t / cap) ^ (cap / mean - 1)`` of the rollouts are still running.

    All at the cap if the mean is the cap, spread evenly if it is half of it, exponential where it
    is far below.
    """

    mean: int
    cap: int

    def running(self, tokens_T: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
        """The share of rollouts that has more than so many tokens, for tokens below the cap."""
        running_T: Float[np.ndarray, " T"] = (1 - tokens_T / self.cap) ** (self.cap / self.mean - 1)
        return running_T

    @property
    def mean_square(self) -> float:
        """``2 mean^2 cap / (cap + mean)``: the mean squared, up to twice that."""
        return 2 * self.mean**2 * self.cap / (self.cap + self.mean)

    @property
    def mean_age(self) -> float:
        """Tokens so far of a rollout that is seen at any time while it runs."""
        return self.mean_square / (2 * self.mean)
