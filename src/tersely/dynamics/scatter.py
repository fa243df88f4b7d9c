"""How far the records of a series scatter about their course, and how neighbours hang together."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MOST_CORRELATED = 0.9
# The correlation in few records is hardly known: so many standard errors of it more are believed.
DOUBT = 1.5
FEWEST_CORRELATED = 4
# Of the absolute values of a normal variable, three quarters lie below this.
THREE_QUARTERS = 1.1503


class Scatter(NamedTuple):
    """Of so many records: the standard deviation of one about its mean, and the correlation of
    neighbours, 0 to 0.9."""

    noise: float
    correlation: float
    records: int

    def error(self, least: float, *, doubt: float = DOUBT) -> float:
        """Standard error of a mean, times the root of its records, where one record has at least
        this standard deviation."""
        rho = min(self.correlation + doubt / max(self.records, 1) ** 0.5, MOST_CORRELATED)
        return float(max(least, self.noise) * ((1 + rho) / (1 - rho)) ** 0.5)


def scatter(value_K: Float[np.ndarray, " K"]) -> Scatter:
    """By the differences over one record and over two, whose squares are as 1 to 1 + correlation.
    None is seen where most values repeat the one before."""
    near, usual = _spread(value_K[1:] - value_K[:-1])
    over_two = _spread(value_K[2:] - value_K[:-2])[0] if usual else 0.0
    rho = 0.0
    if value_K.size >= FEWEST_CORRELATED and over_two:
        rho = min(max((over_two / near) ** 2 - 1, 0.0), MOST_CORRELATED)
    return Scatter(float(near / (2 * (1 - rho)) ** 0.5), rho, value_K.size)


def _spread(difference_K: Float[np.ndarray, " K"]) -> tuple[float, float]:
    """Root mean square about the median, what lies beyond three usual deviations drawn in; and the
    usual one, which three quarters fit: 0 where most values repeat the one before."""
    if not difference_K.size:
        return 0.0, 0.0
    size_K = np.sort(np.abs(difference_K - np.sort(difference_K)[difference_K.size // 2]))
    usual = float(size_K[3 * (size_K.size - 1) // 4]) / THREE_QUARTERS
    if usual > 0:
        size_K = np.minimum(size_K, 3 * usual)
    return float(size_K @ size_K / size_K.size) ** 0.5, usual
