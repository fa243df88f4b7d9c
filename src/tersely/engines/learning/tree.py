"""The rows of a micro-batch as a tree of tokens, in which what rows begin with alike stands once.

A token's hidden state depends on what precedes it and on nothing else, so rollouts of one problem
share their prompt and whatever they have in common after it, and a model need run that once.

Axes: N tokens that are run, M of them that predict, C predictions, L completion tokens of all rows,
A all tokens of the tree; B rows and T tokens of a batch of attention.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tersely.engines.learning.rows import TrainRow

# Of a batch of attention, no row is shorter than this share of the longest.
_SHORTEST_SHARE = 0.8
# Attention holds every row whole: so many times a part's tokens at most.
_ROWS_SHARE = 4


class TokenTree(NamedTuple):
    """What a model is run on, and where each row finds its own.

    A row's last token predicts nothing and is not run, unless another row goes on from it.

    Args:
        ids_N: the tokens.
        position_N: of each in its row.
        batches: of attention: each row's places in N, padded with place 0.
        place_N: where each token stands in ``batches``, laid end to end.
        predicts_M: the places in N of tokens that a completion token follows.
        logits_C: of each predicted token, the place in M of its logits.
        chosen_C: the predicted tokens.
        prediction_L: the place in C of each row's completion tokens, row after row.
    """

    ids_N: Int[Tensor, " N"]
    position_N: Int[Tensor, " N"]
    batches: list[Tensor]
    place_N: Int[Tensor, " N"]
    predicts_M: Int[Tensor, " M"]
    logits_C: Int[Tensor, " C"]
    chosen_C: Int[Tensor, " C"]
    prediction_L: Int[Tensor, " L"]


class _Nodes(NamedTuple):
    """Every token of the tree, the rows' last ones included; each row's path lists its own."""

    token_A: Int[np.ndarray, " A"]
    position_A: Int[np.ndarray, " A"]
    parent_A: Int[np.ndarray, " A"]
    completes_A: Bool[np.ndarray, " A"]
    paths: list[Int[np.ndarray, " _"]]


class _Batches(NamedTuple):
    places: list[Int[np.ndarray, "_ _"]]
    place_N: Int[np.ndarray, " N"]


def split_by_shared_tokens(rows: Sequence[TrainRow], *, tokens: int) -> list[list[TrainRow]]:
    """Cut ``rows`` so that each part's tree has at most ``tokens``; a longer row goes alone.

    Rows that begin alike stay together, until their tokens are four times as many. The part of the
    longest row comes first: a step that does not fit into memory fails near its start.
    """
    parts: list[list[TrainRow]] = []
    room = room_of_rows = 0
    for index, ids, shared in _in_order(rows):
        new = len(ids) - shared
        if not parts or new > room or len(ids) > room_of_rows:
            parts.append([])
            room, room_of_rows, new = tokens, _ROWS_SHARE * tokens, len(ids)
        parts[-1].append(rows[index])
        room -= new
        room_of_rows -= len(ids)
    return sorted(parts, key=lambda part: -max(row.tokens for row in part))


def token_tree(rows: Sequence[TrainRow], *, device: torch.device) -> TokenTree:
    """The tree of ``rows``; ``prediction_L`` has them in their order."""
    nodes = _nodes(rows)
    runs_A = np.zeros(len(nodes.token_A), dtype=np.bool_)
    runs_A[nodes.parent_A[nodes.parent_A >= 0]] = True
    place_A = runs_A.cumsum() - 1
    predicted_C = nodes.completes_A.nonzero()[0]
    predicts_M, logits_C = np.unique(place_A[nodes.parent_A[predicted_C]], return_inverse=True)
    prediction_A = nodes.completes_A.cumsum() - 1
    completions = [path[len(row.prompt_ids) :] for row, path in zip(rows, nodes.paths, strict=True)]
    batches = _batches([place_A[path[:-1]] for path in nodes.paths], tokens=int(runs_A.sum()))

    def there(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    return TokenTree(
        ids_N=there(nodes.token_A[runs_A]),
        position_N=there(nodes.position_A[runs_A]),
        batches=[there(places) for places in batches.places],
        place_N=there(batches.place_N),
        predicts_M=there(predicts_M),
        logits_C=there(logits_C),
        chosen_C=there(nodes.token_A[predicted_C]),
        prediction_L=there(prediction_A[np.concatenate(completions)]),
    )


def _nodes(rows: Sequence[TrainRow]) -> _Nodes:
    paths, count = [np.zeros(0, dtype=np.int64)] * len(rows), 0
    path = paths[0]
    for index, ids, shared in _in_order(rows):
        fresh = np.arange(count, count + len(ids) - shared)
        paths[index] = path = np.concatenate((path[:shared], fresh))
        count += len(fresh)
    nodes = _Nodes(
        token_A=np.empty(count, dtype=np.int64),
        position_A=np.empty(count, dtype=np.int64),
        parent_A=np.full(count, -1),
        completes_A=np.zeros(count, dtype=np.bool_),
        paths=paths,
    )
    for row, path in zip(rows, paths, strict=True):
        nodes.token_A[path] = row.prompt_ids + row.completion_ids
        nodes.position_A[path] = np.arange(len(path))
        nodes.parent_A[path[1:]] = path[:-1]
        nodes.completes_A[path[len(row.prompt_ids) :]] = True
    return nodes


def _batches(paths: Sequence[Int[np.ndarray, " _"]], *, tokens: int) -> _Batches:
    """Cuts paths, longest first, into padded batches; leaves out those that others contain."""
    chosen: list[list[np.ndarray]] = []
    seen_N = np.zeros(tokens, dtype=np.bool_)
    for path in sorted(paths, key=len, reverse=True):
        if seen_N[path[-1]]:
            continue
        seen_N[path] = True
        if chosen and len(path) >= _SHORTEST_SHARE * len(chosen[-1][0]):
            chosen[-1].append(path)
        else:
            chosen.append([path])
    batches = _Batches([], np.full(tokens, -1))
    start = 0
    for batch in chosen:
        places = np.zeros((len(batch), len(batch[0])), dtype=np.int64)
        for row, path in zip(places, batch, strict=True):
            row[: len(path)] = path
            batches.place_N[path] = np.arange(start, start + len(path))
            start += len(row)
        batches.places.append(places)
    return batches


def _in_order(
    rows: Sequence[TrainRow],
) -> Iterator[tuple[int, Int[np.ndarray, " T"], int]]:
    """Each row's index, its tokens, and how many it begins with as does the one before it; rows
    that begin alike are neighbours."""
    all_ids = [row.prompt_ids + row.completion_ids for row in rows]
    previous = np.zeros(0, dtype=np.int64)
    for index in sorted(range(len(rows)), key=all_ids.__getitem__):
        ids = np.array(all_ids[index])
        both = min(len(ids), len(previous))
        differs = (ids[:both] != previous[:both]).nonzero()[0]
        yield index, ids, int(differs[0]) if differs.size else both
        previous = ids
