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
    the stop token. A model that was cut while it repeated a token has that token elsewhere too, or
    the lists are not such as batches leave.
    """
    ends = Counter(int(ids[-1]) for ids in lists if len(ids) > 1 and ids[-1] == ids[-2])
    for pad, _ in ends.most_common():
        bodies = [_strip(ids, pad) for ids in lists]
        if any(pad in body for body in bodies):
            continue
        runs = [len(ids) - len(body) for ids, body in zip(lists, bodies, strict=True)]
        stop = _stop_before(bodies, runs)
        if stop is not None:
            tokens = [len(body) for body in bodies]
            stopped = [bool(len(body)) and bool(body[-1] == stop) for body in bodies]
        else:
            tokens = [len(body) + min(run, 1) for body, run in zip(bodies, runs, strict=True)]
            stopped = [run > 0 for run in runs]
        sizes = [len(ids) for ids in lists]
        if _are_of_batches(sizes, tokens, stopped):
            padded = sum(size > count for size, count in zip(sizes, tokens, strict=True))
            return Unpadded(tokens=tokens, stopped=stopped, padded=padded)
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


def _are_of_batches(sizes: Sequence[int], tokens: Sequence[int], stopped: Sequence[bool]) -> bool:
    """Whether lists of these sizes were padded from so many tokens.

    A batch ends at the cap or when its last sample has stopped, and its longest list has no
    padding. So more than one list stopped, some padded list is as long as one without padding, and
    sizes below the cap at which no list stopped are fewer than those of padded lists.
    """
    each = list(zip(sizes, tokens, strict=True))
    padded = {size for size, count in each if count < size}
    whole = {size for size, count in each if count == size}
    ended = {size for size, stops in zip(sizes, stopped, strict=True) if stops}
    never = set(sizes) - ended - {0, max(sizes)}
    return sum(stopped) > 1 and bool(padded & whole) and len(never) < len(padded)
