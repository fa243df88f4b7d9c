"""Series that the tests of noise are held against."""

import numpy as np


def autoregression(rng: np.random.Generator, rho: float, size: int) -> np.ndarray:
    made = [rng.normal()]
    for white in rng.normal(0, np.sqrt(1 - rho**2), size - 1):
        made.append(rho * made[-1] + white)
    return np.array(made)
