"""What k votes under a cap do, exactly: over all subsets of k of a problem's samples.

A sample capped at b is the b-token prefix of one capped higher: it is right iff it is correct,
ended by itself and took at most b tokens, and it costs ``min(tokens, b)``. So samples made once, at
the largest cap, answer for every lower cap and for every number of votes up to their own.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import comb

from tersely.metrics.records import NO_ANSWER, RIGHT, UNKNOWN_ANSWER, SampleTable

# Of more votes the frontier would take long.
MOST_VOTES = 64
# What this share of all draws does changes no digit that is shown, nor the five after it.
NEGLIGIBLE = 1e-13


class Ballots(NamedTuple):
    """What N problems' samples say: how many are right, silent, and of each wrong answer.

    Args:
        size_NW: samples of each wrong answer of the problem, the most frequent first, 0 for none.
    """

    right_N: Int[np.ndarray, " N"]
    silent_N: Int[np.ndarray, " N"]
    size_NW: Int[np.ndarray, "N W"]


class Cast(NamedTuple):
    """What a setting of a cap and a number of votes gives each problem; NaN where undefined.

    Args:
        right_P: the chance that the most frequent answer is right; of one vote, the share right.
        tokens_P: tokens that all votes take together.
        longest_P: tokens of the longest vote.
    """

    right_P: Float[np.ndarray, " P"]
    tokens_P: Float[np.ndarray, " P"]
    longest_P: Float[np.ndarray, " P"]


def cast(
    table: SampleTable, *, caps: Sequence[int], votes: Sequence[int], timed: bool = True
) -> Iterator[tuple[int, int, Cast]]:
    """Cap, number of votes, and what they give: expected accuracy and tokens of each problem.

    Means over all subsets of that many graded samples of a problem: Majority@k with ties shared,
    as ``majority_at_k``; k times the mean tokens; and the mean of the longest. NaN where a problem
    has fewer graded samples; accuracy of two and more votes also where a wrong answer that counts
    is not known.

    Args:
        timed: whether the longest vote is wanted; else it is NaN.
    """
    n_P = table.graded_PS.sum(axis=1)
    sorted_PS = np.sort(np.where(table.graded_PS, table.tokens_PS, -1), axis=1)
    named = _name_all(table) if max(votes) > 1 else None
    for cap_tokens in caps:
        capped_PS = np.minimum(sorted_PS, cap_tokens)
        total_P = np.maximum(capped_PS, 0).sum(axis=1, dtype=np.float64)
        mean_P = np.where(n_P > 0, total_P / np.maximum(n_P, 1), np.nan)
        box = None if named is None else _fill_box(table, named, cap_tokens=cap_tokens)
        for k in votes:
            longest_P = np.full(n_P.shape, np.nan)
            if timed:
                longest_P = mean_P if k == 1 else _expect_longest(capped_PS, n_P, votes=k)
            if k == 1 or box is None:
                yield cap_tokens, k, Cast(_score_alone(table, cap_tokens), mean_P, longest_P)
                continue
            won_P = majority_at_k(box, k=k)
            yield cap_tokens, k, Cast(won_P, np.where(n_P >= k, k * mean_P, np.nan), longest_P)


class Box(NamedTuple):
    """The kinds of ballots that there are, which of them each problem has, and where votes are not
    known.

    Args:
        which_N, unknown_N: of problems, or of problems at budgets.
    """

    kinds: Ballots
    which_N: Int[np.ndarray, "*N"]
    unknown_N: Bool[np.ndarray, "*N"]


def gather_votes(
    answer_PS: Int[np.ndarray, "P S"],
    graded_PS: Bool[np.ndarray, "P S"],
    in_time_PSB: Bool[np.ndarray, "P S B"],
) -> Box:
    """What the samples of each problem say at each budget; what is not in time says nothing.

    Args:
        answer_PS: RIGHT, NO_ANSWER, UNKNOWN_ANSWER or a code >= 1 for each wrong answer.
    """
    named = _name_answers(np.where(graded_PS, answer_PS, NO_ANSWER))
    voting_PSB = in_time_PSB & graded_PS[:, :, None]
    right_PSB = voting_PSB & (answer_PS == RIGHT)[:, :, None]
    unknown_PSB = voting_PSB & named.unknown_PS[:, :, None]
    wrong_PSB = voting_PSB & (named.place_PS < named.width)[:, :, None]
    problems, _, budgets = in_time_PSB.shape
    sizes = [_size_wrong(named, wrong_PSB[..., b]) for b in range(budgets)]
    box = _box(
        right_PSB.sum(axis=1).ravel(),
        np.repeat(graded_PS.sum(axis=1), budgets),
        np.stack(sizes, axis=1).reshape(problems * budgets, named.width),
        unknown_P=unknown_PSB.any(axis=1).ravel(),
    )
    shape = problems, budgets
    return Box(box.kinds, box.which_N.reshape(shape), box.unknown_N.reshape(shape))


def majority_at_k(box: Box, *, k: int) -> Float[np.ndarray, "*N"]:
    """Chance that the most frequent answer among k of the n graded samples is right.

    The mean over all subsets of k samples. Samples without an answer do not vote; of tied answers
    each wins equally often; no vote at all is wrong. All answers that the grader accepts are one
    answer. NaN when ``k > n`` and where a wrong sample's answer is not known.  Source:
    arXiv:2203.11171 (self-consistency).

    Args:
        k: votes, >= 1.
    Raises:
        ValueError: if k is below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, but must be at least 1")
    return np.where(box.unknown_N, np.nan, expect_majority(box.kinds, votes=k)[box.which_N])


def expect_majority(ballots: Ballots, *, votes: int) -> Float[np.ndarray, " N"]:
    """Chance that a right answer is the most frequent of ``votes`` drawn without replacement.

    ``sum_j C(r, j) sum_t F_j(k - j, t) / (1 + t) / C(n, k)``: j right votes win if no wrong answer
    has more, and share the win with the t that have as many; F_j counts the ways to draw the rest
    so. An answer of fewer than j samples can only lose and is drawn like a silent one. No vote at
    all is wrong; fewer samples than votes → NaN.
    """
    n_N = ballots.right_N + ballots.silent_N + ballots.size_NW.sum(axis=1)
    won_N = np.full(n_N.shape, np.nan)
    for n in np.unique(n_N[n_N >= votes]):
        rows_U = np.flatnonzero(n_N == n)
        some = Ballots(*(each[rows_U] for each in ballots))
        if votes == 1:
            won_N[rows_U] = some.right_N / n
        elif votes == n:
            won_N[rows_U] = _all_vote(some)
        else:
            won_N[rows_U] = _some_vote(some, int(n), votes=votes)
    return won_N


def _all_vote(ballots: Ballots) -> Float[np.ndarray, " U"]:
    """The one way to draw all samples."""
    most_U = ballots.size_NW.max(axis=1, initial=0)
    ties_U = (ballots.size_NW == ballots.right_N[:, None]).sum(axis=1)
    return np.where(ballots.right_N >= np.maximum(most_U, 1), 1.0 / (1 + ties_U), 0.0)


def _some_vote(ballots: Ballots, n: int, *, votes: int) -> Float[np.ndarray, " U"]:
    """The chance of every number of right votes, times that of no more votes for another answer.

    Every ``C(x, d)`` stands times ``p^d (1 - p)^(x - d)``, which all draws of k from n have in
    common: so no number is too large for a float, and what is negligible is seen.
    """
    p = votes / n
    ways_XD = _binomial(n, votes, p)
    won_U = np.zeros(len(ballots.right_N))
    for j in range(1, votes + 1):
        chance_U = ways_XD[ballots.right_N, j]
        rows_V = np.flatnonzero(chance_U > NEGLIGIBLE)
        if rows_V.size:
            some = Ballots(*(each[rows_V] for each in ballots))
            won_U[rows_V] += chance_U[rows_V] * _share_wins(some, ways_XD, right=j, votes=votes)
    return np.asarray(won_U / ways_XD[n, votes])


def _binomial(n: int, votes: int, p: float) -> Float[np.ndarray, "X D"]:
    """``C(x, d) p^d (1 - p)^(x - d)`` for x to n and d to ``votes``: Pascal's triangle by rows.

    scipy.stats has it too, but takes half a second to load, which every report would wait for.
    """
    ways_XD = np.zeros((n + 1, votes + 1))
    ways_XD[0, 0] = 1.0
    for x in range(1, n + 1):
        ways_XD[x] = (1.0 - p) * ways_XD[x - 1]
        ways_XD[x, 1:] += p * ways_XD[x - 1, :-1]
    return ways_XD


def _share_wins(
    ballots: Ballots, ways_XD: Float[np.ndarray, "X D"], *, right: int, votes: int
) -> Float[np.ndarray, " U"]:
    """Share of draws of the other votes that do not beat ``right``; with t ties, 1 / (1 + t)."""
    rest = votes - right
    # With most of the votes right, no answer can have as many.
    rival_UW = (ballots.size_NW >= right) & (rest >= right)
    rivals = int(rival_UW.sum(axis=1).max(initial=0))
    harmless_U = ballots.silent_N + np.where(rival_UW, 0, ballots.size_NW).sum(axis=1)
    ties = min(rivals, rest // right)
    won_TDU = np.zeros((ties + 1, rest + 1, len(harmless_U)))
    won_TDU[0, 0] = 1.0
    for w in range(rivals):
        size_U = np.where(rival_UW[:, w], ballots.size_NW[:, w], 0)
        more_TDU = np.zeros_like(won_TDU)
        for drawn in range(min(right - 1, rest) + 1):
            drawn_U = ways_XD[size_U, drawn]
            if drawn_U.max() > NEGLIGIBLE:
                more_TDU[:, drawn:] += drawn_U * won_TDU[:, : rest + 1 - drawn]
        if ties and right <= rest:
            more_TDU[1:, right:] += ways_XD[size_U, right] * won_TDU[:-1, : rest + 1 - right]
        won_TDU = more_TDU
    left_DU = ways_XD[harmless_U, rest - np.arange(rest + 1)[:, None]]
    shares_T = 1.0 / (1.0 + np.arange(ties + 1))
    return np.asarray(np.einsum("t,tdu,du->u", shares_T, won_TDU, left_DU))


class _NamedAnswers(NamedTuple):
    """Each sample's wrong answer, numbered from 0 within its problem; ``width`` where it has none.

    Args:
        unknown_PS: it is not known what it answers.
    """

    place_PS: Int[np.ndarray, "P S"]
    unknown_PS: Bool[np.ndarray, "P S"]
    width: int


def _in_time(table: SampleTable, cap_tokens: int) -> Bool[np.ndarray, "P S"]:
    return np.asarray(table.graded_PS & table.finished_PS & (table.tokens_PS <= cap_tokens))


def _score_alone(table: SampleTable, cap_tokens: int) -> Float[np.ndarray, " P"]:
    right_P = (_in_time(table, cap_tokens) & table.correct_PS).sum(axis=1)
    n_P = table.graded_PS.sum(axis=1)
    return np.where(n_P > 0, right_P / np.maximum(n_P, 1), np.nan)


def _name_all(table: SampleTable) -> _NamedAnswers:
    if table.answer_PS is None:
        nothing_PS = np.zeros(table.tokens_PS.shape, dtype=np.int64)
        return _NamedAnswers(nothing_PS, table.graded_PS & ~table.correct_PS, 0)
    named = _name_answers(table.answer_PS)
    return named._replace(unknown_PS=table.graded_PS & named.unknown_PS)


def _name_answers(answer_PS: Int[np.ndarray, "P S"]) -> _NamedAnswers:
    order_PS = np.argsort(answer_PS, axis=1)
    sorted_PS = np.take_along_axis(answer_PS, order_PS, axis=1)
    new_PS = sorted_PS > 0
    new_PS[:, 1:] &= sorted_PS[:, 1:] != sorted_PS[:, :-1]
    width = int(new_PS.sum(axis=1).max(initial=0))
    place_PS = np.where(sorted_PS > 0, np.cumsum(new_PS, axis=1) - 1, width)
    back_PS = np.empty_like(place_PS)
    np.put_along_axis(back_PS, order_PS, place_PS, axis=1)
    return _NamedAnswers(back_PS, answer_PS == UNKNOWN_ANSWER, width)


def _fill_box(table: SampleTable, named: _NamedAnswers, *, cap_tokens: int) -> Box:
    in_time_PS = _in_time(table, cap_tokens)
    voting_PS = in_time_PS & ~table.correct_PS & (named.place_PS < named.width)
    return _box(
        (in_time_PS & table.correct_PS).sum(axis=1),
        table.graded_PS.sum(axis=1),
        _size_wrong(named, voting_PS),
        unknown_P=(in_time_PS & named.unknown_PS).any(axis=1),
    )


def _size_wrong(named: _NamedAnswers, voting_PS: Bool[np.ndarray, "P S"]) -> Int[np.ndarray, "P W"]:
    """How many samples vote for each wrong answer, the most frequent first."""
    problems = len(voting_PS)
    cells_N = (np.arange(problems)[:, None] * named.width + named.place_PS)[voting_PS]
    size_PW = np.bincount(cells_N, minlength=problems * named.width)
    return np.asarray(-np.sort(-size_PW.reshape(problems, named.width), axis=1))


def _box(
    right_P: Int[np.ndarray, " P"],
    n_P: Int[np.ndarray, " P"],
    size_PW: Int[np.ndarray, "P W"],
    *,
    unknown_P: Bool[np.ndarray, " P"],
) -> Box:
    """The kinds of ballots; of n samples, those that are neither right nor sized are silent."""
    ballots = Ballots(right_P, n_P - right_P - size_PW.sum(axis=1), size_PW)
    keys_P = _key_rows(np.hstack([np.stack(ballots[:2], axis=1), size_PW]))
    _, first_U, which_P = np.unique(keys_P, return_index=True, return_inverse=True)
    kinds = Ballots(*(each[first_U] for each in ballots))
    return Box(kinds, which_P, unknown_P)


def _key_rows(rows_PC: Int[np.ndarray, "P C"]) -> np.ndarray:
    """One value for each row, the same for like rows: a number where it fits, else its bytes."""
    base, columns = int(rows_PC.max(initial=0)) + 1, rows_PC.shape[1]
    if base**columns < 2**62:
        return np.asarray(rows_PC @ (base ** np.arange(columns, dtype=np.int64)))
    wide_PC = np.ascontiguousarray(rows_PC.astype(np.int32))
    return np.asarray(wide_PC.view(f"S{4 * columns}")[:, 0])


def _expect_longest(
    sorted_PS: Int[np.ndarray, "P S"], n_P: Int[np.ndarray, " P"], *, votes: int
) -> Float[np.ndarray, " P"]:
    """Mean of the largest of ``votes`` samples: the i-th smallest is it in C(i-1, k-1) subsets.

    The n graded samples stand last in their row.
    """
    samples = sorted_PS.shape[1]
    rank_PS = np.arange(samples) - (samples - n_P)[:, None]
    subsets_R = comb(np.arange(samples), votes - 1)
    share_PS = np.where(rank_PS >= 0, subsets_R[np.maximum(rank_PS, 0)], 0.0)
    ways_N = comb(np.maximum(np.arange(samples + 1), votes), votes)
    longest_P = (share_PS * sorted_PS).sum(axis=1) / ways_N[n_P]
    return np.where(n_P >= votes, longest_P, np.nan)
