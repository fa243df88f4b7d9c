"""Two evaluations of the same problems, measure by measure: before, after, difference."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.core.errors import DataError
from tersely.metrics.budgets import BudgetHits, score_budgets
from tersely.metrics.intervals import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_ratio_difference,
)
from tersely.metrics.passk import mean_at_k, pass_at_k
from tersely.metrics.records import SampleTable, select


class Unit(StrEnum):
    """What a measure counts in: tokens, or a share from 0 to 1."""

    TOKENS = "tokens"
    SHARE = "share"


class Measure(NamedTuple):
    """One row: a quantity before and after, and the paired difference after - before."""

    name: str
    unit: Unit
    budget_tokens: int | None
    before: Interval
    after: Interval
    difference: Interval


class Comparison(NamedTuple):
    """All measures over one set of problems; the counts are for captions."""

    title: str
    measures: tuple[Measure, ...]
    token_ratio: Interval
    n_problems: int
    samples_per_problem: int
    ungraded_before: int
    ungraded_after: int


class _Pooled(NamedTuple):
    """Per-problem sums and counts whose ratio of totals is a pooled mean."""

    sum_P: Float[np.ndarray, " P"]
    count_P: Float[np.ndarray, " P"]


def pair(before: SampleTable, after: SampleTable) -> tuple[SampleTable, SampleTable]:
    """The problems both evaluations hold, in the same order.

    Raises:
        DataError: if they share no problem, or differ in samples a problem or in cap.
    """
    rows_of = {key: row for row, key in enumerate(after.keys)}
    shared = [key for key in before.keys if key in rows_of]
    if not shared:
        raise DataError("the two evaluations share no problem; evaluate both on the same set")
    if before.tokens_PS.shape[1] != after.tokens_PS.shape[1]:
        raise DataError(
            f"{before.tokens_PS.shape[1]} samples a problem before, but "
            f"{after.tokens_PS.shape[1]} after; sample both equally often"
        )
    if before.cap_tokens != after.cap_tokens:
        raise DataError(
            f"sampled at cap {before.cap_tokens} before, but {after.cap_tokens} after; "
            "sample both at the same cap"
        )
    kept = set(shared)
    rows_before = [row for row, key in enumerate(before.keys) if key in kept]
    rows_after = [rows_of[key] for key in shared]
    return (
        select(before, rows_P=np.array(rows_before)),
        select(after, rows_P=np.array(rows_after)),
    )


def compare(
    title: str,
    before: SampleTable,
    after: SampleTable,
    *,
    budgets_B: Int[np.ndarray, " B"],
    rng: np.random.Generator,
) -> Comparison:
    """Lengths, truncation, accuracy at each budget, Mean@k and Pass@k (k = samples a problem).

    Accuracies are means of per-problem means; lengths and the truncated share are pooled over
    graded samples (``sum / count``). Intervals resample problems. Both tables must hold the same
    problems in the same order (see ``pair``). A measure of an empty set is NaN.
    """
    if before.keys != after.keys:
        raise ValueError("the tables hold different problems; pair them first")
    k = before.tokens_PS.shape[1]
    hits = _score(before, budgets_B=budgets_B), _score(after, budgets_B=budgets_B)
    pooled = [_compare_pooled(*row, before=before, after=after, rng=rng) for row in _POOLED]
    return Comparison(
        title=title,
        measures=(*pooled, *_compare_budgets(*hits, rng=rng), *_compare_repeats(*hits, rng=rng)),
        token_ratio=_compare_mean_tokens(before, after, rng=rng),
        n_problems=len(before.keys),
        samples_per_problem=k,
        ungraded_before=int((~before.graded_PS).sum()),
        ungraded_after=int((~after.graded_PS).sum()),
    )


def compare_families(
    before: SampleTable,
    after: SampleTable,
    *,
    families: Sequence[str],
    budgets_B: Int[np.ndarray, " B"],
    rng: np.random.Generator,
) -> tuple[Comparison, ...]:
    """One comparison a family, in alphabetical order; ``families`` names each row's."""
    comparisons = []
    for family in sorted(set(families)):
        rows_P = np.array([row for row, name in enumerate(families) if name == family])
        comparisons.append(
            compare(
                family,
                select(before, rows_P=rows_P),
                select(after, rows_P=rows_P),
                budgets_B=budgets_B,
                rng=rng,
            )
        )
    return tuple(comparisons)


def _score(table: SampleTable, *, budgets_B: Int[np.ndarray, " B"]) -> BudgetHits:
    return score_budgets(
        table.correct_PS,
        table.finished_PS,
        table.tokens_PS,
        table.graded_PS,
        budgets_B=budgets_B,
        cap_tokens=table.cap_tokens,
    )


def _pool(values_PS: Float[np.ndarray, "P S"], among_PS: Bool[np.ndarray, "P S"]) -> _Pooled:
    return _Pooled(
        sum_P=np.where(among_PS, values_PS, 0.0).sum(axis=1),
        count_P=among_PS.sum(axis=1).astype(np.float64),
    )


def _tokens(table: SampleTable) -> _Pooled:
    return _pool(table.tokens_PS.astype(np.float64), table.graded_PS)


def _correct_tokens(table: SampleTable) -> _Pooled:
    return _pool(table.tokens_PS.astype(np.float64), table.graded_PS & table.correct_PS)


def _wrong_tokens(table: SampleTable) -> _Pooled:
    return _pool(table.tokens_PS.astype(np.float64), table.graded_PS & ~table.correct_PS)


def _truncated(table: SampleTable) -> _Pooled:
    return _pool((~table.finished_PS).astype(np.float64), table.graded_PS)


_POOLED: tuple[tuple[str, Unit, Callable[[SampleTable], _Pooled]], ...] = (
    ("mean tokens", Unit.TOKENS, _tokens),
    ("mean tokens given correct", Unit.TOKENS, _correct_tokens),
    ("mean tokens given wrong", Unit.TOKENS, _wrong_tokens),
    ("truncated share", Unit.SHARE, _truncated),
)


def _compare_pooled(
    name: str,
    unit: Unit,
    pool: Callable[[SampleTable], _Pooled],
    *,
    before: SampleTable,
    after: SampleTable,
    rng: np.random.Generator,
) -> Measure:
    pools = pool(before), pool(after)
    n_before, n_after = int(pools[0].count_P.sum()), int(pools[1].count_P.sum())
    return Measure(
        name=name,
        unit=unit,
        budget_tokens=None,
        before=bootstrap_ratio(*pools[0], n_samples=n_before, rng=rng),
        after=bootstrap_ratio(*pools[1], n_samples=n_after, rng=rng),
        difference=bootstrap_ratio_difference(
            pools[0], pools[1], n_samples=n_before + n_after, rng=rng
        ),
    )


def _compare_budgets(
    before: BudgetHits, after: BudgetHits, *, rng: np.random.Generator
) -> list[Measure]:
    n_samples = _graded(before), _graded(after)
    return [
        _compare_averaged(
            "accuracy",
            budget_tokens,
            (before.accuracy_PB[:, b], after.accuracy_PB[:, b]),
            n_samples=n_samples,
            rng=rng,
        )
        for b, budget_tokens in enumerate(before.budgets_B.tolist())
    ]


def _compare_repeats(
    before: BudgetHits, after: BudgetHits, *, rng: np.random.Generator
) -> list[Measure]:
    """Mean@k and pass@k at the largest budget, k being the samples a problem."""
    k = before.hits_PSB.shape[1]
    full = int(np.argmax(before.budgets_B))
    n_samples = _graded(before), _graded(after)
    values_P = {
        f"mean@{k}": (mean_at_k(before.hits_PSB, k=k), mean_at_k(after.hits_PSB, k=k)),
        f"pass@{k}": (pass_at_k(before.hits_PSB, k=k), pass_at_k(after.hits_PSB, k=k)),
    }
    return [
        _compare_averaged(
            name,
            int(before.budgets_B[full]),
            (before_PB[:, full], after_PB[:, full]),
            n_samples=n_samples,
            rng=rng,
        )
        for name, (before_PB, after_PB) in values_P.items()
    ]


def _compare_averaged(
    name: str,
    budget_tokens: int,
    values_P: tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]],
    *,
    n_samples: tuple[int, int],
    rng: np.random.Generator,
) -> Measure:
    return Measure(
        name=name,
        unit=Unit.SHARE,
        budget_tokens=budget_tokens,
        before=bootstrap_mean(values_P[0], n_samples=n_samples[0], rng=rng),
        after=bootstrap_mean(values_P[1], n_samples=n_samples[1], rng=rng),
        difference=bootstrap_difference(*values_P, n_samples=sum(n_samples), rng=rng),
    )


def _graded(hits: BudgetHits) -> int:
    return int((~np.isnan(hits.hits_PSB[:, :, 0])).sum())


def _compare_mean_tokens(
    before: SampleTable, after: SampleTable, *, rng: np.random.Generator
) -> Interval:
    """Mean tokens after over mean tokens before, over problems graded in both."""
    means = [
        p.sum_P / np.where(p.count_P > 0, p.count_P, np.nan) for p in map(_tokens, (before, after))
    ]
    both_P = ~np.isnan(means[0]) & ~np.isnan(means[1])
    return bootstrap_ratio(
        means[1][both_P],
        means[0][both_P],
        n_samples=int(before.graded_PS.sum() + after.graded_PS.sum()),
        rng=rng,
    )
