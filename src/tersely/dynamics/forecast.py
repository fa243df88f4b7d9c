"""What the first steps of a run will do, from rollouts that were judged as the run will judge them.

Everything is a sum over problems, so that its interval can be had over problems. N rollouts lie
flat, with the group and the problem of each; a push is what the loss makes of an advantage.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.metrics.intervals import Interval, Sums, estimate, expanded_percentiles

# A group with at most this share of pushes up is one of rare positives: 1 of 8.
RARE_SHARE = 1 / 8


class Severity(StrEnum):
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

    severity: Severity
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


class Shares(NamedTuple):
    """Shares and means with 95% intervals over problems; NaN where the set is empty.

    Args:
        positive: of rollouts, paid more than 0.
        silent: of groups, without any push.
        right: of rollouts.
        right_pushed_down: of right rollouts, with a negative push.
        tokens: mean length.
        tokens_right: of the right ones.
        tokens_wrong: of the wrong ones.
    """

    positive: Interval
    silent: Interval
    right: Interval
    right_pushed_down: Interval
    tokens: Interval
    tokens_right: Interval
    tokens_wrong: Interval


class Correlations(NamedTuple):
    """Pearson's correlation of length with reward and with push; NaN where one does not vary."""

    reward: Interval
    reward_if_right: Interval
    push: Interval
    push_if_right: Interval


class Drift(NamedTuple):
    """Where the first step pushes the mean length; see ``length_drift``.

    ``total``, ``right`` and ``wrong`` are in standard deviations of length within groups, the
    first being the sum of the others; ``tokens`` is the total in tokens.
    """

    total: Interval
    right: Interval
    wrong: Interval
    tokens: float
    sd_tokens: float


class Cell(NamedTuple):
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


class CurveRow(NamedTuple):
    """What one target length would do to first steps; NaN where that was not asked for.

    ``right_within``, ``positive`` are shares of rollouts, ``silent`` of groups,
    ``right_pushed_down`` of right rollouts; ``drift`` is as in ``length_drift``.
    """

    target_tokens: int
    cap_tokens: int
    right_within: float
    positive: float
    silent: float
    right_pushed_down: float
    drift: float


def measure_shares(p: Pushed, *, counts_RP: Float[np.ndarray, "R P"]) -> Shares:
    """See ``Shares``; ``counts_RP`` are of ``intervals.resample_counts``."""
    problems = counts_RP.shape[1]
    group_problem_K, loud_K = _groups(p)
    everything_N, down_N = np.ones(len(p.push_N), dtype=bool), p.push_N < 0
    columns: list[tuple[np.ndarray, np.ndarray, bool]] = [  # of what, among which, is a share
        (p.reward_N > 0, everything_N, True),
        (p.right_N, everything_N, True),
        (p.right_N & down_N, p.right_N, True),
        (p.tokens_N, everything_N, False),
        (p.tokens_N * p.right_N, p.right_N, False),
        (p.tokens_N * ~p.right_N, ~p.right_N, False),
    ]
    a_PM = np.stack([_by(p.problem_N, of_N, problems) for of_N, _, _ in columns], axis=1)
    b_PM = np.stack([_by(p.problem_N, among_N, problems) for _, among_N, _ in columns], axis=1)
    a_PM = np.column_stack([a_PM, _by(group_problem_K, ~loud_K, problems)])
    b_PM = np.column_stack([b_PM, _by(group_problem_K, np.ones(len(loud_K)), problems)])
    positive, right, pushed_down, tokens, tokens_right, tokens_wrong, silent = estimate(
        Sums(a_PM, b_PM),
        shares_M=np.array([*(share for _, _, share in columns), True]),
        n_samples_M=b_PM.sum(axis=0).astype(np.int64),
        counts_RP=counts_RP,
    )
    return Shares(positive, silent, right, pushed_down, tokens, tokens_right, tokens_wrong)


def correlate(p: Pushed, *, counts_RP: Float[np.ndarray, "R P"]) -> Correlations:
    """See ``Correlations``."""
    everything_N = np.ones(len(p.push_N), dtype=bool)
    return Correlations(
        *(
            _correlation(p, values_N, among_N, counts_RP)
            for values_N in (p.reward_N, p.push_N)
            for among_N in (everything_N, p.right_N)
        )
    )


def length_drift(p: Pushed, *, counts_RP: Float[np.ndarray, "R P"]) -> Drift:
    """``mean of push * (L - group's mean L)``, over the standard deviation of ``L`` in groups.

    A step of size eta on rollouts with pushes ``w`` turns the policy ``pi`` of a prompt, to first
    order and if every completion had a parameter of its own, into ``pi (1 + eta (w - mean w))``:
    its mean length moves by eta times the covariance of push and length. That is what this is,
    per unit of eta and averaged over prompts. It is the direction and strength of what is asked
    for, not how far a network follows. Pushes have size 1 where the advantage is divided by the
    group's std, so -0.5 means: half of the most that such advantages could ask for. Negative is
    shorter. The parts are the sums over right and over wrong rollouts.
    """
    gap_N = gaps(p)
    moments_PK = np.stack(
        [
            _by(p.problem_N, values_N, counts_RP.shape[1])
            for values_N in (
                p.push_N * gap_N,
                p.push_N * gap_N * p.right_N,
                p.push_N * gap_N * ~p.right_N,
                gap_N**2,
                np.ones(len(gap_N)),
            )
        ],
        axis=1,
    )

    def part(column: int) -> Interval:
        return _resampled(
            moments_PK[:, [column, 3, 4]], _scaled_mean, counts_RP, n_samples=len(gap_N)
        )

    total = moments_PK.sum(axis=0)
    return Drift(
        part(0),
        part(1),
        part(2),
        tokens=float(total[0] / total[4]),
        sd_tokens=float(np.sqrt(total[3] / total[4])),
    )


def tabulate_cells(p: Pushed) -> list[Cell]:
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
                Cell(
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


def _correlation(
    p: Pushed,
    values_N: Float[np.ndarray, " N"],
    among_N: Bool[np.ndarray, " N"],
    counts_RP: Float[np.ndarray, "R P"],
) -> Interval:
    if not among_N.any():
        return _unknown(0)
    x_N = np.where(among_N, p.tokens_N - p.tokens_N[among_N].mean(), 0.0)
    y_N = np.where(among_N, values_N - values_N[among_N].mean(), 0.0)
    if not (np.ptp(x_N[among_N]) > 0 and np.ptp(y_N[among_N]) > 0):
        return _unknown(int(among_N.sum()))
    moments_PK = np.stack(
        [
            _by(p.problem_N, column_N, counts_RP.shape[1])
            for column_N in (among_N, x_N, y_N, x_N**2, y_N**2, x_N * y_N)
        ],
        axis=1,
    )
    return _resampled(moments_PK, _pearson, counts_RP, n_samples=int(among_N.sum()))


def _pearson(sums_RK: Float[np.ndarray, "R 6"]) -> Float[np.ndarray, " R"]:
    n_R, x_R, y_R, xx_R, yy_R, xy_R = sums_RK.T
    n_R = np.where(n_R > 0, n_R, np.nan)
    spread_R = (xx_R - x_R**2 / n_R) * (yy_R - y_R**2 / n_R)
    over_R = np.sqrt(np.where(spread_R > 0, spread_R, np.nan))
    return np.asarray((xy_R - x_R * y_R / n_R) / over_R)


def _scaled_mean(sums_RK: Float[np.ndarray, "R 3"]) -> Float[np.ndarray, " R"]:
    """``mean of a / sqrt(mean of b)``."""
    a_R, b_R, n_R = sums_RK.T
    return np.asarray(a_R / np.sqrt(np.where(b_R > 0, b_R * n_R, np.nan)))


def _resampled(
    moments_PK: Float[np.ndarray, "P K"],
    statistic: Callable[[Float[np.ndarray, "R K"]], Float[np.ndarray, " R"]],
    counts_RP: Float[np.ndarray, "R P"],
    *,
    n_samples: int,
) -> Interval:
    """A function of sums over problems, with its expanded percentile interval."""
    problems = int((moments_PK != 0).any(axis=1).sum())
    value = float(statistic(moments_PK.sum(axis=0)[None])[0])
    low_M, high_M = expanded_percentiles(
        statistic(counts_RP @ moments_PK)[:, None], n_problems_M=np.array([problems])
    )
    if not np.isfinite(value):
        return _unknown(n_samples)
    return Interval(value, float(low_M[0]), float(high_M[0]), problems, n_samples)


def _unknown(n_samples: int) -> Interval:
    return Interval(np.nan, np.nan, np.nan, 0, n_samples)


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
