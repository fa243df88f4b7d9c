"""All numbers that the findings are based on."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from tersely import rewards, targets
from tersely.algo import advantages
from tersely.algo.advantages import AdvantageTrait
from tersely.flows.lint.figures import (
    Correlations,
    Drift,
    PartLength,
    Shares,
    correlate,
    length_drift,
    measure_parts,
    measure_shares,
)
from tersely.flows.lint.forecast import (
    CurveRow,
    Estimate,
    LengthCell,
    Pushed,
    Sources,
    find_sources,
    tabulate_cells,
)
from tersely.flows.lint.pool import LintRecords, fill_references, lacking_references
from tersely.flows.lint.silence import Chance, chance_all, silent_share
from tersely.flows.lint.steps import LintStep, make_steps, push_all
from tersely.flows.price.cost import count_evaluations
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.sections import NamedSection
from tersely.metrics.intervals import resample_counts
from tersely.metrics.means import average_defined
from tersely.targets.fixed import fixed

BOOTSTRAP_SEED = 0
UNASKED = Estimate(math.nan, math.nan, math.nan)
CURVE_QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
# Target lengths closer than this are one.
CLOSE = 0.15
GROUP_SIZES = (4, 8, 12, 16, 24, 32)


class Cost(NamedTuple):
    """Expected tokens and hours, were lengths to stay as the records have them.

    ``hours`` are NaN without a throughput; ``sampled_groups`` counts a step's, refilled ones
    included. ``most_tokens`` is what the caps allow.
    """

    step_tokens: float
    sampled_groups: float
    training_tokens: float
    evaluation_tokens: float
    most_tokens: int
    hours: float


class LintFacts(NamedTuple):
    """What the records say of the recipe.

    Args:
        pool: the prompts and samples looked at.
        group_sizes: of the groups that were judged, smallest and largest.
        target_tokens: L_T, mean over groups that have one; NaN without, infinite where a rule
            leaves some prompt without a bound.
        silent_at: share of groups without a signal by N.
        kinds: what that estimate tells apart.
        unknown_share: of graded samples, cut by the records' cap where it is below the recipe's.
        lacking: references that the reward needs and no one gave.
        parts: the records' lengths in parts, at their own cap.
    """

    recipe: Recipe
    pool: LintRecords
    pushed: Pushed
    group_sizes: tuple[int, int]
    target_tokens: float
    shares: Shares
    correlations: Correlations
    drift: Drift
    cells: tuple[LengthCell, ...]
    sources: Sources
    curve: tuple[CurveRow, ...]
    silent_at: dict[int, Chance]
    kinds: str
    silent_by_verifier: Chance
    all_wrong: Chance
    cost: Cost
    unknown_share: float
    lacking: tuple[str, ...]
    parts: tuple[PartLength, ...]


def gather(
    recipe: Recipe, pool: LintRecords, *, tokens_per_second: float | None = None
) -> LintFacts:
    """Judges the records as the recipe's first steps and measures what comes of it."""
    lacking = lacking_references(pool, recipe)
    pool = fill_references(pool, lacking) if lacking else pool
    steps = make_steps(pool, recipe)
    pushed, targets_K = push_all(recipe, steps)
    counts_RP = count_resamples(pool)
    kinds, silent_at = estimate_silent(recipe, pool, sizes=wanted_sizes(recipe))
    verifier_PV = count_right(recipe, pool)
    nothing_P = np.zeros(len(pool.problems), dtype=np.int64)
    draws = recipe.sampling.samples_per_prompt
    silent_by_verifier = silent_share(verifier_PV, nothing_P, draws=draws)
    sizes = [len(view.correct_G) for step in steps for view in step.views]
    return LintFacts(
        recipe=recipe,
        pool=pool,
        pushed=pushed,
        group_sizes=(min(sizes), max(sizes)),
        target_tokens=float(average_defined(targets_K, axis=0)),
        shares=measure_shares(pushed, counts_RP=counts_RP),
        correlations=correlate(pushed, counts_RP=counts_RP),
        drift=length_drift(pushed, counts_RP=counts_RP),
        cells=tuple(tabulate_cells(pushed)),
        sources=find_sources(pushed),
        curve=trace_targets(recipe, pool, steps, candidates(recipe, pushed)),
        silent_at=silent_at,
        kinds=kinds,
        silent_by_verifier=silent_by_verifier,
        all_wrong=chance_all(verifier_PV[:, 1], verifier_PV.sum(axis=1), draws=draws),
        cost=estimate_cost(recipe, pool, pushed, silent_by_verifier, speed=tokens_per_second),
        unknown_share=share_unknown(recipe, pool),
        lacking=lacking,
        parts=measure_parts(pool.table, counts_RP=counts_RP),
    )


def count_resamples(pool: LintRecords) -> UInt8[np.ndarray, "R P"]:
    """The same resamples of the problems for every figure."""
    return resample_counts(len(pool.problems), rng=np.random.default_rng(BOOTSTRAP_SEED))


def candidates(recipe: Recipe, pushed: Pushed) -> list[int]:
    """Target lengths worth looking at: quantiles of the right lengths, the recipe's, the cap."""
    cap, right = recipe.sampling.cap_tokens, pushed.tokens_N[pushed.right_N]
    own = fixed_target(recipe)
    found = {cap} if own is None else {cap, own}
    for quantile in np.quantile(right, CURVE_QUANTILES).tolist() if right.size else ():
        tokens = round_up(quantile)
        if tokens < cap and all(abs(tokens - other) > CLOSE * other for other in found):
            found.add(tokens)
    return sorted(found)


def fixed_target(recipe: Recipe) -> int | None:
    """L_T, where the recipe fixes one."""
    if recipe.target is None or recipe.target.name != fixed.__name__:
        return None
    return int(recipe.target.parameters["tokens"])


def with_target(recipe: Recipe, *, target_tokens: int, cap_tokens: int | None = None) -> Recipe:
    """The recipe with another fixed target, and another cap if wanted."""
    sampling = recipe.sampling
    if cap_tokens is not None:
        sampling = sampling.model_copy(update={"cap_tokens": cap_tokens})
    target = NamedSection.model_validate({"name": fixed.__name__, "tokens": target_tokens})
    return recipe.model_copy(update={"sampling": sampling, "target": target})


def trace_targets(
    recipe: Recipe, pool: LintRecords, steps: Sequence[LintStep], targets: Sequence[int]
) -> tuple[CurveRow, ...]:
    """A row for each target length, judged by the recipe's own reward where its target is fixed;
    elsewhere only what is right within it. ``steps`` are of the recipe's cap."""
    judged = fixed_target(recipe) is not None
    rows = []
    for tokens in targets:
        changed = with_target(recipe, target_tokens=tokens) if judged else recipe
        row = target_row(changed, pool, push_all(changed, steps)[0], target_tokens=tokens)
        rows.append(row if judged else CurveRow(*row[:3], *[UNASKED] * 4))
    return tuple(rows)


def target_row(
    recipe: Recipe, pool: LintRecords, pushed: Pushed, *, target_tokens: int
) -> CurveRow:
    """The figures of a target length."""
    counts_RP = count_resamples(pool)
    shares = measure_shares(pushed, counts_RP=counts_RP)
    right_N = pushed.right_N & (pushed.tokens_N <= target_tokens)
    within = measure_shares(pushed._replace(right_N=right_N), counts_RP=counts_RP).right
    found = (
        within,
        shares.positive,
        shares.silent,
        shares.right_pushed_down,
        length_drift(pushed, counts_RP=counts_RP).total,
    )
    return CurveRow(
        target_tokens,
        recipe.sampling.cap_tokens,
        *(Estimate(each.estimate, each.low, each.high) for each in found),
    )


def wanted_sizes(recipe: Recipe) -> list[int]:
    """Group sizes to estimate for: the usual ones and the recipe's."""
    return sorted({*GROUP_SIZES, recipe.sampling.samples_per_prompt})


def estimate_silent(
    recipe: Recipe, pool: LintRecords, *, sizes: Sequence[int]
) -> tuple[str, dict[int, Chance]]:
    """The share of groups without a signal at other N, and what it tells rollouts apart by.

    By what the reward pays each, where it pays each by itself; else by right and wrong. Nothing
    where no problem has two samples: one does not say how pass rates are spread.
    """
    if pool.samples_P.max(initial=0) < 2:
        return "nothing: one sample a problem does not say how pass rates are spread", {}
    if not _is_separate(recipe):
        right_PV = count_right(recipe, pool)
        none_P = np.zeros(len(right_PV), dtype=np.int64)
        by = "right and wrong by the verifier, since the reward depends on the whole group"
        return by, {n: silent_share(right_PV, none_P, draws=n) for n in sizes}
    keeping = recipe.sampling.model_copy(update={"without_signal": "keep"})
    whole = recipe.model_copy(update={"sampling": keeping})
    pushed, _ = push_all(whole, make_steps(pool, whole, samples=int(pool.samples_P.max())))
    problems, keep_N = len(pool.problems), pushed.keep_N
    _, kind_N = np.unique(pushed.reward_N[keep_N], return_inverse=True)
    kinds = int(kind_N.max(initial=-1)) + 1
    kinds_PV = np.zeros((problems, kinds), dtype=np.int64)
    np.add.at(kinds_PV, (pushed.problem_N[keep_N], kind_N), 1)
    masked_P = np.bincount(pushed.problem_N[~keep_N], minlength=problems)
    by = "what the reward pays"
    if recipe.sampling.without_signal != "keep":
        by += ", dropped groups aside"
    return by, {n: silent_share(kinds_PV, masked_P, draws=n) for n in sizes}


def _is_separate(recipe: Recipe) -> bool:
    masked = "masked" in recipe.treatment.cells.model_dump().values()
    return (
        rewards.Trait.FEW_KINDS in rewards.traits(recipe.reward.name)
        and not (recipe.target and targets.declared(recipe.target.name).moves)
        and recipe.filter is None
        and AdvantageTrait.PUSHES_ALONE not in advantages.traits(recipe.advantage.name)
        and not (masked and recipe.treatment.mask_scope == "loss-only")
    )


def count_right(recipe: Recipe, pool: LintRecords) -> np.ndarray:
    """Right and wrong samples of each problem, as the recipe's reward sees them: (P, 2)."""
    counts_PV = np.zeros((len(pool.problems), 2), dtype=np.int64)
    for step in make_steps(pool, recipe, samples=int(pool.samples_P.max())):
        for row, view in zip(step.rows, step.views, strict=True):
            counts_PV[row] += (int(view.right_G.sum()), int((~view.right_G).sum()))
    return counts_PV


def share_unknown(recipe: Recipe, pool: LintRecords) -> float:
    """Of the graded samples, those that were cut below the recipe's cap."""
    table = pool.table
    cut_PS = ~table.finished_PS & (table.tokens_PS < recipe.sampling.cap_tokens)
    return float(cut_PS[table.graded_PS].mean())


def estimate_cost(
    recipe: Recipe, pool: LintRecords, pushed: Pushed, silent: Chance, *, speed: float | None
) -> Cost:
    """See ``Cost``; ``speed`` in tokens a second is of sampling and learning together."""
    sampling, learner, evaluation = recipe.sampling, recipe.learner, recipe.evaluation
    rounds = sampling.refill_rounds if sampling.without_signal == "refill" else 0
    again = silent.share if math.isfinite(silent.share) else 0.0
    groups = sampling.prompts_per_step * sum(again**k for k in range(rounds + 1))
    step_tokens = groups * sampling.samples_per_prompt * float(pushed.tokens_N.mean())
    table = pool.table
    top = max(evaluation.budgets)
    mean = float(np.minimum(table.tokens_PS[table.graded_PS], top).mean())
    judged = count_evaluations(recipe) * recipe.test_samples
    rollouts = sampling.prompts_per_step * sampling.samples_per_prompt * (rounds + 1)
    most = learner.rollout_tokens or math.inf
    training = min(learner.steps * step_tokens, most)
    return Cost(
        step_tokens=step_tokens,
        sampled_groups=groups,
        training_tokens=training,
        evaluation_tokens=judged * mean,
        most_tokens=learner.steps * rollouts * sampling.cap_tokens + judged * top,
        hours=(training + judged * mean) / speed / 3600 if speed else math.nan,
    )


def round_up(tokens: float) -> int:
    """To two digits, above 1,000 to a multiple of 256: a length that one would write."""
    unit = 256 if tokens > 1000 else 10 if tokens > 100 else 1
    return int(-(-tokens // unit) * unit)
