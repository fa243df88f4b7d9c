"""The beginnings of a long log with their middle thinned, so that a look at one costs the same.

A rule holds the last records against the first ones and against the best of all between. Of those
between it needs a fair sample: a log whose middle was written every few steps. The first and last
records are all there, and noise is measured on the last.
"""

import numpy as np
from jaxtyping import Int

from tersely.dynamics.log import StepLog

HEAD, MIDDLE, TAIL = 256, 300, 512
# Up to so many records nothing is left out.
WHOLE = HEAD + MIDDLE + TAIL


def kept_of(count: int) -> Int[np.ndarray, " K"]:
    """The places that are kept of so many values: every 2nd, 4th, 8th, ... of the middle."""
    if count <= WHOLE:
        return np.arange(count)
    every = 2
    while (count - HEAD - TAIL) / every > MIDDLE:
        every *= 2
    middle = np.arange(HEAD, count - TAIL, every)
    return np.concatenate((np.arange(HEAD), middle, np.arange(count - TAIL, count)))


class Beginnings:
    """A log, of which each beginning can be read at the same cost."""

    def __init__(self, log: StepLog) -> None:
        self.log = log
        self._places = [np.flatnonzero(np.isfinite(each)) for each in log.columns.values()]

    def until(self, count: int) -> StepLog:
        """The log after its first ``count`` records, thinned; of each column the first and the last
        values that it has are all there."""
        if count <= WHOLE:
            return self.log.until(count)
        kept = np.zeros(count, dtype=bool)
        kept[kept_of(count)] = True
        for places in self._places:
            if places.size < self.log.step_N.size:
                kept[places[kept_of(int(np.searchsorted(places, count)))]] = True
        rows = np.flatnonzero(kept)
        columns = {name: each[rows] for name, each in self.log.columns.items()}
        return self.log._replace(step_N=self.log.step_N[rows], columns=columns)
