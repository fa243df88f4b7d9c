"""What can be served: every cap, number of votes and evaluation, with accuracy and cost."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tersely.metrics.records import SampleTable
from tersely.metrics.votes import Cast, cast

MILLION = 1e6
# Shares of the cap that are looked at: halves, and three quarters of each.
HALVINGS = 6
LEAST_ENDED = 0.1


class CostAxis(StrEnum):
    """What a question costs in."""

    TOKENS = "tokens"
    MONEY = "money"
    SECONDS = "seconds"


class Rates(NamedTuple):
    """What one evaluation's tokens cost; NaN where it is not stated.

    Args:
        price_in, price_out: of a million tokens of prompts, and of completions.
        prompt_tokens: of the mean prompt, paid once a vote.
        seconds_per_token: of one completion; votes run at the same time.
    """

    price_in: float = 0.0
    price_out: float = np.nan
    prompt_tokens: float = 0.0
    seconds_per_token: float = np.nan


def line_of(rate: Rates, axis: CostAxis) -> tuple[float, float]:
    """Cost of one vote: what it is without a token, and what each token adds."""
    if axis is CostAxis.MONEY:
        return rate.prompt_tokens * rate.price_in / MILLION, rate.price_out / MILLION
    return 0.0, rate.seconds_per_token if axis is CostAxis.SECONDS else 1.0


class ServingSetting(NamedTuple):
    """One way to serve: which evaluation, under which cap, with how many votes."""

    side: int
    cap_tokens: int
    votes: int


class ServingGrid(NamedTuple):
    """M settings over the P problems that all evaluations hold.

    Args:
        right_PM: chance of a right answer.
        cost_PM: in units of ``axis``.
        tokens_PM: completion tokens, all votes together.
        seconds_PM: NaN where no seconds a token are stated.
    """

    axis: CostAxis
    settings: tuple[ServingSetting, ...]
    right_PM: Float[np.ndarray, "P M"]
    cost_PM: Float[np.ndarray, "P M"]
    tokens_PM: Float[np.ndarray, "P M"]
    seconds_PM: Float[np.ndarray, "P M"]


class Gap(NamedTuple):
    """A figure that one evaluation cannot give."""

    side: int
    votes: int
    reason: str


class Laid(NamedTuple):
    """The grid, and what is not in it."""

    grid: ServingGrid
    gaps: tuple[Gap, ...]


def choose_caps(table: SampleTable) -> tuple[int, ...]:
    """The cap, its halves and three quarters of each: 32,768, 24,576, 16,384, 12,288, ...

    None that more than nine in ten samples would not end within, nor one that all do but the
    sampled cap itself. Where there is none, the longest sample stands in its place.
    """
    most = table.reach_tokens
    found = {most >> halving for halving in range(HALVINGS + 1)}
    found |= {3 * most >> halving for halving in range(2, HALVINGS + 2)}
    ended_N = np.sort(table.tokens_PS[table.graded_PS & table.finished_PS])
    needed = LEAST_ENDED * int(table.graded_PS.sum())
    least = int(ended_N[int(needed)]) if needed < ended_N.size else most
    longest = int(table.tokens_PS[table.graded_PS].max())
    return tuple(sorted({cap for cap in found if least <= cap < longest} | {most}))


def lay_out(
    tables: Sequence[SampleTable],
    *,
    caps: Sequence[Sequence[int]],
    votes: Sequence[int],
    rates: Sequence[Rates],
    axis: CostAxis,
) -> Laid:
    """Every setting of every evaluation, over the same problems in the same order.

    A number of votes that some problem cannot give is left out for that evaluation, and named
    with the reason. Every problem must hold a graded sample in every table.

    Args:
        caps: of each evaluation, none above its own.
    """
    settings: list[ServingSetting] = []
    gaps: dict[tuple[int, int], Gap] = {}
    rows: list[tuple[np.ndarray, ...]] = []
    for side, (table, rate) in enumerate(zip(tables, rates, strict=True)):
        timed = not np.isnan(rate.seconds_per_token)
        for cap_tokens, k, each in cast(table, caps=caps[side], votes=votes, timed=timed):
            if np.isnan(each.right_P).any():
                gaps.setdefault((side, k), Gap(side, k, _tell_gap(table, votes=k)))
            elif (side, k) not in gaps:
                settings.append(ServingSetting(side, cap_tokens, k))
                rows.append(_weigh(each, rate, votes=k, axis=axis))
    kept = [at for at, of in enumerate(settings) if (of.side, of.votes) not in gaps]
    arrays = (np.stack([rows[at][column] for at in kept]).T for column in range(4))
    grid = ServingGrid(axis, tuple(settings[at] for at in kept), *arrays)
    return Laid(grid, tuple(gaps.values()))


def _weigh(each: Cast, rate: Rates, *, votes: int, axis: CostAxis) -> tuple[np.ndarray, ...]:
    """Accuracy, cost, tokens and seconds of each problem."""
    seconds_P = rate.seconds_per_token * each.longest_P
    prompts = votes * rate.prompt_tokens * rate.price_in
    cost_P = {
        CostAxis.TOKENS: each.tokens_P,
        CostAxis.MONEY: (prompts + each.tokens_P * rate.price_out) / MILLION,
        CostAxis.SECONDS: seconds_P,
    }[axis]
    return each.right_P, cost_P, each.tokens_P, seconds_P


def _tell_gap(table: SampleTable, *, votes: int) -> str:
    fewest = int(table.graded_PS.sum(axis=1).min())
    if votes > fewest:
        return f"some problem has {fewest} graded samples, fewer than {votes}"
    return "answers of wrong samples are not known"
