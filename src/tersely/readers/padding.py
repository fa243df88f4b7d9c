"""Token lists that were padded to the longest of their batch."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int


class Unpadded(NamedTuple):
    """What token lists were before padding.

    Args:
        tokens: tokens of each list, the stop token counted.
        stopped: whether each list ends in the stop token; None where none was padded, since
            only padding tells which token that is.
        padded: how many lists were padded.
    """

    tokens: list[int]
    stopped: list[bool] | None
    padded: int


def remove_padding(lists: Sequence[Int[np.ndarray, " _"]]) -> Unpadded:
    """``len`` of each list less the padding at its end.

    A list is padded if it ends in two or more of a token that is never anywhere but at an end.
    That token is the stop token itself, and counts once, unless all padded lists have the same
    token before it, which again is never anywhere but before it or at an end: then that one is
    the stop token. A model that was cut while it repeated a token has that token elsewhere too.
    """
    ends = Counter(int(ids[-1]) for ids in lists if len(ids) > 1 and ids[-1] == ids[-2])
    for pad, _ in ends.most_common():
        bodies = [_strip(ids, pad) for ids in lists]
        if any(pad in body for body in bodies):
            continue
        runs = [len(ids) - len(body) for ids, body in zip(lists, bodies, strict=True)]
        stop = _stop_before(bodies, runs)
        if stop is not None:
            return Unpadded(
                tokens=[len(body) for body in bodies],
                stopped=[bool(len(body)) and bool(body[-1] == stop) for body in bodies],
                padded=sum(run > 0 for run in runs),
            )
        return Unpadded(
            tokens=[len(body) + min(run, 1) for body, run in zip(bodies, runs, strict=True)],
            stopped=[run > 0 for run in runs],
            padded=sum(run > 1 for run in runs),
        )
    return Unpadded(tokens=[len(ids) for ids in lists], stopped=None, padded=0)


def _strip(ids: Int[np.ndarray, " _"], pad: int) -> Int[np.ndarray, " _"]:
    other = np.flatnonzero(ids != pad)
    return ids[: other[-1] + 1] if len(other) else ids[:0]


def _stop_before(bodies: Sequence[Int[np.ndarray, " _"]], runs: Sequence[int]) -> int | None:
    """The one token that stands before all padding and nowhere else but at an end, if any."""
    before = {
        int(body[-1]) if len(body) else None for body, run in zip(bodies, runs, strict=True) if run
    }
    if len(before) != 1:
        return None
    stop = before.pop()
    return None if any(stop in body[:-1] for body in bodies) else stop
