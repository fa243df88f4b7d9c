"""Every figure of one evaluation, as sums over problems that intervals can be made from."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from tersely.core.errors import ConfigError
from tersely.core.order import natural
from tersely.metrics.budgets import BudgetHits, Protocol, score
from tersely.metrics.efficiency import (
    area_over_log_budget,
    auc_oaa,
    ock_score,
    outcome_efficiency,
)
from tersely.metrics.endings import share_endings
from tersely.metrics.failures import FailedSamples
from tersely.metrics.intervals import (
    RESAMPLES,
    Interval,
    Sums,
    averages,
    draw,
    estimate,
    evaluate,
    expanded_percentiles,
    resample_counts,
)
from tersely.metrics.lengths import SETS, Among, LengthSummary, lengths_of, summarise_lengths
from tersely.metrics.passk import count_tries, g_pass_at_k, mean_at_k, pass_at_k, pass_hat_k
from tersely.metrics.records import BudgetOf, SampleTable, select
from tersely.metrics.significance import minimum_detectable, resampling_error
from tersely.metrics.votes import Box, gather_votes, majority_at_k
from tersely.metrics.windows import ShortCut, Window, find_short_cuts, find_window

G_PASS_THRESHOLD = 0.5
AT_CAP = "accuracy at the cap"


class Unit(StrEnum):
    """What a figure counts in: tokens, a share from 0 to 1, correct answers, or points."""

    TOKENS = "tokens"
    SHARE = "share"
    POINTS = "points"
    PER_1000 = "per 1,000 tokens"


class Quantity(NamedTuple):
    """What is measured; ``budget_tokens`` None means at the sampled cap, not within a budget."""

    name: str
    unit: Unit
    budget_tokens: int | None = None


class Sheet(NamedTuple):
    """M quantities over P problems; each is ``sums.a / sums.b`` summed over problems.

    ``n_PM`` counts the samples of a problem that a quantity rests on.
    """

    quantities: tuple[Quantity, ...]
    sums: Sums
    n_PM: Int[np.ndarray, "P M"]

    @property
    def n_samples_M(self) -> Int[np.ndarray, " M"]:
        """Samples of the problems that enter each quantity."""
        enters_PM = (self.sums.a_PM != 0) | (self.sums.b_PM > 0)
        return np.asarray(np.where(enters_PM, self.n_PM, 0).sum(axis=0))

    def column(self, name: str, budget_tokens: int | None = None) -> int:
        """Where that quantity stands."""
        keys = [(q.name, q.budget_tokens) for q in self.quantities]
        return keys.index((name, budget_tokens))


class Measured(NamedTuple):
    """One quantity and its value."""

    quantity: Quantity
    value: Interval


class Evaluation(NamedTuple):
    """All figures of one evaluation under one protocol.

    ``detectable`` is the smallest difference of accuracy, at the largest budget, that a second
    evaluation of this size could find in 8 tries of 10, were sampling noise all there is; NaN
    where no noise is seen.
    ``sources`` are the same figures of each source of problems, where there are several.
    ``failed`` are samples that could not be made; ``ungraded`` counts them too.
    ``window`` are samples that look cut, ``short_cut`` those cut by a lower cap of their own.
    """

    title: str
    protocol: Protocol
    budgets: tuple[int, ...]
    ks: tuple[int, ...]
    measured: tuple[Measured, ...]
    lengths: tuple[LengthSummary, ...]
    n_problems: int
    samples_per_problem: int
    cap_tokens: int | None
    ungraded: int
    missing: int
    detectable: float = np.nan
    sources: "tuple[Evaluation, ...]" = ()
    window: Window | None = None
    short_cut: ShortCut | None = None
    ends_known: bool = True
    failed: FailedSamples | None = None
    budget_of: BudgetOf = BudgetOf.TOKENS

    def value(self, name: str, budget_tokens: int | None = None) -> Interval:
        """The value of a quantity; KeyError if it was not measured."""
        for quantity, interval in self.measured:
            if (quantity.name, quantity.budget_tokens) == (name, budget_tokens):
                return interval
        raise KeyError((name, budget_tokens))


def measure(
    table: SampleTable,
    *,
    title: str,
    budgets: Sequence[int],
    ks: Sequence[int],
    protocol: Protocol = Protocol.FINISHED,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """All figures of a table, each with its interval.

    Raises:
        ConfigError: a budget is above the cap, or a k above the samples of every problem.
    """
    sheet = tally(table, budgets=budgets, ks=ks, protocol=protocol)
    counts_RP = resample_counts(len(table.keys), rng=rng, resamples=resamples)
    values = estimate(
        sheet.sums,
        shares_M=shares(sheet.quantities),
        n_samples_M=sheet.n_samples_M,
        counts_RP=counts_RP,
    )
    measured = [Measured(q, value) for q, value in zip(sheet.quantities, values, strict=True)]
    if protocol is Protocol.FINISHED:
        measured.append(_ock(sheet, counts_RP))
    return Evaluation(
        title=title,
        protocol=protocol,
        budgets=tuple(sorted(set(budgets))),
        ks=tuple(sorted(set(ks))),
        measured=tuple(measured),
        lengths=tuple(summarise_lengths(table, among) for among in SETS),
        n_problems=table.graded_problems,
        samples_per_problem=table.tokens_PS.shape[1],
        cap_tokens=table.cap_tokens,
        ungraded=table.ungraded,
        missing=table.missing,
        detectable=_detectable(table, max(budgets), protocol),
        window=find_window(table),
        short_cut=find_short_cuts(table),
        ends_known=table.ends_known,
        budget_of=table.budget_of,
    )


def measure_sources(
    table: SampleTable,
    *,
    budgets: Sequence[int],
    ks: Sequence[int],
    protocol: Protocol = Protocol.FINISHED,
    rng: np.random.Generator,
) -> tuple[Evaluation, ...]:
    """All figures of each source by itself, in alphabetical order; none if there is but one."""
    names = [key[0] for key in table.keys]
    if len(set(names)) < 2:
        return ()
    return tuple(
        measure(
            select(table, rows_P=np.flatnonzero([name == source for name in names])),
            title=source,
            budgets=budgets,
            ks=ks,
            protocol=protocol,
            rng=rng,
        )
        for source in sorted(set(names), key=natural)
    )


def tally(
    table: SampleTable,
    *,
    budgets: Sequence[int],
    ks: Sequence[int],
    protocol: Protocol = Protocol.FINISHED,
) -> Sheet:
    """The sums of every quantity: lengths and shares, accuracy and repeats by budget, scores.

    Accuracies are means of per-problem means; lengths and shares of samples are pooled over
    graded samples. A share of samples of which the file does not say it is NaN.
    """
    check_ks(ks, samples=table.tokens_PS.shape[1])
    budgets_B = np.array(sorted(set(budgets)), dtype=np.int64)
    hits = score(table, budgets_B=budgets_B, protocol=protocol)
    blocks = [
        _lengths(table),
        _by_budget(table, hits, ks=sorted(set(ks)), protocol=protocol),
        _scores(table, hits, protocol=protocol),
    ]
    return _join(blocks)


def _join(blocks: Sequence[Sheet]) -> Sheet:
    return Sheet(
        quantities=tuple(q for block in blocks for q in block.quantities),
        sums=Sums(
            np.concatenate([block.sums.a_PM for block in blocks], axis=1),
            np.concatenate([block.sums.b_PM for block in blocks], axis=1),
        ),
        n_PM=np.concatenate([block.n_PM for block in blocks], axis=1),
    )


def shares(quantities: Sequence[Quantity]) -> Bool[np.ndarray, " M"]:
    """Which quantities are shares."""
    return np.array([q.unit is Unit.SHARE for q in quantities], dtype=bool)


def check_ks(ks: Sequence[int], *, samples: int) -> None:
    """Refuses a k that no problem has samples enough for."""
    for k in ks:
        if k < 1:
            raise ConfigError(f"k = {k} is below 1; give a --k of at least 1")
        if k > samples:
            raise ConfigError(
                f"k = {k} is outside 1 to {samples}, the samples a problem; give a smaller --k or "
                f"resample with --samples {k}"
            )


def _lengths(table: SampleTable) -> Sheet:
    pooled: list[tuple[Quantity, np.ndarray, np.ndarray]] = []
    for among in SETS:
        known = table.ends_known or among is not Among.TRUNCATED
        found = lengths_of(table, among)
        quantity = Quantity(found.mean_name, Unit.TOKENS)
        pooled.append((quantity, found.tokens_PS, found.among_PS & known))
    pooled += [(Quantity(share[0], Unit.SHARE), *share[1:]) for share in share_endings(table)]
    return Sheet(
        tuple(quantity for quantity, _, _ in pooled),
        Sums(
            np.stack([np.where(among, v, 0.0).sum(axis=1) for _, v, among in pooled], axis=1),
            np.stack([among.sum(axis=1).astype(np.float64) for _, _, among in pooled], axis=1),
        ),
        np.stack([among.sum(axis=1) for _, _, among in pooled], axis=1),
    )


def _by_budget(
    table: SampleTable,
    hits: BudgetHits,
    *,
    ks: Sequence[int],
    protocol: Protocol,
) -> Sheet:
    """Accuracy, and what k tries give, at each budget."""
    most, tries = hits.hits_PSB.shape[1], count_tries(hits.hits_PSB)
    values: list[tuple[str, Float[np.ndarray, "P B"]]] = [
        ("accuracy", hits.accuracy_PB),
        (f"mean@{most}", mean_at_k(tries, k=most)),
    ]
    values += [(f"pass@{k}", pass_at_k(tries, k=k)) for k in ks]
    box = _votes(table, hits, protocol=protocol)
    for k in ks if most > 1 else ():
        if k == 1:
            continue
        values.append((f"pass^{k}", pass_hat_k(tries, k=k)))
        name = f"g-pass@{k} ({G_PASS_THRESHOLD:g})"
        values.append((name, g_pass_at_k(tries, k=k, threshold=G_PASS_THRESHOLD)))
        if box is not None:
            value_PB = majority_at_k(box, k=k)
            # A mean over the problems whose votes happen to be known would mislead: these are
            # the ones that all samples solve.
            whole_B = (np.isnan(value_PB) == np.isnan(values[-1][1])).all(axis=0)
            values.append((f"majority@{k}", np.where(whole_B, value_PB, np.nan)))
    value_PM = np.concatenate([value_PB for _, value_PB in values], axis=1)
    return Sheet(
        tuple(
            Quantity(name, Unit.SHARE, budget)
            for name, _ in values
            for budget in hits.budgets_B.tolist()
        ),
        averages(value_PM),
        _each(table, value_PM.shape[1]),
    )


def _votes(table: SampleTable, hits: BudgetHits, *, protocol: Protocol) -> Box | None:
    """The answers that stand within each budget; None where they are not known."""
    if table.answer_PS is None or protocol is not Protocol.FINISHED:
        return None
    in_time_PSB = table.finished_PS[:, :, None] & (table.spent_PS[:, :, None] <= hits.budgets_B)
    return gather_votes(table.answer_PS, table.graded_PS, in_time_PSB)


def _scores(table: SampleTable, hits: BudgetHits, *, protocol: Protocol) -> Sheet:
    """Scores that weigh answers against tokens.

    All but the area count what finished samples took, so they belong to that protocol alone.
    """
    area_P = area_over_log_budget(hits.accuracy_PB, budgets_B=hits.budgets_B)
    area = Sheet(
        (Quantity("area over log budget", Unit.SHARE),),
        averages(area_P[:, None]),
        _each(table, 1),
    )
    if protocol is not Protocol.FINISHED:
        return area
    right_PS = table.right_PS
    at_cap = score(table, budgets_B=np.array([table.reach]), protocol=protocol)
    in_tokens = table.budget_of is BudgetOf.TOKENS
    most_tokens = table.cap_tokens or (int(hits.budgets_B[-1]) if in_tokens else table.reach_tokens)
    averaged = {
        AT_CAP: at_cap.accuracy_PB[:, 0],
        "AUC-OAA": auc_oaa(right_PS, table.tokens_PS, table.graded_PS, cap_tokens=most_tokens),
    }
    if table.answer_tokens_PS is not None:
        value_P = outcome_efficiency(
            right_PS, table.tokens_PS, table.answer_tokens_PS, table.graded_PS
        )
        # As with votes: known for all problems or not shown.
        if not np.isnan(value_P[table.graded_PS.any(axis=1)]).any():
            averaged["outcome efficiency"] = value_P
    others = Sheet(
        tuple(Quantity(name, Unit.SHARE) for name in averaged),
        averages(np.stack(list(averaged.values()), axis=1)),
        _each(table, len(averaged)),
    )
    return _join([_per_token(table, right_PS), area, others])


def _each(table: SampleTable, columns: int) -> Int[np.ndarray, "P M"]:
    """The graded samples of each problem, for that many quantities."""
    return np.repeat(table.graded_PS.sum(axis=1)[:, None], columns, axis=1)


def _per_token(table: SampleTable, right_PS: Bool[np.ndarray, "P S"]) -> Sheet:
    tokens_P = np.where(table.graded_PS, table.tokens_PS, 0).sum(axis=1).astype(np.float64)
    right_P = right_PS.sum(axis=1).astype(np.float64)
    graded_P = np.maximum(table.graded_PS.sum(axis=1), 1)
    return Sheet(
        (
            Quantity("tokens per correct answer", Unit.TOKENS),
            Quantity("accuracy per 1,000 tokens", Unit.PER_1000),
        ),
        Sums(
            np.stack([tokens_P, right_P / graded_P], axis=1),
            np.stack([right_P, tokens_P / graded_P / 1000.0], axis=1),
        ),
        _each(table, 2),
    )


def ock_column(values_RM: Float[np.ndarray, "R M"], sheet: Sheet) -> Float[np.ndarray, " R"]:
    """OckScore at the sampled cap from a sheet's statistics."""
    accuracy_R = values_RM[:, sheet.column(AT_CAP)]
    return np.asarray(ock_score(accuracy_R, values_RM[:, sheet.column("mean tokens")]))


def _detectable(table: SampleTable, budget_tokens: int, protocol: Protocol) -> float:
    hits = score(table, budgets_B=np.array([budget_tokens]), protocol=protocol)
    error = resampling_error(hits.hits_PSB[:, :, 0])
    least = minimum_detectable(error, n_problems=table.graded_problems)
    # Samples that are all alike show no noise.
    return least if least > 0 else np.nan


def _ock(sheet: Sheet, counts_RP: UInt8[np.ndarray, "R P"]) -> Measured:
    n_problems = int((sheet.sums.b_PM[:, sheet.column("mean tokens")] > 0).sum())
    needed = [sheet.column(AT_CAP), sheet.column("mean tokens")]
    sums = Sums(sheet.sums.a_PM[:, needed], sheet.sums.b_PM[:, needed])
    draws_R1 = ock_score(*draw(counts_RP, sums).T)[:, None]
    low_1, high_1 = expanded_percentiles(draws_R1, n_problems_M=np.array([n_problems]))
    value = float(ock_score(*evaluate(sums)[:, None])[0])
    n_samples = int(sheet.n_samples_M[sheet.column("mean tokens")])
    return Measured(
        Quantity("OckScore", Unit.POINTS),
        Interval(value, float(low_1[0]), float(high_1[0]), n_problems, n_samples),
    )
