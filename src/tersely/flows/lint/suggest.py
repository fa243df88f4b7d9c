"""Settings that the records support, with the trade-off of each."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tersely import rewards
from tersely.flows.lint.checks import DENSE, RUINOUS, SPARSE, check_teaching
from tersely.flows.lint.facts import (
    GROUP_SIZES,
    LintFacts,
    candidates,
    count_right,
    estimate_silent,
    fixed_target,
    gather,
    target_row,
    with_target,
)
from tersely.flows.lint.forecast import CurveRow
from tersely.flows.lint.pool import LintRecords, fill_references, lacking_references, only_trained
from tersely.flows.lint.steps import make_steps, push_all
from tersely.flows.recipe.recipe import Recipe, check_recipe
from tersely.flows.recipe.sections import CellsSection
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import amount, format_level, format_score, percent, signed
from tersely.metrics.passrates import EASY_ABOVE

# Of groups without a signal: small enough for N not to grow further.
FEW_SILENT = 0.2
# N of the paper, where no smaller one is enough.
PAPER_N = 24
FEWEST_N = 8
# Difficulties with more values than these are cut into as many parts of equal size.
BANDS = 12
# What L_R = L_T may cost in groups without a signal before the recipe's own cap is kept.
SILENT_SLACK = 0.05


class Suggestion(NamedTuple):
    """A recipe and the reasons for its settings.

    Args:
        facts: of the suggested recipe.
        at_target: the target lengths looked at, each sampled up to itself (L_R = L_T).
        at_cap: the same, sampled up to the recipe's cap.
        chosen: the row that was taken; None where the reward needs no target.
        silent_at: share of groups without a signal by N, at the suggested target.
        reasons: one sentence a setting.
    """

    recipe: Recipe
    facts: LintFacts
    at_target: tuple[CurveRow, ...]
    at_cap: tuple[CurveRow, ...]
    chosen: CurveRow | None
    silent_at: dict[int, float]
    reasons: tuple[str, ...]


class _SettingChoice(NamedTuple):
    recipe: Recipe
    reason: str
    row: CurveRow | None = None


def suggest(recipe: Recipe, whole: LintRecords, *, tokens_per_second: float | None) -> Suggestion:
    """Cells that do not ruin it, a band, target and cap on its prompts, and N at that target.

    Raises:
        ConfigError: the result would not be a recipe.
    """
    lacking = lacking_references(whole, recipe)
    whole = fill_references(whole, lacking) if lacking else whole
    healed = _choose_cells(recipe, whole)
    banded = _choose_band(healed.recipe, whole)
    pool = only_trained(whole, banded.recipe)
    at_target, at_cap = _trace(banded.recipe, pool)
    aimed = _choose_target(banded.recipe, at_target, at_cap)
    sized, silent_at = _choose_size(aimed.recipe, pool)
    made = check_recipe(sized.recipe.model_dump(exclude_none=True, mode="json"))
    facts = gather(made, pool, tokens_per_second=tokens_per_second)
    reasons = [choice.reason for choice in (healed, banded, aimed, sized) if choice.reason]
    return Suggestion(made, facts, at_target, at_cap, aimed.row, silent_at, tuple(reasons))


def _choose_cells(recipe: Recipe, whole: LintRecords) -> _SettingChoice:
    """The recipe's treatment, unless it is one that the paper saw fail."""
    facts = gather(recipe, only_trained(whole, recipe))
    if not RUINOUS & {finding.name for finding in check_teaching(facts)}:
        return _SettingChoice(recipe, "")
    treatment = recipe.treatment.model_copy(update={"cells": CellsSection()})
    return _SettingChoice(
        recipe.model_copy(update={"treatment": treatment}),
        "treatment.cells = vanilla: runs with this recipe's cells collapsed or drifted.",
    )


def _choose_band(recipe: Recipe, whole: LintRecords) -> _SettingChoice:
    """The difficulties, from the easy end on, at each of which more than half is right."""
    counts_PV = count_right(recipe, whole)
    known_P = counts_PV.sum(axis=1) > 0
    rate_P = counts_PV[:, 0] / np.maximum(counts_PV.sum(axis=1), 1)
    told = [np.nan if p.difficulty is None else p.difficulty for p in whole.problems]
    difficulty_P = np.array(told, dtype=np.float64)
    known_P &= np.isfinite(difficulty_P)
    if known_P.sum() < len(whole.problems) or np.ptp(difficulty_P) == 0:
        easy = int((rate_P > EASY_ABOVE).sum())
        return _SettingChoice(
            recipe,
            f"problems.band stays: the records hold no difficulties to choose from. {easy:,} of "
            f"{len(whole.problems):,} prompts have a pass rate above one half; tersely curate "
            "--select easy keeps such prompts.",
        )
    edges = _edges(difficulty_P)
    part_P = np.searchsorted(edges, difficulty_P, side="right") - 1
    rates = [float(rate_P[part_P == part].mean()) for part in range(len(edges))]
    rising = np.corrcoef(difficulty_P, rate_P)[0, 1] > 0 if np.ptp(rate_P) > 0 else False
    order = list(range(len(edges)))[:: -1 if rising else 1]
    kept = []
    for part in order:
        if rates[part] <= EASY_ABOVE:
            break
        kept.append(part)
    if not kept:
        return _SettingChoice(
            recipe, "problems.band stays: at no difficulty is more than half of the rollouts right."
        )
    inside_P = np.isin(part_P, kept)
    low, high = float(difficulty_P[inside_P].min()), float(difficulty_P[inside_P].max())
    changed = recipe.problems.model_copy(update={"band": (low, high)})
    return _SettingChoice(
        recipe.model_copy(update={"problems": changed}),
        f"problems.band = [{low:g}, {high:g}]: {int(inside_P.sum()):,} of {len(inside_P):,} "
        f"prompts, pass rate {percent(float(rate_P[inside_P].mean()))}; the other ones "
        f"{percent(float(rate_P[~inside_P].mean())) if (~inside_P).any() else 'none'}. At each "
        "difficulty in it more than half is right.",
    )


def _edges(difficulty_P: np.ndarray) -> np.ndarray:
    """Where each part of the difficulties begins."""
    values = np.unique(difficulty_P)
    if len(values) <= BANDS:
        return values
    return np.unique(np.quantile(difficulty_P, np.arange(BANDS) / BANDS))


def _trace(recipe: Recipe, pool: LintRecords) -> tuple[tuple[CurveRow, ...], tuple[CurveRow, ...]]:
    """The candidates, sampled up to themselves and up to the cap; none without a target to set."""
    if "target_tokens" not in rewards.needs(recipe.reward.name):
        return (), ()
    steps, cap = make_steps(pool, recipe), recipe.sampling.cap_tokens
    rows: list[list[CurveRow]] = [[], []]
    start = fixed_target(recipe) or cap
    base = with_target(recipe, target_tokens=start)
    for tokens in candidates(base, push_all(base, steps)[0]):
        wide = with_target(recipe, target_tokens=tokens)
        tight = with_target(recipe, target_tokens=tokens, cap_tokens=tokens)
        narrow = push_all(tight, make_steps(pool, tight))[0]
        rows[0].append(target_row(tight, pool, narrow, target_tokens=tokens))
        rows[1].append(target_row(wide, pool, push_all(wide, steps)[0], target_tokens=tokens))
    return tuple(rows[0]), tuple(rows[1])


def _choose_target(
    recipe: Recipe, at_target: Sequence[CurveRow], at_cap: Sequence[CurveRow]
) -> _SettingChoice:
    """The shortest target that is dense enough, of those that push for shorter if there are any."""
    if not at_target:
        return _SettingChoice(recipe, "")
    pairs = list(zip(at_target, at_cap, strict=True))
    dense = [pair for pair in pairs if pair[0].positive.value >= DENSE]
    some = [pair for pair in pairs if pair[0].positive.value >= SPARSE and min(_drifts(pair)) < 0]
    if dense and min(_drifts(dense[0])) < 0:
        (tight, wide), why = dense[0], f"the shortest with at least {percent(DENSE)} positive"
    elif some:
        tight, wide = some[-1]
        why = (
            f"the densest that pushes for shorter; {percent(DENSE)} positive would push for longer"
        )
        if not dense:
            why = f"the densest there is; no target has {percent(DENSE)} positive"
    else:
        tight, wide = max(pairs, key=lambda pair: pair[0].positive.value)
        why = "the densest there is; no target pushes for shorter"
    equal = tight.silent.value <= wide.silent.value + SILENT_SLACK and tight.drift.value < 0
    row = tight if equal else wide
    cap = row.target_tokens if equal else row.cap_tokens
    where = (
        "L_R = L_T, which avoids that short looks correct (arXiv:2602.20945, 3.2)"
        if equal
        else f"L_R stays {cap:,}: sampled up to L_T, drift would be "
        f"{signed(tight.drift.value)} and {percent(tight.silent.value)} of groups silent"
    )
    return _SettingChoice(
        with_target(recipe, target_tokens=row.target_tokens, cap_tokens=cap),
        f"target.tokens = {row.target_tokens:,}: {why} ({percent(row.positive.value)} positive, "
        f"drift {signed(row.drift.value)}); {where}.",
        row,
    )


def _drifts(pair: tuple[CurveRow, CurveRow]) -> list[float]:
    return [row.drift.value for row in pair if math.isfinite(row.drift.value)] or [math.inf]


def _choose_size(recipe: Recipe, pool: LintRecords) -> tuple[_SettingChoice, dict[int, float]]:
    _, chances = estimate_silent(recipe, pool, sizes=GROUP_SIZES)
    silent_at = {n: chance.share for n, chance in chances.items()}
    if not silent_at:
        return _SettingChoice(recipe, "samples_per_prompt stays: no groups to estimate from."), {}
    fitting = [n for n, silent in silent_at.items() if n >= FEWEST_N and silent <= FEW_SILENT]
    draws = fitting[0] if fitting else PAPER_N
    why = (
        f"the fewest with at most {percent(FEW_SILENT)} of groups silent"
        if fitting
        else f"the paper's; {percent(silent_at[PAPER_N])} of groups stay silent"
    )
    sampling = recipe.sampling.model_copy(update={"samples_per_prompt": draws})
    return (
        _SettingChoice(
            recipe.model_copy(update={"sampling": sampling}),
            f"sampling.samples_per_prompt = {draws}: {why}; cost grows with it.",
        ),
        silent_at,
    )


def compare(now: LintFacts, then: LintFacts) -> list[tuple[str, str, str]]:
    """What the first step is like now and as suggested: name, now, suggested."""

    def say(facts: LintFacts) -> list[tuple[str, str]]:
        limit = facts.target_tokens
        return [
            ("prompts", f"{len(facts.pool.problems):,}"),
            ("L_T / L_R", f"{limit:,.0f} / {facts.recipe.sampling.cap_tokens:,}"),
            ("N", f"{facts.recipe.sampling.samples_per_prompt}"),
            ("positive", format_level(facts.shares.positive, Unit.SHARE).text),
            ("zero-signal groups", _silent_at_own(facts)),
            ("right pushed down", format_level(facts.shares.right_pushed_down, Unit.SHARE).text),
            ("drift (sd)", format_score(facts.drift.total).text),
            ("tokens a step", amount(facts.cost.step_tokens)),
        ]

    return [(name, a, b) for (name, a), (_, b) in zip(say(now), say(then), strict=True)]


def _silent_at_own(facts: LintFacts) -> str:
    """Measured where the records have groups of N, else estimated."""
    draws = facts.recipe.sampling.samples_per_prompt
    if facts.group_sizes[0] == draws or draws not in facts.silent_at:
        return format_level(facts.shares.silent, Unit.SHARE).text
    return f"{percent(facts.silent_at[draws].share)} (estimated)"
