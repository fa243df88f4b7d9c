"""How samples ended, as shares of them: cut, without an answer, in a loop; right if not cut."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from tersely.metrics.records import NO_ANSWER, UNKNOWN_LOOP, SampleTable

TRUNCATED, GIVEN_FINISHED, LOOPING = "truncated share", "accuracy given finished", "looping share"
WITHOUT_ANSWER = "share without an answer"
# Ratios of totals over all samples: no means of means.
POOLED = (TRUNCATED, GIVEN_FINISHED, LOOPING, WITHOUT_ANSWER)
# From here on what the cap hides is said above all figures.
MUCH_CUT = 0.05


class PooledShare(NamedTuple):
    """The share of the samples in ``among_PS`` for which ``holds_PS``."""

    name: str
    holds_PS: Bool[np.ndarray, "P S"]
    among_PS: Bool[np.ndarray, "P S"]


def share_endings(table: SampleTable) -> list[PooledShare]:
    """The shares of graded samples; one that is not known of all of them has no sample.

    Accuracy given finished is over the samples that ended by themselves. A sample that was cut is
    without an answer, whatever stands in it, as one that a lower cap cut would be.
    """
    graded_PS, finished_PS = table.graded_PS, table.finished_PS
    ended_PS = graded_PS & table.ends_known
    found = [
        PooledShare(TRUNCATED, ~finished_PS, ended_PS),
        PooledShare(GIVEN_FINISHED, table.correct_PS & finished_PS, ended_PS & finished_PS),
    ]
    if table.answer_PS is not None:
        answered_PS = graded_PS & table.answers_known
        without_PS = (table.answer_PS == NO_ANSWER) | ~finished_PS
        found.append(PooledShare(WITHOUT_ANSWER, without_PS, answered_PS))
    if table.loops_PS is not None:
        known = not (table.loops_PS[graded_PS] == UNKNOWN_LOOP).any()
        found.append(PooledShare(LOOPING, table.loops_PS == 1, graded_PS & known))
    return found
