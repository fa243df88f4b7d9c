"""``tersely curate``: samples every prompt a few times, and keeps the prompts to train on.

The samples are an evaluation's folder inside of the output's, so they survive everything and are
made once; the choice among them is a second, cheap pass that may be made again.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tersely.core.errors import ConfigError, DataError
from tersely.core.manifest import FILE, EvaluationManifest, read_manifest
from tersely.core.types import Finish, Grade, Problem
from tersely.flows.curate.choice import Choice, Pick, pick
from tersely.flows.curate.overlap import Overlap, find_duplicates, find_overlaps
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.session import run_evaluation
from tersely.flows.observer import Observer
from tersely.metrics.passrates import PassRate, pass_rate
from tersely.readers.evaluations import RECORDS_FILE
from tersely.readers.frames import read_frame
from tersely.tasks.problems import digest
from tersely.tasks.repeats import check_set

# What manifests call the problems, since they stood in a file of that name.
POOL = "pool.jsonl"


class Reason(StrEnum):
    """The reason why a prompt is left out; if several apply, the first."""

    UNGRADED = "ungraded"
    BENCHMARK = "benchmark"
    DUPLICATE = "duplicate"
    OUTSIDE = "outside the rule"
    NOT_DRAWN = "not drawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """One prompt that was left out, and why."""

    problem: str
    source: str
    reason: Reason
    details: str


class CuratedSet(NamedTuple):
    """The problems to train on, with what was learned of them, and why the others are not."""

    rule: str
    problems: list[Problem]
    dropped: list[Dropped]


class Curated(NamedTuple):
    """The pass rate of every prompt, and the sets by name."""

    rates: list[PassRate]
    sets: dict[str, CuratedSet]


def sample_pool(pool: Sequence[Problem], plan: Plan, *, observer: Observer) -> Path:
    """Samples the pool into the plan's folder and returns its records; what is there stays.

    Raises:
        ConfigError: the folder holds another pool, or samples drawn in another way.
        DataError: too many prompts stand twice with different answers.
    """
    folder, records = plan.out.parent, plan.out / RECORDS_FILE
    # Prompts that merely stand twice are left out when the sets are chosen.
    check_set(pool, name="the pool", most_repeated=1.0)
    if records.is_file() and (plan.out / FILE).is_file():
        there = read_manifest(plan.out, EvaluationManifest)
        if there.benchmark_digest != digest(pool):
            raise ConfigError(
                f"{folder} was curated from other problems; choose another --out, or give it the "
                "same --problems"
            )
    run_evaluation(replace(plan, benchmark=POOL), observer=observer, problems=pool)
    return records


def choose(pool: Sequence[Problem], records: Path, choice: Choice) -> Curated:
    """The pass rate of every prompt, the sets to train on, and why the others are left out.

    Raises:
        ConfigError: nothing is left; the message says how the pass rates lie.
        DataError: a sample stands twice.
    """
    frame, _ = read_frame(records)
    twice = frame.filter(pl.struct("problem", "sample").is_duplicated()).select("problem", "sample")
    if twice.height:
        problem, sample = twice.row(0)
        raise DataError(
            f"{records}: problem {problem!r} has sample {sample} twice; leave one of the two out"
        )
    rates = _rates(pool, frame, choice)
    dropped = {
        each.problem: _drop(each, Reason.UNGRADED, f"none of {each.ungraded} could be graded")
        for each in rates
        if each.n == 0
    }
    graded = [problem for problem in pool if problem.id not in dropped]
    dropped |= _repeats(graded, choice)
    left = [each for each in rates if each.problem not in dropped]
    if not left:
        raise ConfigError(
            f"no prompt is left to choose from: {_count_reasons(dropped.values())}; sample others"
        )
    picks = pick(left, choice)
    for name, picked in picks.items():
        if not picked.kept_P.any():
            raise ConfigError(
                f"{name} ({picked.rule}) keeps no prompt: {describe_rates(left)}; choose by "
                "another rule"
            )
    return Curated(
        rates, {name: _make_set(pool, left, p, choice, dropped) for name, p in picks.items()}
    )


def _make_set(
    pool: Sequence[Problem],
    left: Sequence[PassRate],
    picked: Pick,
    choice: Choice,
    dropped: dict[str, Dropped],
) -> CuratedSet:
    rate_of = {each.problem: each for each in left}
    others, kept = dict(dropped), set()
    drawn_of = f"{picked.kept_P.sum():,} of {picked.fits_P.sum():,}"
    for each, fits, drawn in zip(left, picked.fits_P, picked.kept_P, strict=True):
        if drawn:
            kept.add(each.problem)
        elif fits:
            why = f"fits, but seed {choice.seed} drew {drawn_of} without it"
            others[each.problem] = _drop(each, Reason.NOT_DRAWN, why)
        else:
            why = f"{_describe(each, choice)}; kept: {picked.rule}"
            others[each.problem] = _drop(each, Reason.OUTSIDE, why)
    return CuratedSet(
        rule=picked.rule,
        problems=[
            _labelled(problem, rate_of[problem.id]) for problem in pool if problem.id in kept
        ],
        dropped=[others[problem.id] for problem in pool if problem.id in others],
    )


def _describe(rate: PassRate, choice: Choice) -> str:
    if choice.density is not None:
        return f"positive density {rate.density:.3g}, n = {rate.n}"
    return f"pass rate {rate.rate:.3g}, {rate.right} of {rate.n}"


def describe_rates(rates: Sequence[PassRate]) -> str:
    """How many prompts lie where, in words."""
    none = sum(each.right == 0 for each in rates)
    between = [
        f"{sum(low < each.rate <= low + 0.25 for each in rates):,} in ({low:g}, {low + 0.25:g}]"
        for low in (0.0, 0.25, 0.5, 0.75)
    ]
    return f"of {len(rates):,} prompts {none:,} have the pass rate 0, {', '.join(between)}"


def _count_reasons(dropped: Iterable[Dropped]) -> str:
    counts = Counter(each.reason for each in dropped)
    return ", ".join(f"{n:,} {reason}" for reason, n in counts.items())


def _rates(pool: Sequence[Problem], frame: pl.DataFrame, choice: Choice) -> list[PassRate]:
    groups = {key[0]: group for key, group in frame.group_by("problem")}
    return [
        _rate_of(problem, groups.get(problem.id, frame.clear()), target=choice.target_tokens)
        for problem in pool
    ]


def _rate_of(problem: Problem, group: pl.DataFrame, *, target: int | None) -> PassRate:
    finished_S = (group["finish"] == Finish.STOP.value).to_numpy()
    graded = (group["grade"] != Grade.UNGRADED.value) & (group["finish"] != Finish.ERROR.value)
    return pass_rate(
        problem.id,
        problem.source,
        right_S=(group["grade"] == Grade.CORRECT.value).to_numpy() & finished_S,
        tokens_S=group["tokens"].to_numpy(),
        finished_S=finished_S,
        graded_S=graded.to_numpy(),
        target_tokens=target,
    )


def _repeats(pool: Sequence[Problem], choice: Choice) -> dict[str, Dropped]:
    """A prompt that repeats one of a benchmark also takes its own duplicates with it."""
    source_of = {problem.id: problem.source for problem in pool}
    found = [] if choice.keep_duplicates else [(Reason.DUPLICATE, o) for o in find_duplicates(pool)]
    found += [(Reason.BENCHMARK, overlap) for overlap in find_overlaps(pool, choice.against)]
    return {
        overlap.problem: Dropped(
            problem=overlap.problem,
            source=source_of[overlap.problem],
            reason=reason,
            details=_say(overlap),
        )
        for reason, overlap in found
    }


def _say(overlap: Overlap) -> str:
    return (
        f"repeats {overlap.other} of {overlap.source}, {overlap.shared:.0%} of the shorter one's "
        f"word n-grams: {overlap.text}"
    )


def _drop(rate: PassRate, reason: Reason, details: str) -> Dropped:
    return Dropped(problem=rate.problem, source=rate.source, reason=reason, details=details)


def _labelled(problem: Problem, rate: PassRate) -> Problem:
    """With what was learned of it: difficulty is the share of samples that fail."""
    return replace(
        problem,
        difficulty=round(1 - rate.rate, 6),
        reference_tokens=rate.tokens_mean,
        reference_accuracy=rate.rate,
    )
