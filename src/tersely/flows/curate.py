"""``tersely curate``: samples every prompt a few times, and keeps the prompts to train on.

The samples are an evaluation's folder inside of the output's, so they survive everything and are
made once; the choice among them is a second, cheap pass that may be made again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from tersely.adapters.evaluations import RECORDS_FILE, read_frame
from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.types import Finish, Grade, Problem
from tersely.flows.evaluation import Plan, Watch, run_evaluation
from tersely.metrics.passrates import (
    EASY_ABOVE,
    PassRate,
    between_quantiles,
    densest,
    equal_mixes,
    in_band,
    pass_rate,
)
from tersely.tasks.overlap import Overlap, find_duplicates, find_overlaps
from tersely.tasks.problems import digest, read_problems

POOL_FILE = "pool.jsonl"
SAMPLES_FOLDER = "samples"


class Select(StrEnum):
    """Which prompts to keep, by pass rate: above 0.5, up to 0.5, all, or all three ways at once
    with equally many prompts."""

    EASY = "easy"
    HARD = "hard"
    FULL = "full"
    MIXES = "mixes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to keep of the prompts that were sampled; one of the first four.

    Args:
        select: by the paper's bands.
        band: lowest and highest pass rate, ends included.
        quantiles: of the pass rates, ends included.
        density: wanted share of samples that are right within ``target_tokens``.
        target_tokens: L_T for ``density``, in tokens.
        limit: most prompts of a set; drawn by ``seed``.
        against: benchmarks whose problems must not be trained on.
        keep_duplicates: leave near-duplicates in.
    """

    select: Select | None = None
    band: tuple[float, float] | None = None
    quantiles: tuple[float, float] | None = None
    density: float | None = None
    target_tokens: int | None = None
    limit: int | None = None
    seed: int = 0
    against: tuple[Problem, ...] = ()
    keep_duplicates: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """One prompt that was left out, and why."""

    problem: str
    source: str
    reason: str
    details: str


class CuratedSet(NamedTuple):
    """The problems to train on, with what was learned of them, and why the others are not."""

    problems: list[Problem]
    dropped: list[Dropped]


class Curated(NamedTuple):
    """The pass rate of every prompt, and the sets by name."""

    rates: list[PassRate]
    sets: dict[str, CuratedSet]


def check_choice(choice: Choice, *, cap_tokens: int) -> None:
    """Refuses what cannot be chosen by, before anything is sampled.

    Raises:
        ConfigError: naming the option, its value and the fix.
    """
    ways = [choice.select, choice.band, choice.quantiles, choice.density]
    if sum(way is not None for way in ways) != 1:
        raise ConfigError("choose one of --select, --band, --quantiles and --density")
    for name, ends in (("--band", choice.band), ("--quantiles", choice.quantiles)):
        if ends is not None and not 0 <= ends[0] <= ends[1] <= 1:
            raise ConfigError(
                f"{name} {ends[0]:g},{ends[1]:g} must rise within 0 to 1; write {name} 0.25,0.75"
            )
    if (choice.density is None) is not (choice.target_tokens is None):
        raise ConfigError(
            "--density is counted within --target-tokens; give both, or neither of them"
        )
    if choice.density is not None and not 0 < choice.density <= 1:
        raise ConfigError(f"--density {choice.density:g} is outside (0, 1]; set a share like 0.5")
    if choice.target_tokens is not None and not 1 <= choice.target_tokens <= cap_tokens:
        raise ConfigError(
            f"--target-tokens {choice.target_tokens} is outside 1 to the cap {cap_tokens}; "
            "raise --max-tokens or lower it"
        )
    if choice.limit is not None and choice.limit < 1:
        raise ConfigError(f"--limit {choice.limit} is below 1; keep at least one prompt")


def sample_pool(pool: Sequence[Problem], plan: Plan, *, watch: Watch) -> Path:
    """Samples the pool into the plan's folder and returns its records; what is there stays.

    Raises:
        ConfigError: the folder holds another pool, or samples drawn in another way.
    """
    folder = plan.out.parent
    file = folder / POOL_FILE
    if file.is_file():
        if digest(read_problems(file)) != digest(pool):
            raise ConfigError(
                f"{folder} was curated from other problems; choose another --out, or give it the "
                "same --problems"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        jsonl.write(file, pool)
    run_evaluation(replace(plan, benchmark=str(file)), watch=watch)
    return plan.out / RECORDS_FILE


def choose(pool: Sequence[Problem], records: Path, choice: Choice) -> Curated:
    """The pass rate of every prompt, the sets to train on, and why the others are left out.

    Raises:
        ConfigError: nothing is left; the message says how the pass rates lie.
    """
    frame, _ = read_frame(records)
    rates = _rates(pool, frame)
    dropped: dict[str, Dropped] = {}
    _drop_repeats(pool, choice, dropped)
    for each in rates:
        if each.n == 0:
            _drop(dropped, each, "ungraded", f"none of {each.ungraded} samples could be graded")
    left = [each for each in rates if each.problem not in dropped]
    sets = _chosen(left, frame, choice)
    if not any(sets.values()):
        raise ConfigError(f"no prompt is left to keep: {describe_rates(left)}; widen the choice")
    return Curated(
        rates, {name: _make_set(pool, rates, ids, dropped) for name, ids in sets.items()}
    )


def _make_set(
    pool: Sequence[Problem],
    rates: Sequence[PassRate],
    ids: Sequence[str],
    dropped: dict[str, Dropped],
) -> CuratedSet:
    kept, others = set(ids), dict(dropped)
    for each in rates:
        if each.problem not in kept and each.problem not in others:
            _drop(others, each, "not chosen", f"pass rate {each.rate:.3f}, n = {each.n}")
    pairs = list(zip(pool, rates, strict=True))
    return CuratedSet(
        problems=[_labelled(problem, rate) for problem, rate in pairs if problem.id in kept],
        dropped=[others[problem.id] for problem, _ in pairs if problem.id in others],
    )


def describe_rates(rates: Sequence[PassRate]) -> str:
    """How many prompts lie where, in words."""
    easy = sum(each.rate > EASY_ABOVE for each in rates)
    none = sum(each.right == 0 for each in rates)
    return (
        f"of {len(rates):,} prompts {easy:,} have a pass rate above {EASY_ABOVE:g}, "
        f"{len(rates) - easy:,} up to it, {none:,} of these 0"
    )


def _rates(pool: Sequence[Problem], frame: pl.DataFrame) -> list[PassRate]:
    groups = {key[0]: group for key, group in frame.group_by("problem")}
    return [_rate_of(problem, groups.get(problem.id, frame.clear())) for problem in pool]


def _rate_of(problem: Problem, group: pl.DataFrame) -> PassRate:
    finished_S = (group["finish"] == Finish.STOP.value).to_numpy()
    graded = (group["grade"] != Grade.UNGRADED.value) & (group["finish"] != Finish.ERROR.value)
    return pass_rate(
        problem.id,
        problem.source,
        right_S=(group["grade"] == Grade.CORRECT.value).to_numpy() & finished_S,
        tokens_S=group["tokens"].to_numpy(),
        finished_S=finished_S,
        graded_S=graded.to_numpy(),
    )


def _drop_repeats(pool: Sequence[Problem], choice: Choice, dropped: dict[str, Dropped]) -> None:
    of_id = {problem.id: problem for problem in pool}
    found = [("benchmark", overlap) for overlap in find_overlaps(pool, choice.against)]
    if not choice.keep_duplicates:
        found += [("duplicate", overlap) for overlap in find_duplicates(pool)]
    for reason, overlap in found:
        problem = of_id[overlap.problem]
        if problem.id not in dropped:
            dropped[problem.id] = Dropped(
                problem=problem.id,
                source=problem.source,
                reason=reason,
                details=_say(overlap),
            )


def _say(overlap: Overlap) -> str:
    return (
        f"shares {overlap.shared:.0%} of its words with {overlap.other} of {overlap.source}: "
        f"{overlap.text}"
    )


def _drop(dropped: dict[str, Dropped], rate: PassRate, reason: str, details: str) -> None:
    dropped[rate.problem] = Dropped(
        problem=rate.problem, source=rate.source, reason=reason, details=details
    )


def _chosen(rates: Sequence[PassRate], frame: pl.DataFrame, choice: Choice) -> dict[str, list[str]]:
    if not rates:
        return {}
    if choice.select is Select.MIXES:
        return equal_mixes(rates, seed=choice.seed, size=choice.limit)
    rate_P = np.array([each.rate for each in rates])
    if choice.band is not None:
        keep_P, name = in_band(rate_P, low=choice.band[0], high=choice.band[1]), "band"
    elif choice.quantiles is not None:
        low, high = choice.quantiles
        keep_P, name = between_quantiles(rate_P, low=low, high=high), "quantiles"
    elif choice.density is not None:
        keep_P = densest(_densities(rates, frame, choice), wanted=choice.density)
        name = "density"
    else:
        assert choice.select is not None
        keep_P, name = _in_paper_band(rate_P, choice.select), choice.select.value
    places = np.flatnonzero(keep_P)
    if choice.limit is not None:
        rng = np.random.default_rng(choice.seed)
        places = np.sort(rng.permutation(places)[: choice.limit])
    return {name: [rates[int(place)].problem for place in places]}


def _in_paper_band(rate_P: np.ndarray, select: Select) -> np.ndarray:
    if select is Select.EASY:
        return in_band(rate_P, low=EASY_ABOVE, high=1.0, open_low=True)
    return in_band(rate_P, low=0.0, high=EASY_ABOVE if select is Select.HARD else 1.0)


def _densities(rates: Sequence[PassRate], frame: pl.DataFrame, choice: Choice) -> np.ndarray:
    """Right within the target, as a share of a prompt's graded samples."""
    assert choice.target_tokens is not None
    positive = (
        (pl.col("grade") == Grade.CORRECT.value)
        & (pl.col("finish") == Finish.STOP.value)
        & (pl.col("tokens") <= choice.target_tokens)
    )
    counted: Mapping[str, int] = dict(
        frame.group_by("problem").agg(positive.sum().alias("positive")).iter_rows()
    )
    return np.array([counted[each.problem] / each.n if each.n else np.nan for each in rates])


def _labelled(problem: Problem, rate: PassRate) -> Problem:
    """With what was learned of it: difficulty is the share of samples that fail."""
    return replace(
        problem,
        difficulty=round(1 - rate.rate, 6),
        reference_tokens=rate.tokens_mean,
        reference_accuracy=rate.rate,
    )
