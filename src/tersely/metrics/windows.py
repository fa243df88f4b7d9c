"""Detects a length limit that a file does not state."""

from typing import NamedTuple

import numpy as np

from tersely.metrics.lengths import read_quantiles
from tersely.metrics.records import SampleTable

# Shares of the longest length over which the lengths at a limit may be spread: nothing where the
# completion is limited, as much as prompts differ where prompt and completion are together.
WIDTHS = (0.0, 0.01, 0.02, 0.04, 0.08, 0.16)
FEWEST_SAMPLES, FEWEST_SHARE, FEWEST_PROBLEMS = 8, 0.01, 3
MOST_RIGHT, DENSER, BANDS, WIDER = 0.25, 4, 3, 3


class Window(NamedTuple):
    """Samples that look cut although nothing says so.

    Args:
        low_tokens, high_tokens: the lengths at which they end.
        n_samples, n_right: how many they are, and how many of them are right.
        of_samples: graded samples in all.
        cap_tokens: the run's cap as the file or its reader states it, or None.
    """

    low_tokens: int
    high_tokens: int
    n_samples: int
    n_right: int
    of_samples: int
    cap_tokens: int | None = None


class ShortCut(NamedTuple):
    """Samples that a cap of their own cut below the run's; the shortest has ``from_tokens``."""

    n_samples: int
    of_samples: int
    from_tokens: int


def find_window(table: SampleTable) -> Window | None:
    """The narrowest band up to the longest length in which samples pile up, or None.

    A pile: 8 samples and 1% or more, of 3 problems or more, at most a quarter right, four times
    as many as in any of the three bands of its width below it, and the lengths below it spread
    over three times its width. The density of ordinary lengths falls towards the longest one, so
    they hold no pile. Only samples that count as ended by themselves are looked at.
    """
    ended_PS = table.graded_PS & table.finished_PS
    if not ended_PS.any():
        return None
    tokens_N = np.sort(table.tokens_PS[ended_PS]).astype(np.float64)
    most = int(tokens_N[-1])
    for width in WIDTHS:
        band = max(1, int(width * most))
        below_N, pile_N = np.split(tokens_N, [np.searchsorted(tokens_N, most - band, "right")])
        if not below_N.size:
            return None
        edges = most + 1.0 - band * np.arange(BANDS + 1, 0, -1)
        beside = int(np.diff(np.searchsorted(below_N, edges)).max())
        spread = float(np.subtract(*read_quantiles(below_N, np.array([0.9, 0.1]))))
        fewest = max(FEWEST_SAMPLES, FEWEST_SHARE * tokens_N.size, DENSER * beside)
        if pile_N.size < fewest or spread < WIDER * band:
            continue
        pile_PS = ended_PS & (table.tokens_PS > most - band)
        right = int((pile_PS & table.correct_PS).sum())
        if right <= MOST_RIGHT * pile_N.size and pile_PS.any(axis=1).sum() >= FEWEST_PROBLEMS:
            of = int(table.graded_PS.sum())
            return Window(int(pile_N[0]), most, pile_N.size, right, of, table.cap_tokens)
    return None


def find_short_cuts(table: SampleTable) -> ShortCut | None:
    """The samples that were cut with fewer tokens than the run's cap, or None.

    What they would have come to at a larger budget is not known; they count as not right there.
    """
    cut_PS = table.graded_PS & ~table.finished_PS
    if table.cap_tokens is not None:
        cut_PS = cut_PS & (table.tokens_PS < table.cap_tokens)
    if not cut_PS.any():
        return None
    return ShortCut(
        int(cut_PS.sum()), int(table.graded_PS.sum()), int(table.tokens_PS[cut_PS].min())
    )
