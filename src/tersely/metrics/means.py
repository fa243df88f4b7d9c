"""Means over the defined values of an array."""

from typing import Any

import numpy as np
from jaxtyping import Float


def average_defined(values: Float[np.ndarray, "..."], *, axis: int) -> Float[np.ndarray, "..."]:
    """Mean over the entries that are not NaN; NaN where there are none."""
    defined: Any = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
