"""What the first steps of a run will do, from rollouts that were judged as the run will judge them.

Everything is a sum over problems, so that its interval can be had over problems. N rollouts lie
flat, with the group and the problem of each; a push is what the loss makes of an advantage.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

# A group with at most this share of pushes up is one of rare positives: 1 of 8.
RARE_SHARE = 1 / 8


class FindingSeverity(StrEnum):
    """How bad a finding is: good to know, likely to cost, or seen to ruin runs."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    """One thing that a recipe will do.

    Args:
        name: what it is about, for machines.
        title: what will happen, in one sentence.
        evidence: the numbers, with n and interval where they are means.
        reason: why it matters, and who saw it.
        setting: what to change; empty where nothing need be.
    """

    severity: FindingSeverity
    name: str
    title: str
    evidence: str
    reason: str = ""
    setting: str = ""


class Pushed(NamedTuple):
    """The graded rollouts of first steps, and how each is pushed.

    Args:
        problem_N: row of the rollout's problem, 0 to P - 1.
        group_N: number of its group; the groups of one problem differ.
        tokens_N: length, stop token included.
        right_N: right as the recipe's reward sees it.
        short_N: no longer than its target; without one, than its group's mean.
        reward_N: what it is paid.
        keep_N: the loss sees it.
        push_N: its advantage times the weight that the loss's aggregation gives it, relative to
            the mean weight of the step; 0 where it is masked.
    """

    problem_N: Int[np.ndarray, " N"]
    group_N: Int[np.ndarray, " N"]
    tokens_N: Int[np.ndarray, " N"]
    right_N: Bool[np.ndarray, " N"]
    short_N: Bool[np.ndarray, " N"]
    reward_N: Float[np.ndarray, " N"]
    keep_N: Bool[np.ndarray, " N"]
    push_N: Float[np.ndarray, " N"]


class LengthCell(NamedTuple):
    """Right or wrong and short or long: how many, and how the loss treats them.

    Args:
        share: of all rollouts.
        kept: of its own rollouts, those that the loss sees; NaN for an empty cell.
        push: its rollouts' mean push, masked ones counting 0; NaN for an empty cell.
        drift: its part of the drift, in standard deviations of length.
    """

    right: bool
    short: bool
    n: int
    share: float
    kept: float
    push: float
    drift: float


class Sources(NamedTuple):
    """Where the push comes from; NaN where nothing is pushed.

    Args:
        all_right: of all push by size, in groups where the loss sees right rollouts only.
        all_wrong: the same, wrong ones only.
        rare: of the push up, in groups with at most 1 in 8 rollouts pushed up.
        rare_groups: share of the groups with a push that are of that kind.
        strongest: the largest push up there is.
    """

    all_right: float
    all_wrong: float
    rare: float
    rare_groups: float
    strongest: float


class Estimate(NamedTuple):
    """A figure and its 95% interval over problems; NaN where it was not asked for."""

    value: float
    low: float
    high: float


class CurveRow(NamedTuple):
    """What one target length would do to first steps.

    ``right_within`` and ``positive`` are shares of rollouts, ``silent`` of groups,
    ``right_pushed_down`` of right rollouts; ``drift`` is as in ``drift_of``.
    """

    target_tokens: int
    cap_tokens: int
    right_within: Estimate
    positive: Estimate
    silent: Estimate
    right_pushed_down: Estimate
    drift: Estimate


class Ratios(NamedTuple):
    """The M figures of ``RATIOS``, each a sum over problems of ``a`` over one of ``b``."""

    a_PM: Float[np.ndarray, "P M"]
    b_PM: Float[np.ndarray, "P M"]


# What ``sum_ratios`` sums, and which of it are shares.
RATIOS = {
    "positive": True,
    "silent": True,
    "right": True,
    "right_pushed_down": True,
    "tokens": False,
    "tokens_right": False,
    "tokens_wrong": False,
}


def sum_ratios(p: Pushed, *, problems: int) -> Ratios:
    """The figures of ``RATIOS`` by problem: rollouts paid more than 0; groups without any push;
    right rollouts; right ones with a negative push, of the right ones; lengths of all, of the
    right and of the wrong ones."""
    group_problem_K, loud_K = _groups(p)
    all_N, all_K = np.ones(len(p.push_N), dtype=bool), np.ones(len(loud_K), dtype=bool)
    row_N, wrong_N = p.problem_N, ~p.right_N
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [  # row, of what, among which
        (row_N, p.reward_N > 0, all_N),
        (group_problem_K, ~loud_K, all_K),
        (row_N, p.right_N, all_N),
        (row_N, p.right_N & (p.push_N < 0), p.right_N),
        (row_N, p.tokens_N, all_N),
        (row_N, p.tokens_N * p.right_N, p.right_N),
        (row_N, p.tokens_N * wrong_N, wrong_N),
    ]
    return Ratios(
        np.stack([_by(row, of, problems) for row, of, _ in columns], axis=1),
        np.stack([_by(row, among, problems) for row, _, among in columns], axis=1),
    )


def drift_moments(
    p: Pushed, *, problems: int, among_N: Bool[np.ndarray, " N"] | None = None
) -> Float[np.ndarray, "P 3"]:
    """What ``drift_of`` is computed from, by problem; of the rollouts ``among_N`` only, or all."""
    gap_N = gaps(p)
    part_N = p.push_N * gap_N if among_N is None else p.push_N * gap_N * among_N
    columns = (part_N, gap_N**2, np.ones(len(gap_N)))
    return np.stack([_by(p.problem_N, column_N, problems) for column_N in columns], axis=1)


def drift_of(sums_RK: Float[np.ndarray, "R 3"]) -> Float[np.ndarray, " R"]:
    """``mean of push * (L - group's mean L)``, over the standard deviation of ``L`` in groups.

    A step of size eta on rollouts with pushes ``w`` turns the policy ``pi`` of a prompt, to first
    order and if every completion had a parameter of its own, into ``pi (1 + eta (w - mean w))``:
    its mean length moves by eta times the covariance of push and length. That is what this is,
    per unit of eta and averaged over prompts. It is the direction and strength of what is asked
    for, not how far a network follows. Where advantages are divided by the group's std it lies
    in [-1, 1]. Negative is shorter. NaN where no length differs from its group's.
    """
    part_R, square_R, n_R = sums_RK.T
    return np.asarray(part_R / np.sqrt(np.where(square_R > 0, square_R * n_R, np.nan)))


def correlation_moments(
    p: Pushed,
    values_N: Float[np.ndarray, " N"],
    *,
    problems: int,
    among_N: Bool[np.ndarray, " N"],
) -> Float[np.ndarray, "P 6"] | None:
    """What ``pearson`` is computed from, by problem, of length and ``values_N``; None where one of
    the two does not vary."""
    if not among_N.any() or not np.ptp(p.tokens_N[among_N]) or not np.ptp(values_N[among_N]):
        return None
    x_N = np.where(among_N, p.tokens_N - p.tokens_N[among_N].mean(), 0.0)
    y_N = np.where(among_N, values_N - values_N[among_N].mean(), 0.0)
    columns = (among_N, x_N, y_N, x_N**2, y_N**2, x_N * y_N)
    return np.stack([_by(p.problem_N, column_N, problems) for column_N in columns], axis=1)


def tabulate_cells(p: Pushed) -> list[LengthCell]:
    """The four cells: right and short, right and long, wrong and short, wrong and long."""
    gap_N = gaps(p)
    sd = float(np.sqrt((gap_N**2).mean()))
    cells = []
    for right in (True, False):
        for short in (True, False):
            in_N = (p.right_N == right) & (p.short_N == short)
            n = int(in_N.sum())
            drift = float((p.push_N * gap_N)[in_N].sum() / len(gap_N))
            cells.append(
                LengthCell(
                    right=right,
                    short=short,
                    n=n,
                    share=n / len(gap_N),
                    kept=float(p.keep_N[in_N].mean()) if n else np.nan,
                    push=float(p.push_N[in_N].mean()) if n else np.nan,
                    drift=drift / sd if sd > 0 else np.nan,
                )
            )
    return cells


def find_sources(p: Pushed) -> Sources:
    """See ``Sources``."""
    _, group_N = np.unique(p.group_N, return_inverse=True)
    groups = int(group_N.max()) + 1
    size_K, up_K, kept_K, kept_right_K, n_up_K = (
        _by(group_N, values_N, groups)
        for values_N in (
            np.abs(p.push_N),
            np.maximum(p.push_N, 0.0),
            p.keep_N,
            p.keep_N & p.right_N,
            p.push_N > 0,
        )
    )
    loud_K = size_K > 0
    rare_K = loud_K & (n_up_K <= RARE_SHARE * kept_K)
    return Sources(
        all_right=_share(size_K[kept_right_K == kept_K], size_K),
        all_wrong=_share(size_K[kept_right_K == 0], size_K),
        rare=_share(up_K[rare_K], up_K),
        rare_groups=_share(rare_K[loud_K], loud_K),
        strongest=float(p.push_N.max()) if loud_K.any() else np.nan,
    )


def gaps(p: Pushed) -> Float[np.ndarray, " N"]:
    """Each length less its group's mean length."""
    _, group_N = np.unique(p.group_N, return_inverse=True)
    groups = int(group_N.max()) + 1
    sizes_K = _by(group_N, np.ones(len(group_N)), groups)
    return np.asarray(p.tokens_N - (_by(group_N, p.tokens_N, groups) / sizes_K)[group_N])


def pearson(sums_RK: Float[np.ndarray, "R 6"]) -> Float[np.ndarray, " R"]:
    """The correlation that sums of ``correlation_moments`` give."""
    n_R, x_R, y_R, xx_R, yy_R, xy_R = sums_RK.T
    n_R = np.where(n_R > 0, n_R, np.nan)
    spread_R = (xx_R - x_R**2 / n_R) * (yy_R - y_R**2 / n_R)
    over_R = np.sqrt(np.where(spread_R > 0, spread_R, np.nan))
    return np.asarray((xy_R - x_R * y_R / n_R) / over_R)


def _groups(p: Pushed) -> tuple[Int[np.ndarray, " K"], Bool[np.ndarray, " K"]]:
    """Each group's problem, and whether anything in it is pushed."""
    _, first_K, group_N = np.unique(p.group_N, return_index=True, return_inverse=True)
    loud_K = _by(group_N, p.push_N != 0, len(first_K)) > 0
    return p.problem_N[first_K], loud_K


def _by(
    row_N: Int[np.ndarray, " N"],
    values_N: Float[np.ndarray, " N"] | Int[np.ndarray, " N"] | Bool[np.ndarray, " N"],
    rows: int,
) -> Float[np.ndarray, " P"]:
    """The sum of the values of each row."""
    return np.bincount(row_N, weights=values_N, minlength=rows)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    total = float(whole.sum())
    return float(part.sum()) / total if total > 0 else np.nan
