"""Two evaluations of the same problems, measure by measure: before, after, paired difference."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from tersely.core.order import natural
from tersely.metrics.budgets import Protocol
from tersely.metrics.chance import ByChance, resample
from tersely.metrics.efficiency import aes, reg_gap
from tersely.metrics.endings import POOLED
from tersely.metrics.intervals import (
    RESAMPLES,
    Interval,
    Sums,
    averages,
    draw,
    estimate,
    estimate_differences,
    evaluate,
    expanded_percentiles,
    resample_counts,
)
from tersely.metrics.lengths import average_tokens
from tersely.metrics.measures import AT_CAP, Quantity, Sheet, Unit, ock_column, shares, tally
from tersely.metrics.records import BudgetOf, SampleTable, select
from tersely.metrics.sharing import share
from tersely.metrics.significance import Swaps
from tersely.metrics.windows import ShortCut, Window, find_short_cuts, find_window

Compose = Callable[[Sequence[Float[np.ndarray, "R M"]]], list[Float[np.ndarray, " R"]]]
UNDEFINED = Interval(np.nan, np.nan, np.nan, 0, 0)


class Measure(NamedTuple):
    """One row: a quantity before and after, and the paired difference after - before.

    ``p_value`` is of the hypothesis that the two runs are the same, by permutation.
    """

    name: str
    unit: Unit
    budget_tokens: int | None
    before: Interval
    after: Interval
    difference: Interval
    p_value: float = np.nan


class Pairing(NamedTuple):
    """Both tables over the problems that they share, at one cap, and what that left out."""

    before: SampleTable
    after: SampleTable
    notes: tuple[str, ...]


class Comparison(NamedTuple):
    """All measures over one set of problems; the counts are for captions."""

    title: str
    protocol: Protocol
    budgets: tuple[int, ...]
    measures: tuple[Measure, ...]
    token_ratio: Interval
    aes: Interval
    n_problems: int
    samples_before: int
    samples_after: int
    cap_tokens: int | None
    ungraded_before: int
    ungraded_after: int
    notes: tuple[str, ...] = ()
    sources: "tuple[Comparison, ...]" = ()
    token_ratio_p: float = np.nan
    aes_p: float = np.nan
    windows: tuple[Window | None, Window | None] = (None, None)
    short_cuts: tuple[ShortCut | None, ShortCut | None] = (None, None)
    budget_of: BudgetOf = BudgetOf.TOKENS

    def find(self, name: str, budget_tokens: int | None = None) -> Measure:
        """The row of that name; KeyError if there is none."""
        for row in self.measures:
            if (row.name, row.budget_tokens) == (name, budget_tokens):
                return row
        raise KeyError((name, budget_tokens))


def pair(before: SampleTable, after: SampleTable) -> Pairing:
    """The problems both evaluations hold, in the same order, cut at the lower of their caps.

    An evaluation without a cap is cut at the other's, which is exact; two without are not cut.

    Raises:
        DataError: if they share no problem.
    """
    left, right = share((before, after))
    notes = []
    only = len(before.keys) - len(left.keys), len(after.keys) - len(left.keys)
    if any(only):
        notes.append(
            f"Problems in one evaluation only, left out: {only[0]} before, {only[1]} after."
        )
    if before.cap_tokens != after.cap_tokens:
        notes.append(
            f"Sampled at different caps, {_tell_cap(before)} before and {_tell_cap(after)} "
            f"after: the longer one is cut at {left.cap_tokens:,} tokens."
        )
    tries = before.tokens_PS.shape[1], after.tokens_PS.shape[1]
    if tries[0] != tries[1]:
        notes.append(
            f"Samples a problem: {tries[0]} before, {tries[1]} after; only k up to {min(tries)} "
            "is compared."
        )
    return Pairing(left, right, tuple(notes))


def compare(
    title: str,
    before: SampleTable,
    after: SampleTable,
    *,
    budgets: Sequence[int],
    ks: Sequence[int] | None = None,
    protocol: Protocol = Protocol.FINISHED,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Every measure of both, and its paired difference; intervals resample problems.

    Both tables must hold the same problems in the same order and one cap (see ``pair``). A
    measure that is a mean over problems uses those where it is defined in both runs; pooled ones
    are ratios of totals. ``ks`` None: 1 and the samples a problem. Undefined is NaN.
    """
    if before.keys != after.keys:
        raise ValueError("the tables hold different problems; pair them first")
    fewest = min(before.tokens_PS.shape[1], after.tokens_PS.shape[1])
    wanted = sorted({fewest} if ks is None else set(ks))
    align = partial(_aligned, budgets=budgets, ks=wanted, protocol=protocol)
    left, right = align(before, after)
    counts_RP = resample_counts(len(before.keys), rng=rng, resamples=resamples)
    pooled_M = ~np.array([_is_averaged(q) for q in left.quantities])
    both = partial(_picked, align, left.quantities)
    chance = resample(before, after, both, pooled_M=pooled_M, rng=rng)
    measures = _rows(left, right, counts_RP, chance=chance)
    ordered = sorted(set(budgets))
    gaps = _composite_rows(
        left, right, counts_RP, chance=chance, budgets=ordered, protocol=protocol
    )
    ratio, ratio_p = _token_ratio(left, right, counts_RP, tables=(before, after), rng=rng)
    scalar, scalar_p = UNDEFINED, np.nan
    if protocol is Protocol.FINISHED:
        scalar, scalar_p = _aes(left, right, counts_RP, chance=chance)
    return Comparison(
        title=title,
        protocol=protocol,
        budgets=tuple(ordered),
        measures=(*measures, *gaps),
        token_ratio=ratio,
        token_ratio_p=ratio_p,
        aes=scalar,
        aes_p=scalar_p,
        n_problems=int((before.graded_PS.any(axis=1) & after.graded_PS.any(axis=1)).sum()),
        samples_before=before.tokens_PS.shape[1],
        samples_after=after.tokens_PS.shape[1],
        cap_tokens=before.cap_tokens,
        ungraded_before=before.ungraded,
        ungraded_after=after.ungraded,
        windows=(find_window(before), find_window(after)),
        short_cuts=(find_short_cuts(before), find_short_cuts(after)),
        budget_of=before.budget_of,
    )


def _aligned(
    before: SampleTable,
    after: SampleTable,
    *,
    budgets: Sequence[int],
    ks: Sequence[int],
    protocol: Protocol,
) -> tuple[Sheet, Sheet]:
    """The tallies of both, row by row of the same measures."""
    one, other = (
        tally(table, budgets=budgets, ks=ks, protocol=protocol) for table in (before, after)
    )
    return _align(one, other)


def _picked(
    align: Callable[[SampleTable, SampleTable], tuple[Sheet, Sheet]],
    quantities: Sequence[Quantity],
    before: SampleTable,
    after: SampleTable,
) -> tuple[Sums, Sums]:
    """The sums of both for those measures."""
    return _pick(align(before, after), quantities)


def compare_families(
    before: SampleTable,
    after: SampleTable,
    *,
    families: Sequence[str],
    budgets: Sequence[int],
    ks: Sequence[int] | None = None,
    protocol: Protocol = Protocol.FINISHED,
    rng: np.random.Generator,
) -> tuple[Comparison, ...]:
    """One comparison a family, in alphabetical order; ``families`` names each row's."""
    comparisons = []
    for family in sorted(set(families), key=natural):
        rows_P = np.array([row for row, name in enumerate(families) if name == family])
        sides = [select(table, rows_P=rows_P) for table in (before, after)]
        comparisons.append(
            compare(family, *sides, budgets=budgets, ks=ks, protocol=protocol, rng=rng)
        )
    return tuple(comparisons)


def _tell_cap(table: SampleTable) -> str:
    return "none" if table.cap_tokens is None else f"{table.cap_tokens:,}"


def _align(before: Sheet, after: Sheet) -> tuple[Sheet, Sheet]:
    """The quantities both have, over the problems with graded samples in both.

    Means over problems use those problems only where they are defined in both.
    """
    names = [q for q in before.quantities if q in after.quantities]
    picked = []
    for sheet in (before, after):
        columns = [sheet.quantities.index(q) for q in names]
        sums = Sums(sheet.sums.a_PM[:, columns], sheet.sums.b_PM[:, columns])
        picked.append(Sheet(tuple(names), sums, sheet.n_PM[:, columns]))
    averaged_M = np.array([_is_averaged(q) for q in names])
    both_PM = (picked[0].sums.b_PM > 0) & (picked[1].sums.b_PM > 0)
    # A problem without a graded sample on one side says nothing of their lengths either.
    graded_P1 = both_PM[:, [names.index(Quantity("mean tokens", Unit.TOKENS))]]
    keep_PM = np.where(averaged_M, both_PM, graded_P1)
    return tuple(  # type: ignore[return-value]
        Sheet(
            sheet.quantities,
            Sums(sheet.sums.a_PM * keep_PM, sheet.sums.b_PM * keep_PM),
            sheet.n_PM * keep_PM,
        )
        for sheet in picked
    )


def _pick(sheets: tuple[Sheet, Sheet], wanted: Sequence[Quantity]) -> tuple[Sums, Sums]:
    """The sums of these quantities; one that the sheets lack is undefined."""
    columns = [sheets[0].quantities.index(q) if q in sheets[0].quantities else -1 for q in wanted]
    there_M = np.array(columns) >= 0
    one, other = (
        Sums(s.sums.a_PM[:, columns] * there_M, s.sums.b_PM[:, columns] * there_M) for s in sheets
    )
    return one, other


def _is_averaged(quantity: Quantity) -> bool:
    return quantity.unit is Unit.SHARE and quantity.name not in POOLED


def _rows(
    before: Sheet, after: Sheet, counts_RP: UInt8[np.ndarray, "R P"], *, chance: ByChance
) -> list[Measure]:
    shares_M = shares(before.quantities)
    levels = [
        estimate(sheet.sums, shares_M=shares_M, n_samples_M=sheet.n_samples_M, counts_RP=counts_RP)
        for sheet in (before, after)
    ]
    differences = estimate_differences(
        before.sums,
        after.sums,
        shares_M=shares_M,
        n_samples_M=before.n_samples_M + after.n_samples_M,
        counts_RP=counts_RP,
    )
    seen_M = evaluate(after.sums) - evaluate(before.sums)
    p_M = chance.p_values(seen_M)
    rows = zip(before.quantities, *levels, chance.widen(differences), p_M.tolist(), strict=True)
    return [Measure(q.name, q.unit, q.budget_tokens, b, a, d, p) for q, b, a, d, p in rows]


def _composite_rows(
    before: Sheet,
    after: Sheet,
    counts_RP: UInt8[np.ndarray, "R P"],
    *,
    chance: ByChance,
    budgets: Sequence[int],
    protocol: Protocol,
) -> list[Measure]:
    """The gap of each curve to the better of the two at each budget, and OckScore."""
    drawn = [np.vstack([evaluate(s.sums), draw(counts_RP, s.sums)]) for s in (before, after)]
    columns = [before.column("accuracy", b) for b in budgets]
    budgets_B: Int[np.ndarray, " B"] = np.array(budgets)

    def gaps(values: Sequence[Float[np.ndarray, "R M"]]) -> list[Float[np.ndarray, " R"]]:
        curves = [value[:, columns] for value in values]
        return [reg_gap(c, np.maximum(*curves), budgets_B=budgets_B) for c in curves]

    def ocks(values: Sequence[Float[np.ndarray, "R M"]]) -> list[Float[np.ndarray, " R"]]:
        return [ock_column(value, before) for value in values]

    composed = [("REG gap to the better curve", Unit.SHARE, gaps)]
    if protocol is Protocol.FINISHED:
        composed.append(("OckScore", Unit.POINTS, ocks))
    rows = []
    for name, unit, compose in composed:
        b, a = compose(drawn)

        def moved(swaps: Swaps, compose: Compose = compose) -> Float[np.ndarray, "R 1"]:
            return np.subtract(*reversed(compose(swaps)))[:, None]

        p = chance.p_values(np.array([a[0] - b[0]]), moved)
        moves = chance.widen([_of(a - b, before, after)], moved)[0]
        rows.append(Measure(name, unit, None, _of(b, before), _of(a, after), moves, float(p[0])))
    return rows


def _token_ratio(
    before: Sheet,
    after: Sheet,
    counts_RP: UInt8[np.ndarray, "R P"],
    *,
    tables: tuple[SampleTable, SampleTable],
    rng: np.random.Generator,
) -> tuple[Interval, float]:
    """Mean tokens after over mean tokens before, each problem weighing the same; and its p."""
    under, both = _token_means(*tables)
    chance = resample(*tables, _token_means, pooled_M=np.array([False]), rng=rng)
    p = chance.p_values(evaluate(both) - evaluate(under))
    ratio = estimate(
        Sums(both.a_PM, under.a_PM),
        shares_M=np.array([False]),
        n_samples_M=before.n_samples_M[:1] + after.n_samples_M[:1],
        counts_RP=counts_RP,
    )
    return ratio[0], float(p[0])


def _aes(
    before: Sheet, after: Sheet, counts_RP: UInt8[np.ndarray, "R P"], *, chance: ByChance
) -> tuple[Interval, float]:
    """AES with weights 1, 3, 5 at the cap, from mean tokens and accuracy; and its p."""
    columns = [before.column(AT_CAP), before.column("mean tokens")]

    def score_all(sides: Sequence[Float[np.ndarray, "R M"]]) -> Float[np.ndarray, " R"]:
        b, a = (side[:, columns] for side in sides)
        return aes(b[:, 0], a[:, 0], b[:, 1], a[:, 1])

    def moved(swaps: Swaps) -> Float[np.ndarray, "R 1"]:
        return score_all(swaps)[:, None]

    drawn = [np.vstack([evaluate(s.sums), draw(counts_RP, s.sums)]) for s in (before, after)]
    scalar = _of(score_all(drawn), before, after)
    p = chance.p_values(np.array([scalar.estimate]), moved)
    return chance.widen([scalar], moved)[0], float(p[0])


def _token_means(before: SampleTable, after: SampleTable) -> tuple[Sums, Sums]:
    """Mean tokens of each problem that has graded samples on both sides."""
    means_P = [average_tokens(table) for table in (before, after)]
    unknown_P = np.isnan(means_P[0] + means_P[1])
    one, other = (averages(np.where(unknown_P, np.nan, mean_P)[:, None]) for mean_P in means_P)
    return one, other


def _of(values_R: Float[np.ndarray, " R"], *sheets: Sheet) -> Interval:
    """An interval from the estimate, in front, and its draws; over the samples of the sheets."""
    column = sheets[0].column("mean tokens")
    n_problems = int((sheets[0].sums.b_PM[:, column] > 0).sum())
    n_samples = int(sum(sheet.n_samples_M[column] for sheet in sheets))
    low_1, high_1 = expanded_percentiles(values_R[1:, None], n_problems_M=np.array([n_problems]))
    return Interval(float(values_R[0]), float(low_1[0]), float(high_1[0]), n_problems, n_samples)
