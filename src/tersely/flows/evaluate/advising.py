"""What to serve: which cap, how many votes, which evaluation, from samples already there."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tersely.core.errors import ConfigError, DataError
from tersely.flows.evaluate.measuring import BOOTSTRAP_SEED
from tersely.flows.evaluate.none_right import tell_none_right, tell_right_but_cut
from tersely.flows.evaluate.pairing import PairBy, align
from tersely.metrics.between import RoutedBetween, route_between
from tersely.metrics.choosing import (
    FrontierPlace,
    TargetAdvice,
    judge_frontier,
    make_chooser,
    reach,
)
from tersely.metrics.failures import tell_failed
from tersely.metrics.intervals import Interval
from tersely.metrics.needed import AccuracyCurve, NeededTokens, find_needed, trace_curve
from tersely.metrics.numbers import count
from tersely.metrics.records import SampleTable, select
from tersely.metrics.routing import Routed, route
from tersely.metrics.serving import (
    CostAxis,
    Gap,
    Rates,
    ServingGrid,
    ServingSetting,
    choose_caps,
    lay_out,
    line_of,
)
from tersely.metrics.sharing import share_problems
from tersely.metrics.simultaneous import (
    ChangeFamily,
    LevelFamily,
    bound_changes,
    bound_levels,
    one_critical,
)
from tersely.metrics.votes import MOST_VOTES
from tersely.metrics.windows import Window, find_window
from tersely.readers.evaluations import Loaded

MOST = 20
VOTES = (1, 2, 4, 8)
MOST_TARGETS = 4


class Wanted(NamedTuple):
    """What is asked for; empty: chosen from the data.

    Args:
        accuracies: from 0 to 1.
        tolerance: the accuracy that a lower cap may cost for sure, as a share.
    """

    axis: CostAxis
    rates: tuple[Rates, ...]
    caps: tuple[int, ...] = ()
    votes: tuple[int, ...] = ()
    accuracies: tuple[float, ...] = ()
    tolerance: float = 0.01


class SideAdvice(NamedTuple):
    """What can be said of one evaluation by itself.

    Args:
        cap_tokens: sampled; the longest sample where none is stated.
        cap_stated: whether one is.
        n_right, n_graded: samples that are right, ended by themselves, and all.
        cut: share of graded samples that were cut.
        caps: its settings of one vote against that at the sampled cap; each interval by itself.
        votes: some votes against one at the cap that costs as much at most.
        needed: cap and cost for each accuracy.
    """

    cap_tokens: int
    cap_stated: bool
    n_right: int
    n_graded: int
    cut: float
    caps: ChangeFamily
    votes: ChangeFamily
    needed: tuple[NeededTokens, ...]
    routed: Routed


class ServingAdvice(NamedTuple):
    """All that ``tersely advise`` says.

    Args:
        between: the router between evaluations; None of one.
    """

    names: tuple[str, ...]
    axis: CostAxis
    tolerance: float
    grid: ServingGrid
    levels: LevelFamily
    against: ChangeFamily
    frontier: tuple[FrontierPlace, ...]
    targets: tuple[TargetAdvice, ...]
    sides: tuple[SideAdvice, ...]
    between: RoutedBetween | None
    gaps: tuple[Gap, ...]
    windows: tuple[Window | None, ...]
    notes: tuple[str, ...]
    n_problems: int
    n_samples: tuple[int, ...]


def advise_serving(
    evaluations: Sequence[Loaded], wanted: Wanted, *, pair_by: PairBy = PairBy.AUTO
) -> ServingAdvice:
    """The frontier, the cheapest way to each accuracy, and what each evaluation says by itself.

    Raises:
        ConfigError: there are too many, or a cap or number of votes is beyond what was sampled.
        DataError: they share no problem, or no problem has a grade in all.
    """
    if len(evaluations) > MOST:
        raise ConfigError(f"{len(evaluations)} evaluations; advise takes {MOST} at most at a time")
    sides, notes = _align(evaluations, pair_by)
    votes = _choose_votes(sides, wanted.votes)
    tables, left_out = _keep_problems(sides, most_votes=votes if wanted.votes else (1,))
    caps, cap_notes = _choose_caps(sides, tables, wanted.caps)
    notes += [*left_out, *cap_notes]
    notes += [note for side in sides for note in _tell_side(side)]
    laid = lay_out(tables, caps=caps, votes=votes, rates=wanted.rates, axis=wanted.axis)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    grid, n_samples = laid.grid, tuple(int(table.graded_PS.sum()) for table in tables)
    first = _full(grid, 0)
    levels = bound_levels(
        grid, n_samples_M=np.array([n_samples[s.side] for s in grid.settings]), rng=rng
    )
    chooser = make_chooser(grid, reference=first, n_samples=sum(n_samples), rng=rng)
    frontier = judge_frontier(chooser)
    accuracies = wanted.accuracies or _choose_targets(grid, frontier)
    everything = [(m, first) for m in range(len(grid.settings)) if m != first]
    return ServingAdvice(
        names=tuple(side.name for side in sides),
        axis=wanted.axis,
        tolerance=wanted.tolerance,
        grid=grid,
        levels=levels,
        against=bound_changes(grid, pairs=everything, n_samples=sum(n_samples), rng=rng),
        frontier=frontier,
        targets=tuple(reach(chooser, each) for each in accuracies),
        sides=tuple(
            _advise_side(grid, at, table, wanted.rates[at], accuracies=accuracies, rng=rng)
            for at, table in enumerate(tables)
        ),
        between=_route_between(tables, wanted, rng=rng),
        gaps=laid.gaps,
        windows=tuple(find_window(table) for table in tables),
        notes=tuple(dict.fromkeys(notes)),
        n_problems=len(tables[0].keys),
        n_samples=n_samples,
    )


def _align(evaluations: Sequence[Loaded], by: PairBy) -> tuple[list[Loaded], list[str]]:
    sides, notes = [evaluations[0]], []
    for other in evaluations[1:]:
        aligned = align(evaluations[0], other, by=by)
        sides.append(aligned.loaded)
        notes += aligned.notes
    return sides, notes


def _keep_problems(
    sides: Sequence[Loaded], *, most_votes: Sequence[int]
) -> tuple[tuple[SampleTable, ...], list[str]]:
    """The problems that all hold with a grade, and with enough samples for the votes asked for."""
    tables = share_problems([side.table for side in sides])
    kept_P = np.ones(len(tables[0].keys), dtype=bool)
    for table in tables:
        n_P = table.graded_PS.sum(axis=1)
        kept_P &= n_P >= max((k for k in most_votes if k <= n_P.max(initial=0)), default=1)
    if not kept_P.any():
        raise DataError(
            "no problem has a graded sample in every evaluation; evaluate all on the same set"
        )
    notes = [
        f"{side.name}: {len(side.table.keys) - int(kept_P.sum()):,} of "
        f"{len(side.table.keys):,} problems left out, which another evaluation does not hold or "
        "which have too few graded samples."
        for side in sides
        if len(side.table.keys) > kept_P.sum()
    ]
    return tuple(select(table, rows_P=np.flatnonzero(kept_P)) for table in tables), notes


def _choose_votes(sides: Sequence[Loaded], asked: Sequence[int]) -> tuple[int, ...]:
    """One, and those asked for, else 1, 2, 4 and 8 as far as every problem of one side has them."""
    counts = [side.table.graded_PS.sum(axis=1) for side in sides]
    most = max(int(n_P.max(initial=0)) for n_P in counts)
    for votes in asked:
        if votes < 1:
            raise ConfigError(f"--votes {votes} is below 1; give 1 or more")
        if votes > min(most, MOST_VOTES):
            bound = f"the {most} samples of a problem" if most <= MOST_VOTES else f"{MOST_VOTES}"
            raise ConfigError(
                f"--votes {votes} is more than {bound}; give {min(most, MOST_VOTES)} at most, or "
                "evaluate with more --samples"
            )
    sure = max(int(n_P[n_P > 0].min(initial=most)) for n_P in counts)
    return tuple(sorted({1, *asked})) if asked else tuple(k for k in VOTES if k <= max(sure, 1))


def _choose_caps(
    sides: Sequence[Loaded], tables: Sequence[SampleTable], asked: Sequence[int]
) -> tuple[list[tuple[int, ...]], list[str]]:
    """Of each evaluation the caps asked for that it was sampled up to, and its own cap."""
    reach = [table.reach_tokens for table in tables]
    for cap_tokens in asked:
        if cap_tokens < 1:
            raise ConfigError(f"--caps {cap_tokens} is below 1 token; give a positive cap")
        if cap_tokens > max(reach):
            raise ConfigError(
                f"--caps {cap_tokens} exceeds the sampled cap {max(reach)}; resample with "
                f"--cap-tokens {cap_tokens}"
            )
    if not asked:
        return [choose_caps(table) for table in tables], []
    kept = [tuple(sorted({*(c for c in asked if c <= most), most})) for most in reach]
    notes = [
        f"{side.name} was sampled up to {most:,} tokens: no figures for "
        f"{', '.join(f'{c:,}' for c in asked if c > most)}."
        for side, most in zip(sides, reach, strict=True)
        if max(asked) > most
    ]
    return kept, notes


def _tell_side(side: Loaded) -> Iterator[str]:
    table, said = side.table, []
    ungraded = table.ungraded - (side.failed.samples if side.failed else 0)
    # The reader of another tool's file says it itself.
    if ungraded > 0 and "read as" not in side.facts:
        said.append(f"{count(ungraded, 'ungraded sample')} left out.")
    if not table.ends_known:
        said.append(
            "of some samples it is not known why they ended: they count as ended by themselves."
        )
    if side.failed is not None:
        said.append(tell_failed(side.failed))
    yield from (
        f"{side.name}: {note}"
        for note in (*said, *tell_none_right(side), *tell_right_but_cut(side), *side.notes)
    )


def _full(grid: ServingGrid, side: int) -> int:
    """One vote at the sampled cap: the last of the evaluation's settings of one vote."""
    return max(m for m, s in enumerate(grid.settings) if s.side == side and s.votes == 1)


def _choose_targets(grid: ServingGrid, frontier: Sequence[FrontierPlace]) -> tuple[float, ...]:
    """Whole tens of percent on the frontier, or fives where there are few; the highest four."""
    right_M = grid.right_PM.mean(axis=0)
    low, high = (float(right_M[frontier[at].setting]) for at in (0, -1))
    tens, fives = (
        [step / 100 for step in range(by, 101, by) if low < step / 100 <= high] for by in (10, 5)
    )
    return tuple((tens if len(tens) > 1 else fives)[-MOST_TARGETS:])


def _advise_side(
    grid: ServingGrid,
    side: int,
    table: SampleTable,
    rates: Rates,
    *,
    accuracies: Sequence[float],
    rng: np.random.Generator,
) -> SideAdvice:
    own = [m for m, setting in enumerate(grid.settings) if setting.side == side]
    full, n_samples = _full(grid, side), int(table.graded_PS.sum())
    ended_PS = table.graded_PS & table.finished_PS
    alone = [m for m in own if grid.settings[m].votes == 1]
    curve = trace_curve(table)
    return SideAdvice(
        table.reach_tokens,
        table.cap_tokens is not None,
        int(table.right_PS.sum()),
        n_samples,
        1 - int(ended_PS.sum()) / n_samples,
        bound_changes(
            grid,
            pairs=[(m, full) for m in alone[:-1]],
            n_samples=n_samples,
            rng=rng,
            together=False,
        ),
        bound_changes(grid, pairs=_pair_votes(grid, own), n_samples=n_samples, rng=rng),
        tuple(
            _in_units(_find_needed(curve, each, rng=rng), rates, grid.axis) for each in accuracies
        ),
        route(
            table,
            caps=tuple(grid.settings[m].cap_tokens for m in alone),
            critical=one_critical(len(table.keys)),
        ),
    )


def _find_needed(
    curve: AccuracyCurve, accuracy: float, *, rng: np.random.Generator
) -> NeededTokens:
    """Without intervals for fewer than ten problems, as all else."""
    needed = find_needed(curve, accuracy=accuracy, rng=rng)
    if not np.isnan(one_critical(curve.n_problems)):
        return needed
    bare = (each._replace(low=np.nan, high=np.nan) for each in needed[1:])
    return NeededTokens(accuracy, *bare)


def _route_between(
    tables: Sequence[SampleTable], wanted: Wanted, *, rng: np.random.Generator
) -> RoutedBetween | None:
    if len(tables) < 2:
        return None
    return route_between(
        tables,
        lines=[line_of(rate, wanted.axis) for rate in wanted.rates],
        critical=one_critical(len(tables[0].keys)),
        rng=rng,
    )


def _pair_votes(grid: ServingGrid, own: Sequence[int]) -> list[tuple[int, int]]:
    """k votes at a cap against one at k times the cap, and against one at the same cap."""
    place = {grid.settings[m]: m for m in own}
    pairs = []
    for m in own:
        setting = grid.settings[m]
        if setting.votes > 1:
            for times in (1, setting.votes):
                other = ServingSetting(setting.side, times * setting.cap_tokens, 1)
                pairs += [(m, place[other])] if other in place else []
    return pairs


def _in_units(needed: NeededTokens, rates: Rates, axis: CostAxis) -> NeededTokens:
    """The cost of one vote in the axis's units; it is linear in tokens."""
    start, scale = line_of(rates, axis)
    of = needed.cost
    value, low, high = (start + scale * each for each in (of.estimate, of.low, of.high))
    return needed._replace(cost=Interval(value, low, high, of.n_problems, of.n_samples))
