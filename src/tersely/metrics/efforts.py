"""Levels of effort over a training run, and stated budgets: what samples took of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.adherence import UNKNOWN_TEXT, Adherence, LevelSamples, judge_adherence
from tersely.metrics.intervals import Interval, Sums, estimate, resample_counts


class LevelPoint(NamedTuple):
    """One level in one evaluation: mean tokens, and accuracy at the cap, of graded samples."""

    step: int
    level: str
    tokens: Interval
    accuracy: Interval


class BudgetAdherence(NamedTuple):
    """What samples took of the budget that their prompt states: the share of them over it, and
    the mean of |tokens - budget| / budget; NaN without a sample."""

    over: Interval
    off: Interval


class MeasuredEfforts(NamedTuple):
    """Every level in every evaluation, and the levels of the last against each other."""

    points: tuple[LevelPoint, ...]
    adherence: Adherence


def measure_efforts(
    evaluations: Mapping[int, Sequence[EvalRecord]],
    *,
    levels: Sequence[str],
    target_tokens: Mapping[str, float],
    rng: np.random.Generator,
) -> MeasuredEfforts:
    """The levels of every evaluation; samples of one question at one level are one cluster.

    Args:
        evaluations: by training step, in order; their records name their levels.
        levels: from the least to the most effort.
        target_tokens: the length that a level is held to; a level without one has no entry.
    """
    points = tuple(
        _point(step, level, [r for r in records if r.effort == level], rng=rng)
        for step, records in evaluations.items()
        for level in levels
    )
    last = list(evaluations.values())[-1]
    ranked = [
        _samples(last, level, rank=rank, budget=target_tokens.get(level))
        for rank, level in enumerate(levels)
    ]
    return MeasuredEfforts(points, judge_adherence(ranked, rng=rng))


def measure_budgets(
    records: Sequence[EvalRecord], *, budgets: Mapping[str, float], rng: np.random.Generator
) -> BudgetAdherence:
    """How samples keep to a budget of their problem's own.

    Args:
        budgets: in tokens, by the problem's id.
    """
    made = [r for r in records if r.finish is not Finish.ERROR and r.problem in budgets]
    held_N = np.array([budgets[r.problem] for r in made])
    tokens_N = np.array([float(r.tokens) for r in made])
    problems = [r.problem for r in made]
    over_N = (tokens_N > held_N).astype(np.float64)
    off_N = np.abs(tokens_N - held_N) / held_N
    return BudgetAdherence(
        _mean(problems, over_N, share=True, rng=rng), _mean(problems, off_N, share=False, rng=rng)
    )


def _point(
    step: int, level: str, records: Sequence[EvalRecord], *, rng: np.random.Generator
) -> LevelPoint:
    graded = [r for r in records if r.grade is not Grade.UNGRADED and r.finish is not Finish.ERROR]
    problems = [r.problem for r in graded]
    tokens_N = np.array([float(r.tokens) for r in graded])
    right_N = np.array(
        [float(r.grade is Grade.CORRECT and r.finish is not Finish.LENGTH) for r in graded]
    )
    return LevelPoint(
        step,
        level,
        _mean(problems, tokens_N, share=False, rng=rng),
        _mean(problems, right_N, share=True, rng=rng),
    )


def _mean(
    problems: Sequence[str],
    value_N: Float[np.ndarray, " N"],
    *,
    share: bool,
    rng: np.random.Generator,
) -> Interval:
    """A mean over samples, resampled by problem."""
    names, row_N = np.unique(np.array(problems, dtype=object), return_inverse=True)
    if not len(names):
        return Interval(np.nan, np.nan, np.nan, 0, 0)
    sums_P = np.bincount(row_N, weights=value_N, minlength=len(names))
    counts_P = np.bincount(row_N, minlength=len(names)).astype(np.float64)
    return estimate(
        Sums(sums_P[:, None], counts_P[:, None]),
        shares_M=np.array([share]),
        n_samples_M=np.array([len(value_N)]),
        counts_RP=resample_counts(len(names), rng=rng),
    )[0]


def _samples(
    records: Sequence[EvalRecord], level: str, *, rank: int, budget: float | None
) -> LevelSamples:
    """A level's samples; its rows are the questions, in one order for all levels."""
    base = sorted({_question(r) for r in records if r.effort is not None})
    size = 1 + max((r.sample for r in records), default=0)
    row_of = {name: row for row, name in enumerate(base)}
    tokens_PS = np.full((len(base), size), np.nan)
    cut_PS = np.zeros((len(base), size), dtype=np.bool_)
    text_PS = np.full((len(base), size), UNKNOWN_TEXT, dtype=np.int64)
    for record in records:
        if record.effort == level and record.finish is not Finish.ERROR:
            place = row_of[_question(record)], record.sample
            tokens_PS[place] = record.tokens
            cut_PS[place] = record.finish is Finish.LENGTH
    # A target is of all tokens, the answer's included.
    thinking_PS = np.full_like(tokens_PS, np.nan)
    held = None if budget is None else round(budget)
    return LevelSamples(level, tokens_PS, thinking_PS, cut_PS, text_PS, held, rank)


def _question(record: EvalRecord) -> str:
    """The problem's id without the level."""
    return record.problem.removesuffix(f" {record.effort}")
