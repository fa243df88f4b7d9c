"""What became of each problem between two evaluations of the same problems."""

from typing import NamedTuple

import numpy as np

from tersely.metrics.budgets import Protocol, score
from tersely.metrics.lengths import average_tokens
from tersely.metrics.records import SampleTable


class ProblemChange(NamedTuple):
    """One problem: hits at the largest budget and mean tokens, before and after."""

    benchmark: str
    problem: str
    hits_before: int
    tries_before: int
    hits_after: int
    tries_after: int
    tokens_before: float
    tokens_after: float

    @property
    def lost(self) -> bool:
        """Solved by some sample before, by none after: what Pass@k loses."""
        return self.hits_before > 0 and self.hits_after == 0 and self.tries_after > 0

    @property
    def won(self) -> bool:
        """Solved by no sample before, by some after."""
        return self.hits_after > 0 and self.hits_before == 0 and self.tries_before > 0


def list_changes(
    before: SampleTable, after: SampleTable, *, budget_tokens: int, protocol: Protocol
) -> list[ProblemChange]:
    """Every shared problem's hits within the budget and mean tokens, in table order."""
    counted = []
    for table in (before, after):
        hits = score(table, budgets_B=np.array([budget_tokens]), protocol=protocol)
        graded_P = table.graded_PS.sum(axis=1)
        mean_P = average_tokens(table)
        hits_P = np.nansum(hits.hits_PSB[:, :, 0], axis=1).astype(np.int64)
        counted.append(zip(hits_P.tolist(), graded_P.tolist(), mean_P.tolist(), strict=True))
    return [
        ProblemChange(key[0], key[1], b[0], b[1], a[0], a[1], b[2], a[2])
        for key, b, a in zip(before.keys, *counted, strict=True)
    ]
