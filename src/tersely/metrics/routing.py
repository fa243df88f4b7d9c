"""What a budget for each problem would save, and where the tokens of one budget for all go.

The oracle budget of a problem is known from its samples: up to the longest right one, nothing
where none is right. Known from the same samples that it is judged by it saves the most that any
router could, and more than is there to save; known from the others it is an honest estimate of
what can be known from one sample less.

Shares after the decomposition of marin-community/marin#8357, which builds on TRIAGE
(arXiv:2605.13414, of which we could read the abstract only); we differ in reading the budgets off
samples that ended by themselves, not off answers forced from prefixes.
"""

from typing import NamedTuple

import numpy as np

from tersely.metrics.intervals import Interval, Sums, averages
from tersely.metrics.records import SampleTable
from tersely.metrics.simultaneous import bound_ratios, bound_shares


class TokenShares(NamedTuple):
    """Where tokens go under one cap.

    Args:
        starved: share of samples that the cap cuts although another sample of the problem is right
            within the sampled cap.
        futile: share of tokens spent on problems that no sample solves within the sampled cap.
        overthought: share of tokens that right samples spend beyond the shortest right one of
            their problem; grows with the number of samples.
    """

    cap_tokens: int
    starved: Interval
    futile: Interval
    overthought: Interval


class RoutedCost(NamedTuple):
    """One budget a problem, against one for all at the sampled cap.

    Args:
        accuracy: under the oracle budgets.
        cost: mean tokens as a multiple of those without it.
    """

    accuracy: Interval
    cost: Interval


class Routed(NamedTuple):
    """The oracle, known from the samples it is judged by, and from the others (None: one sample).

    Args:
        unrouted: accuracy at the sampled cap.
    """

    unrouted: Interval
    bound: RoutedCost
    held_out: RoutedCost | None
    shares: tuple[TokenShares, ...]


def route(table: SampleTable, *, caps: tuple[int, ...], critical: float) -> Routed:
    """The oracle budgets of the graded samples, and the shares at each cap."""
    graded_PS = table.graded_PS
    n_P = graded_PS.sum(axis=1)
    right_PS = table.right_PS
    tokens_PS = np.where(graded_PS, table.tokens_PS, 0)
    samples_1 = np.array([int(n_P.sum())])
    length_PS = np.where(right_PS, tokens_PS, 0)
    longest_P = length_PS.max(axis=1)
    others_PS = _longest_of_others(length_PS)
    mean_P = tokens_PS.sum(axis=1) / n_P

    def judge(budget_PS: np.ndarray) -> RoutedCost:
        kept_P = (right_PS & (tokens_PS <= budget_PS)).sum(axis=1) / n_P
        spent_P = np.minimum(tokens_PS, budget_PS).sum(axis=1) / n_P
        return RoutedCost(
            bound_shares(averages(kept_P[:, None]), n_samples_M=samples_1, critical=critical)[0],
            bound_ratios(
                spent_P[:, None],
                mean_P[:, None],
                n_samples_M=samples_1,
                critical=critical,
                most_M=np.ones(1),
            )[0],
        )

    all_P1 = (right_PS.sum(axis=1) / n_P)[:, None]
    return Routed(
        bound_shares(averages(all_P1), n_samples_M=samples_1, critical=critical)[0],
        judge(np.broadcast_to(longest_P[:, None], tokens_PS.shape)),
        judge(others_PS) if (n_P > 1).all() else None,
        tuple(_share_tokens(table, right_PS, cap, critical=critical) for cap in caps),
    )


def _longest_of_others(length_PS: np.ndarray) -> np.ndarray:
    """Of each sample, the longest right one among the problem's others; 0 if there is none."""
    if length_PS.shape[1] < 2:
        return np.zeros_like(length_PS)
    top_PS = np.sort(length_PS, axis=1)[:, -2:]
    first_P1, second_P1 = top_PS[:, 1:], top_PS[:, :1]
    return np.where(length_PS == first_P1, second_P1, first_P1)


def _share_tokens(
    table: SampleTable, right_PS: np.ndarray, cap_tokens: int, *, critical: float
) -> TokenShares:
    graded_PS = table.graded_PS
    n_P = graded_PS.sum(axis=1)
    spent_PS = np.where(graded_PS, np.minimum(table.tokens_PS, cap_tokens), 0)
    cut_PS = graded_PS & (~table.finished_PS | (table.tokens_PS > cap_tokens))
    solved_P = right_PS.any(axis=1)
    shortest_P = np.where(right_PS, table.tokens_PS, np.iinfo(np.int64).max).min(axis=1)
    in_time_PS = right_PS & (table.tokens_PS <= cap_tokens)
    over_PS = np.where(in_time_PS, spent_PS - shortest_P[:, None], 0)
    total_P = spent_PS.sum(axis=1)
    starved_P = np.where(solved_P, cut_PS.sum(axis=1), 0)
    over_P, futile_P = over_PS.sum(axis=1), np.where(solved_P, 0, total_P)
    sums = Sums(
        np.stack([starved_P / n_P, futile_P, over_P], axis=1).astype(np.float64),
        np.stack([np.ones(len(n_P)), total_P, total_P], axis=1).astype(np.float64),
    )
    samples_3 = np.full(3, int(n_P.sum()))
    return TokenShares(cap_tokens, *bound_shares(sums, n_samples_M=samples_3, critical=critical))
