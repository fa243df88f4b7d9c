"""Majority@k: how often the most frequent answer of k samples is the right one."""

from functools import cache
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.metrics.records import NO_ANSWER, RIGHT, UNKNOWN_ANSWER

# Above this many subsets of k samples, as many random ones stand for them.
MOST_SUBSETS = 2000


def majority_at_k(
    answer_PSB: Int[np.ndarray, "P S B"],
    graded_PS: Bool[np.ndarray, "P S"],
    *,
    k: int,
) -> Float[np.ndarray, "P B"]:
    """Chance that the most frequent answer among k of the n graded samples is right.

    The mean over all subsets of k samples, or over 2,000 of them where there are more, which are
    always the same for n and k: so two runs are compared on the same subsets. Samples without an
    answer do not vote; of tied answers each wins equally often; no vote at all is wrong. All
    answers that the grader accepts are one answer. NaN when ``k > n``, and where a wrong sample's
    answer is not known.  Source: arXiv:2203.11171 (self-consistency).

    Args:
        answer_PSB: RIGHT, NO_ANSWER, UNKNOWN_ANSWER or a code >= 1 for each wrong answer.
        k: votes, >= 1.
    Raises:
        ValueError: if k is below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, but must be at least 1")
    graded_PSB = np.broadcast_to(graded_PS[:, :, None], answer_PSB.shape)
    problems, samples, budgets = answer_PSB.shape
    pattern_NS = _patterns(
        np.moveaxis(answer_PSB, 2, 1).reshape(-1, samples),
        np.moveaxis(graded_PSB, 2, 1).reshape(-1, samples),
    )
    # Rows as bytes: comparing these is many times faster than comparing arrays.
    bytes_N = np.ascontiguousarray(pattern_NS.astype(np.int16)).view(f"S{2 * samples}")[:, 0]
    _, first_U, which_N = np.unique(bytes_N, return_index=True, return_inverse=True)
    values_U = np.array([_expect(row, k=k) for row in pattern_NS[first_U].tolist()])
    return np.asarray(values_U[which_N].reshape(problems, budgets))


# Places of a pattern: right answers and answerless samples come as such, wrong ones by how
# often they stand; ungraded ones are told apart from all.
_UNGRADED = -3


def _patterns(
    answer_NS: Int[np.ndarray, "N S"], graded_NS: Bool[np.ndarray, "N S"]
) -> Int[np.ndarray, "N S"]:
    """Each row's votes, with wrong answers renamed so that like rows of votes are equal.

    A wrong answer's sample is written as how many samples share it, so that a sorted row tells
    the sizes of all wrong answers: 3 3 3 1 is one of three votes and one of a single vote.
    """
    wrong_NS = graded_NS & (answer_NS > 0)
    same_NSS = (answer_NS[:, :, None] == answer_NS[:, None, :]) & wrong_NS[:, None, :]
    votes_NS = same_NSS.sum(axis=2)
    pattern_NS = np.where(wrong_NS, votes_NS, answer_NS)
    return np.sort(np.where(graded_NS, pattern_NS, _UNGRADED), axis=1)


def _expect(pattern: list[int], *, k: int) -> float:
    if UNKNOWN_ANSWER in pattern:
        return np.nan
    votes = [RIGHT] * pattern.count(RIGHT) + [NO_ANSWER] * pattern.count(NO_ANSWER)
    label = 1
    for size in sorted({p for p in pattern if p > 0}):
        for _ in range(pattern.count(size) // size):
            votes += [label] * size
            label += 1
    if k > len(votes):
        return np.nan
    is_vote_NL = (np.array(votes)[:, None] == np.arange(label)).astype(np.float64)
    tally_ML = _subsets(len(votes), k) @ is_vote_NL
    top_M = tally_ML.max(axis=1)
    wins_ML = (tally_ML == top_M[:, None]) & (top_M > 0)[:, None]
    return float((wins_ML[:, RIGHT] / np.maximum(wins_ML.sum(axis=1), 1)).mean())


@cache
def _subsets(n: int, k: int) -> Float[np.ndarray, "M N"]:
    """Rows that mark k of n: all of them, or 2,000 drawn by a seed that n and k fix."""
    if comb(n, k) <= MOST_SUBSETS:
        chosen_MK = np.array(list(combinations(range(n), k)))
    else:
        rng = np.random.default_rng([n, k])
        chosen_MK = np.argsort(rng.random((MOST_SUBSETS, n)), axis=1)[:, :k]
    marks_MN = np.zeros((len(chosen_MK), n))
    np.put_along_axis(marks_MN, chosen_MK, 1.0, axis=1)
    return marks_MN
