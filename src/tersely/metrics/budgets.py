"""Accuracy at token budgets, from one sampling at the largest, under a named protocol."""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.core.errors import ConfigError
from tersely.metrics.means import average_defined
from tersely.metrics.records import UNKNOWN_TOKENS, UNKNOWN_TURNS, BudgetOf, SampleTable


class Protocol(StrEnum):
    """What counts as right at a budget. Figures of different protocols are never mixed."""

    FINISHED = "finished"
    ANSWERED = "answered"
    FORCED = "forced"


MEANING = {
    Protocol.FINISHED: "correct, ended by itself, tokens within the budget",
    Protocol.ANSWERED: "the first tokens up to the budget already hold the correct answer",
    Protocol.FORCED: "at the budget thinking is closed and the model answers in a few more tokens",
}


class BudgetHits(NamedTuple):
    """Hits of each sample at each budget, and their means.

    Args:
        hits_PSB: 1 where the sample is right within the budget, else 0; NaN if ungraded.
        accuracy_PB: mean over the graded samples of a problem; NaN if it has none.
        accuracy_B: mean over the problems that have a graded sample.
    """

    budgets_B: Int[np.ndarray, " B"]
    hits_PSB: Float[np.ndarray, "P S B"]
    accuracy_PB: Float[np.ndarray, "P B"]
    accuracy_B: Float[np.ndarray, " B"]


def spectrum(cap_tokens: int) -> tuple[int, ...]:
    """The budgets that are reported when none are named: 2,048 and its doublings up to the cap,
    and the cap; below a cap of 8,192 the cap and its halves, five in all. Where there is no cap,
    the longest sample stands in its place. Source of the doublings: arXiv:2602.20945, section 3
    (2k to 32k)."""
    if cap_tokens < 8192:
        return tuple(sorted({max(1, cap_tokens >> halving) for halving in range(5)}))
    doublings = {2048 << power for power in range(cap_tokens.bit_length())}
    return tuple(sorted({b for b in doublings if b <= cap_tokens} | {cap_tokens}))


def count_budgets_in(table: SampleTable, of: BudgetOf, *, name: str) -> SampleTable:
    """The table with budgets that count this; ``name`` is of the evaluation, for the error.

    Raises:
        ConfigError: some graded sample does not say it, or says what cannot be.
    """
    found = {
        BudgetOf.TOKENS: (None, 0, ""),
        BudgetOf.TURNS: (table.turns_PS, UNKNOWN_TURNS, "turns"),
        BudgetOf.MODEL_TOKENS: (table.tool_tokens_PS, UNKNOWN_TOKENS, "tool_tokens"),
    }
    values_PS, unknown, column = found[of]
    if column:
        lacks_PS = table.graded_PS & (True if values_PS is None else values_PS == unknown)
        if lacks_PS.any():
            raise ConfigError(
                f"--budget-of {of!s}: {int(lacks_PS.sum()):,} of {int(table.graded_PS.sum()):,} "
                f"graded samples of {name} do not say their {column}; map a column of the file "
                f"with --column {column}=NAME, or leave --budget-of at tokens"
            )
    counted = table._replace(budget_of=of)
    _check_counted(counted, name=name)
    return counted


def _check_counted(table: SampleTable, *, name: str) -> None:
    """ConfigError where budgets count nothing, or where a model that answered never spoke."""
    of, spent_N = table.budget_of, table.spent_PS[table.graded_PS]
    none = int((spent_N == 0).sum())
    if of is BudgetOf.TURNS and none:
        raise ConfigError(
            f"--budget-of {of!s}: {none:,} of {spent_N.size:,} graded samples of {name} say that "
            "they took 0 turns, and a sample takes 1 or more; map another column with --column "
            "turns=NAME, or leave --budget-of at tokens"
        )
    if none and none == spent_N.size:
        what, fix = "token", "give counts with --column tokens=NAME, or --tokenizer MODEL"
        if of is BudgetOf.MODEL_TOKENS:
            what, fix = "token that no tool wrote", "leave --budget-of at tokens"
        raise ConfigError(
            f"{name}: not one of its {spent_N.size:,} graded samples has a {what}, so that budgets "
            f"and lengths say nothing; {fix}"
        )


def score(
    table: SampleTable, *, budgets_B: Int[np.ndarray, " B"], protocol: Protocol
) -> BudgetHits:
    """The hits of a table at each budget under a protocol.

    For *answered* and *forced* the table's ``prefix_PSC`` must hold what was graded at each
    budget under that protocol.

    Raises:
        ConfigError: a budget is below 1, above the sampled cap, or was not graded.
    """
    if protocol is Protocol.FINISHED:
        return score_budgets(
            table.correct_PS,
            table.finished_PS,
            table.spent_PS,
            table.graded_PS,
            budgets_B=budgets_B,
            cap_tokens=None if table.budget_of is BudgetOf.TURNS else table.cap_tokens,
        )
    _check_budgets(budgets_B, cap_tokens=table.cap_tokens)
    if table.prefix_PSC is None or table.prefix_budgets_C is None:
        raise ConfigError(
            f"these records hold no prefixes graded under the protocol {protocol!s}; "
            f"evaluate with --protocol {protocol!s} or report the protocol finished"
        )
    known = table.prefix_budgets_C.tolist()
    for budget in budgets_B.tolist():
        if budget not in known:
            listed = ", ".join(map(str, known))
            raise ConfigError(
                f"prefixes were not graded at budget {budget}, but at {listed}; choose from these "
                f"or evaluate with --budgets {budget}"
            )
    columns_B = np.array([known.index(budget) for budget in budgets_B.tolist()])
    return _hits(table.prefix_PSC[:, :, columns_B], table.graded_PS, budgets_B)


def score_budgets(
    correct_PS: Bool[np.ndarray, "P S"],
    finished_PS: Bool[np.ndarray, "P S"],
    tokens_PS: Int[np.ndarray, "P S"],
    graded_PS: Bool[np.ndarray, "P S"],
    *,
    budgets_B: Int[np.ndarray, " B"],
    cap_tokens: int | None,
) -> BudgetHits:
    """*Finished*: ``hit = correct and finished and tokens <= budget``.

    A completion capped at b is the b-token prefix of one capped higher, so one sampling at the
    cap gives every budget up to it. A right answer in a completion that did not stop by itself
    is no hit at any budget. An ungraded sample is left out at every budget, also at those that
    its length alone already rules out: keeping it only there would count misses but no hits.

    Raises:
        ConfigError: if a budget is below 1 or above the sampled cap.
    """
    _check_budgets(budgets_B, cap_tokens=cap_tokens)
    right_PS = correct_PS & finished_PS
    return _hits(right_PS[:, :, None] & (tokens_PS[:, :, None] <= budgets_B), graded_PS, budgets_B)


def _hits(
    right_PSB: Bool[np.ndarray, "P S B"],
    graded_PS: Bool[np.ndarray, "P S"],
    budgets_B: Int[np.ndarray, " B"],
) -> BudgetHits:
    hits_PSB = right_PSB.astype(np.float64)
    hits_PSB[~graded_PS] = np.nan
    accuracy_PB = average_defined(hits_PSB, axis=1)
    return BudgetHits(
        budgets_B=budgets_B,
        hits_PSB=hits_PSB,
        accuracy_PB=accuracy_PB,
        accuracy_B=average_defined(accuracy_PB, axis=0),
    )


def _check_budgets(budgets_B: Int[np.ndarray, " B"], *, cap_tokens: int | None) -> None:
    for budget in budgets_B.tolist():
        if cap_tokens is not None and budget > cap_tokens:
            raise ConfigError(
                f"budget {budget} exceeds sampled cap {cap_tokens}; "
                f"resample with --cap-tokens {budget}"
            )
        if budget < 1:
            raise ConfigError(f"budget {budget} is below 1 token; give a positive budget")
