"""What is refused before a study's first run: arms and claims that its results could not answer."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tersely.core.errors import ConfigError, no_such, shortened
from tersely.core.types import Problem
from tersely.flows.study.plan import (
    LENGTH,
    Arm,
    Claim,
    NamedStudy,
    Side,
    arm_settings,
    lengths_of,
    resolve,
    shipped_studies,
)
from tersely.flows.study.results import COLUMNS

# Folders in --out that are no study's, and the report on all studies.
_TAKEN = ("results", "work", "all")
_HELD_OUT_STATISTICS = ("accuracy", "pass_at_k", "area", "tokens")
# Which statistics look at a key; of the others it would say nothing.
_CLAIM_KEYS = {
    "budget": ("accuracy", "pass_at_k"),
    "k": ("pass_at_k",),
    "column": ("curve",),
    "where": _HELD_OUT_STATISTICS,
}
_SIDE_KEYS = {"moment": _HELD_OUT_STATISTICS, "steps": ("curve",)}
# What the pool brings, and what an arm does about it instead.
_POOLED = {
    "problems.train": "choose prompts by pool, or give all arms others with --problems",
    "problems.test": "give all arms others with --benchmark",
    "problems.test_limit": "set it for all arms, in [base] or with --set",
    "problems.band": "choose prompts by pool, or set it for all arms, in [base] or with --set",
    "model.path": "make it a study of its own, or give all arms another with --model",
    "seed": "give --seeds, how many seeds every arm is run with",
}


def check_studies(base: Mapping[str, Any], studies: Sequence[NamedStudy]) -> None:
    """Refuses what could not be judged once it is trained, as far as the base tells.

    Raises:
        ConfigError: names the study, the arm or the claim, the value, its bound and the fix.
    """
    if "seed" in base:
        raise ConfigError(
            f"seed = {base['seed']} is no setting of a study, whose arms are run with seeds 1 to "
            "--seeds; leave it out"
        )
    for name, study in studies:
        for arm_name, arm in study.arms.items():
            if not arm_name.strip() or not arm_name.isprintable():
                raise ConfigError(
                    f"{name}: arm {arm_name!r} has no name that can be printed in a line; give "
                    "it one"
                )
            _check_arm(base, arm, said=f"{name}: arm {arm_name!r}")
        for claim in study.claims:
            _check_claim(base, study.arms, claim, said=f"{name}: claim {shortened(claim.says)!r}")


def check_file(file: Path) -> None:
    """Refuses a study's file whose report would be written over another folder of --out.

    Raises:
        ConfigError: another folder has its name.
    """
    taken = (*_TAKEN, *shipped_studies())
    if file.stem in taken:
        raise ConfigError(
            f"{file}: the report would be the folder {file.stem!r} of --out, which is another's "
            f"(as are {', '.join(taken)}); rename the file"
        )


def check_sources(studies: Sequence[NamedStudy], problems: Sequence[Problem]) -> None:
    """Refuses a claim on a source that no held-out problem is of.

    Raises:
        ConfigError: names the claim and the sources that there are.
    """
    known = ("easy", "hard", *sorted({problem.source for problem in problems}))
    for name, study in studies:
        for claim in study.claims:
            if claim.where is not None and claim.where not in known:
                fault = no_such("source", claim.where, known, of="held-out problems")
                raise ConfigError(f"{name}: claim {shortened(claim.says)!r}: where: {fault}")


def _check_arm(base: Mapping[str, Any], arm: Arm, *, said: str) -> None:
    for key, fix in _POOLED.items():
        section, _, inner = key.partition(".")
        held = arm.set.get(section) if inner else arm.set
        if isinstance(held, Mapping) and (inner or section) in held:
            value = held[inner or section]
            raise ConfigError(
                f"{said}: set.{key} = {shortened(repr(value))} cannot differ between arms; {fix}"
            )
    most, judged_at = _most_tokens(base, arm), max(base["evaluation"]["budgets"])
    if most < judged_at:
        raise ConfigError(
            f"{said}: set.evaluation.budgets ends at {most:,} tokens, and all arms are judged at "
            f"the base's, up to {judged_at:,}; leave it out"
        )
    if arm.method is not None and arm.method.forced is not None:
        forced = resolve(arm.method.forced, lengths_of(base), where="method.forced")
        if forced > most:
            raise ConfigError(
                f"{said}: method.forced = {_tokens(arm.method.forced, forced)} is above the "
                f"largest of evaluation.budgets, {most:,}; lower it"
            )


def _check_claim(
    base: Mapping[str, Any], arms: Mapping[str, Arm], claim: Claim, *, said: str
) -> None:
    _check_keys(claim, claim.model_fields_set, _CLAIM_KEYS, claim.statistic, said=f"{said}: ")
    sides = {"of": claim.of, "against": claim.against}
    for key, side in sides.items():
        if side is not None:
            place = f"{said}: {key}."
            _check_keys(side, side.model_fields_set, _SIDE_KEYS, claim.statistic, said=place)
            _check_steps(side, said=place)
    if claim.statistic == "curve" and claim.column not in COLUMNS:
        fault = no_such("column", claim.column, COLUMNS, of="the results")
        raise ConfigError(f"{said}: {fault}")
    if claim.statistic == "area":
        _check_least(base, claim, said=said)
    for side in filter(None, sides.values()):
        _check_reach(base, arms[side.arm], claim, said=said, arm_name=side.arm)


def _check_keys(
    section: Claim | Side,
    given: Collection[str],
    keys: Mapping[str, Sequence[str]],
    statistic: str,
    *,
    said: str,
) -> None:
    """Refuses a key that the statistic does not look at."""
    for key, statistics in keys.items():
        if key in given and statistic not in statistics:
            raise ConfigError(
                f"{said}{key} = {getattr(section, key)!r} is of {', '.join(statistics)}, not of "
                f"{statistic}; leave it out"
            )


def _check_steps(side: Side, *, said: str) -> None:
    low, high = side.steps
    if not 0 <= low <= high <= 1:
        raise ConfigError(
            f"{said}steps = [{low:g}, {high:g}] are no shares of the run that rise within 0 to 1; "
            "write [0.9, 1.0]"
        )


def _check_least(base: Mapping[str, Any], claim: Claim, *, said: str) -> None:
    budgets = base["evaluation"]["budgets"]
    given = 1 if claim.least is None else claim.least
    least = _length(base, given, said=f"{said}: least")
    left = sum(budget >= least for budget in budgets)
    if left < 2:
        raise ConfigError(
            f"{said}: least = {given!r} leaves {left} of evaluation.budgets = {list(budgets)}, "
            "and an area needs two; lower it, or add budgets"
        )


def _check_reach(
    base: Mapping[str, Any], arm: Arm, claim: Claim, *, said: str, arm_name: str
) -> None:
    """Whether the arm's evaluations reach the claim's budget, and have its k samples."""
    if claim.statistic in _CLAIM_KEYS["budget"]:
        budget, most = _length(base, claim.budget, said=f"{said}: budget"), _most_tokens(base, arm)
        if budget > most:
            raise ConfigError(
                f"{said}: budget = {_tokens(claim.budget, budget)} is above the largest of "
                f"evaluation.budgets, {most:,}, with which arm {arm_name!r} is evaluated; lower "
                "it, or add that budget"
            )
    samples = arm_settings(base, arm)["evaluation"]["samples"]
    if claim.statistic == "pass_at_k" and claim.k > samples:
        raise ConfigError(
            f"{said}: k = {claim.k} exceeds evaluation.samples = {samples} of arm {arm_name!r}; "
            "lower it, or raise evaluation.samples"
        )


def _length(base: Mapping[str, Any], value: int | str, *, said: str) -> int:
    """A claim's length in tokens."""
    if isinstance(value, str) and not LENGTH.fullmatch(value):
        shown = shortened(repr(value))
        raise ConfigError(f"{said} = {shown} is no length; write 20, 'L_T' or '2 L_T'")
    if isinstance(value, int) and value < 1:
        raise ConfigError(f"{said} = {value} is below 1; give at least one token")
    return int(resolve(value, lengths_of(base), where=said))


def _tokens(given: int | str, tokens: int) -> str:
    return f"{given:,}" if isinstance(given, int) else f"{given!r} ({tokens:,} tokens)"


def _most_tokens(base: Mapping[str, Any], arm: Arm) -> int:
    """The most tokens of an arm's held-out answers."""
    return int(max(arm_settings(base, arm)["evaluation"]["budgets"]))
