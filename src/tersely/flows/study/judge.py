"""Claims against results: an effect with its interval, and a verdict."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely.core.errors import ConfigError, no_such
from tersely.core.types import Problem
from tersely.dynamics.stages import estimate_stages
from tersely.flows.study.plan import Claim, NamedStudy, Side, lengths_of, resolve, unit_of
from tersely.flows.study.results import Result
from tersely.metrics.budgets import Protocol, score
from tersely.metrics.crossed import NOTHING, Effect, mean_effect, ratio_effect
from tersely.metrics.efficiency import area_over_log_budget
from tersely.metrics.lengths import average_tokens
from tersely.metrics.means import average_defined
from tersely.metrics.passk import count_tries, pass_at_k
from tersely.metrics.verdicts import ClaimVerdict, judge

# A run is lost if its held-out accuracy at the cap ends so far below where it began.
LOST_BELOW = -0.10
SMOOTH_STEPS = 10
EASY_ABOVE = 0.5


class JudgedStudy(NamedTuple):
    """A claim, what was measured, and the verdict."""

    claim: Claim
    effect: Effect
    verdict: ClaimVerdict


class Evidence(NamedTuple):
    """Finished runs of a base recipe by unit name, and its held-out problems."""

    base: Mapping[str, Any]
    problems: list[Problem]
    results: Mapping[str, Result]
    seeds: int

    def of(self, study: NamedStudy, arm: str) -> dict[int, Result]:
        """The finished runs of an arm, by seed."""
        found = {}
        for seed in range(1, self.seeds + 1):
            name = unit_of(self.base, study.study.arms[arm], seed=seed).name
            if name in self.results:
                found[seed] = self.results[name]
        return found

    @property
    def budgets_B(self) -> np.ndarray:
        """The budgets of the base recipe's evaluation, in tokens."""
        return np.array(self.base["evaluation"]["budgets"])


def judge_study(evidence: Evidence, study: NamedStudy) -> list[JudgedStudy]:
    """Every claim of a study, with what its finished runs say.

    Raises:
        ConfigError: a claim names a source, budget or column that there is not.
    """
    judged = []
    for claim in study.study.claims:
        effect = effect_of(evidence, study, claim)
        judged.append(
            JudgedStudy(claim, effect, judge(effect, relation=claim.relation, bound=claim.bound))
        )
    return judged


def effect_of(evidence: Evidence, study: NamedStudy, claim: Claim) -> Effect:
    """A claim's effect, over the seeds that all of its arms have finished."""
    runs = evidence.of(study, claim.of.arm)
    if claim.against is None:
        return mean_effect(_stack(evidence, claim, claim.of, runs, sorted(runs)))
    others = evidence.of(study, claim.against.arm)
    seeds = sorted(runs.keys() & others.keys())
    if not seeds:
        return NOTHING
    ours_KP = _stack(evidence, claim, claim.of, runs, seeds)
    theirs_KP = _stack(evidence, claim, claim.against, others, seeds)
    return ratio_effect(ours_KP, theirs_KP) if claim.relative else mean_effect(ours_KP - theirs_KP)


def _stack(
    evidence: Evidence, claim: Claim, side: Side, runs: Mapping[int, Result], seeds: Sequence[int]
) -> Float[np.ndarray, "K P"]:
    if not seeds:
        return np.zeros((0, 0))
    return np.stack([statistic(evidence, claim, side, runs[seed]) for seed in seeds])


def statistic(
    evidence: Evidence, claim: Claim, side: Side, result: Result
) -> Float[np.ndarray, " P"]:
    """One run's figure: for each held-out problem, or one for the run.  See ``Claim``."""
    match claim.statistic:
        case "curve":
            return np.array([curve_mean(result, claim.column, side.steps)])
        case "stage_end":
            log = result.log()
            end = estimate_stages(log.step_N, log.columns["tokens_mean"]).stage_end_step
            return np.array([end / result.last_step])
        case "rebound":
            return np.array([_rebound(result)])
        case "spent":
            return np.array([sum(tokens or 0.0 for tokens in result.steps["sampled_tokens"])])
        case _:
            values_P = _per_problem(evidence, claim, side.moment, result)
            if side.since is not None:
                values_P = values_P - _per_problem(evidence, claim, side.since, result)
            return np.asarray(values_P[_among(evidence.problems, claim.where)])


def _per_problem(
    evidence: Evidence, claim: Claim, moment: float, result: Result
) -> Float[np.ndarray, " P"]:
    table = result.table(moment, evidence.problems)
    if claim.statistic == "tokens":
        return average_tokens(table)
    lengths = lengths_of(evidence.base)
    budget = resolve(claim.budget, lengths, where="budget")
    least = resolve(claim.least or 1, lengths, where="least")
    from_least_B = evidence.budgets_B[evidence.budgets_B >= least]
    if claim.statistic == "area" and len(from_least_B) < 2:
        raise ConfigError(
            f"least = {claim.least!r} leaves {len(from_least_B)} of the budgets "
            f"{evidence.budgets_B.tolist()}, and an area needs two; lower it"
        )
    wanted_B = from_least_B if claim.statistic == "area" else np.array([budget])
    hits = score(table, budgets_B=wanted_B, protocol=Protocol.FINISHED)
    if claim.statistic == "area":
        return area_over_log_budget(hits.accuracy_PB, budgets_B=wanted_B)
    if claim.statistic == "pass_at_k":
        return pass_at_k(count_tries(hits.hits_PSB), k=claim.k)[:, 0]
    return np.asarray(hits.accuracy_PB[:, 0])


def _among(problems: Sequence[Problem], where: str | None) -> Bool[np.ndarray, " P"]:
    if where is None:
        return np.ones(len(problems), dtype=bool)
    if where in ("easy", "hard"):
        rate_P = np.array([1 - (p.difficulty or 0.0) for p in problems])
        return np.asarray((rate_P > EASY_ABOVE) == (where == "easy"))
    kept_P = np.array([problem.source == where for problem in problems])
    if not kept_P.any():
        known = ("easy", "hard", *sorted({problem.source for problem in problems}))
        raise ConfigError(no_such("source", where, known, of="held-out problems"))
    return kept_P


def curve_mean(result: Result, column: str, steps: tuple[float, float]) -> float:
    """Mean of a column of the log between two shares of the run; NaN if there is no value."""
    values = result.log().columns.get(column)
    if values is None:
        raise ConfigError(no_such("column", column, result.steps, of="the results"))
    low, high = (round(share * len(values)) for share in steps)
    part = values[min(low, len(values) - 1) : max(high, low + 1)]
    return float(np.nanmean(part)) if np.isfinite(part).any() else math.nan


def _rebound(result: Result) -> float:
    """``last / least - 1`` of the length, means over ten steps.

    Where the least mean is, every other step says; how low it is, the steps between them say. The
    least of many noisy means lies below all of them, and would tell of a rebound in any run.
    """
    tokens = result.log().columns["tokens_mean"]
    window = min(SMOOTH_STEPS, len(tokens))
    if window < 2:
        return math.nan
    half = window // 2
    between, others = (
        np.convolve(tokens[start::2], np.ones(half) / half, mode="valid")
        for start in (len(tokens) % 2, len(tokens) % 2 + 1)
    )
    return float(tokens[-window:].mean() / between[others.argmin()] - 1)


def changes_of_accuracy(result: Result, problems: list[Problem]) -> Float[np.ndarray, " P"]:
    """Accuracy at the cap on each held-out problem, the end minus the start."""
    ends = [result.table(moment, problems) for moment in (0.0, 1.0)]
    before, after = (
        score(
            table, budgets_B=np.array([table.reach_tokens]), protocol=Protocol.FINISHED
        ).accuracy_PB[:, 0]
        for table in ends
    )
    return np.asarray(after - before)


def change_of_accuracy(result: Result, problems: list[Problem]) -> float:
    """The mean of these over the problems that have a graded sample at both ends."""
    return float(average_defined(changes_of_accuracy(result, problems), axis=0))
