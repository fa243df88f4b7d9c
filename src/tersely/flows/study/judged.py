"""From results to what is drawn: every study judged, its arms summed up, predictions counted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from tersely.core.errors import DataError
from tersely.core.types import Problem
from tersely.flows.study.judge import (
    LOST_BELOW,
    Evidence,
    change_of_accuracy,
    changes_of_accuracy,
    curve_mean,
    judge_study,
)
from tersely.flows.study.outcomes import (
    ArmOutcome,
    ClaimOutcome,
    Confusion,
    StudyOutcome,
    StudyTrace,
    TracedProblem,
)
from tersely.flows.study.plan import Claim, NamedStudy, units_of
from tersely.flows.study.pool import StudyPool
from tersely.flows.study.results import RIGHT, Result, read_results, traced_problems
from tersely.flows.study.work import StudyFolders
from tersely.metrics.budgets import Protocol, score
from tersely.metrics.crossed import NOTHING, Effect, mean_effect
from tersely.metrics.efficiency import area_over_log_budget
from tersely.metrics.lengths import average_tokens
from tersely.metrics.verdicts import Relation
from tersely.tasks.problems import digest

DRAWN = ("tokens_mean", "accuracy", "positive_share", "entropy_mean")
ERROR = "error"
# The first steps, in shares of a run, over which the rewarded share of the start is taken.
BEGINNING = (0.0, 0.05)


def gather(
    base: Mapping[str, Any], studies: Sequence[NamedStudy], bench: StudyFolders, *, seeds: int
) -> Evidence:
    """All finished runs of these studies.

    Raises:
        DataError: a result's file is damaged, or it is of other held-out problems than the pool's.
    """
    found = read_results(bench.results)
    names = [unit.name for unit in units_of(base, studies, seeds=seeds)]
    results = {name: found[name] for name in names if name in found}
    problems = StudyPool(bench.pool.folder).held_out() if results else []
    _check_held_out(problems, results, bench)
    return Evidence(base, problems, results, seeds)


def _check_held_out(
    problems: Sequence[Problem], results: Mapping[str, Result], bench: StudyFolders
) -> None:
    """Refuses results of other held-out problems: their samples would be taken for these'."""
    known = digest(problems)
    for name, result in results.items():
        if result.held_out != known:
            raise DataError(
                f"result {name} is of other held-out problems ({result.held_out}) than "
                f"{bench.pool.folder} holds ({known}); restore the pool that {bench.results} was "
                "made with, or remove these results and their runs are made again"
            )


def sum_up(evidence: Evidence, study: NamedStudy) -> StudyOutcome:
    """A study as it is drawn."""
    arms = [_arm(evidence, study, name) for name in study.study.arms]
    ends = [evidence.of(study, name) for name in study.study.arms]
    starts = _one_a_seed([result for runs in ends for result in runs.values()])
    return StudyOutcome(
        name=study.name,
        title=study.study.title,
        question=study.study.question,
        paper=study.study.paper,
        runs_done=sum(len(runs) for runs in ends),
        runs_wanted=evidence.seeds * len(ends),
        budgets_B=evidence.budgets_B,
        base_accuracy_B=_accuracies(evidence, starts, moment=0.0),
        base_area=_area(evidence, starts, moment=0.0),
        base_tokens=_tokens(evidence, starts, moment=0.0),
        arms=arms,
        claims=[
            ClaimOutcome(
                says=each.claim.says,
                paper=each.claim.paper,
                expected=expectation(each.claim),
                bound=each.claim.bound,
                effect=each.effect,
                verdict=each.verdict,
                unit=unit_of_claim(each.claim),
            )
            for each in judge_study(evidence, study)
        ],
        traced=_traced(evidence, study),
    )


def expectation(claim: Claim) -> str:
    """A claim's bound in words."""
    unit = unit_of_claim(claim)
    size = claim.bound * (100 if unit in ("pp", "%") else 1)
    number = f"{size:+g}" if claim.against and size else f"{size:g}"
    if claim.relation is Relation.WITHIN:
        return f"within ±{size:g} {unit}".rstrip()
    return f"{claim.relation.value} {number.replace('-', '−')} {unit}".rstrip()


def unit_of_claim(claim: Claim) -> str:
    """What its effect is counted in."""
    if claim.relative or claim.statistic in ("stage_end", "rebound"):
        return "%"
    if claim.statistic in ("accuracy", "pass_at_k", "area"):
        return "pp"
    if claim.statistic in ("tokens", "spent") or claim.column.endswith("tokens_mean"):
        return "tokens"
    return "nats" if claim.column.startswith("entropy") else "pp"


def _arm(evidence: Evidence, study: NamedStudy, name: str) -> ArmOutcome:
    runs = list(evidence.of(study, name).values())
    problems = evidence.problems
    changes = [change_of_accuracy(result, problems) for result in runs]
    watched = [result for result in runs if result.by_rl]
    return ArmOutcome(
        name=name,
        says=study.study.arms[name].says,
        seeds=len(runs),
        curves=_mean_curves(runs),
        accuracy_B=_accuracies(evidence, runs, moment=1.0),
        area=_area(evidence, runs, moment=1.0),
        tokens=_tokens(evidence, runs, moment=1.0),
        rewarded=_rewarded(runs),
        change=_change(problems, runs),
        lost=sum(change < LOST_BELOW for change in changes),
        watched=len(watched),
        foretold=sum(_foretold(result) for result in watched),
        alarmed=sum(_first(result, errors_only=False) is not None for result in watched),
        errors=sum(_first(result, errors_only=True) is not None for result in watched),
    )


def _mean_curves(runs: Sequence[Result]) -> dict[str, np.ndarray]:
    if not runs:
        return {}
    logs = [result.log() for result in runs]
    shortest = min(len(log.step_N) for log in logs)
    stacked = {
        name: np.stack([log.columns[name][:shortest] for log in logs])
        for name in DRAWN
        if all(name in log.columns for log in logs)
    }
    return {name: values_KN.mean(axis=0) for name, values_KN in stacked.items()}


def _accuracies(evidence: Evidence, runs: Sequence[Result], *, moment: float) -> list[Effect]:
    if not runs:
        return [NOTHING] * len(evidence.budgets_B)
    values_KPB = np.stack(
        [
            score(
                result.table(moment, evidence.problems),
                budgets_B=evidence.budgets_B,
                protocol=Protocol.FINISHED,
            ).accuracy_PB
            for result in runs
        ]
    )
    return [_mean_between(values_KPB[:, :, at], most=1.0) for at in range(values_KPB.shape[2])]


def _area(evidence: Evidence, runs: Sequence[Result], *, moment: float) -> Effect:
    if not runs:
        return NOTHING
    tables = [result.table(moment, evidence.problems) for result in runs]
    budgets_B = evidence.budgets_B
    hits = [score(table, budgets_B=budgets_B, protocol=Protocol.FINISHED) for table in tables]
    areas_KP = np.stack(
        [area_over_log_budget(hit.accuracy_PB, budgets_B=budgets_B) for hit in hits]
    )
    return _mean_between(areas_KP, most=1.0)


def _tokens(evidence: Evidence, runs: Sequence[Result], *, moment: float) -> Effect:
    if not runs:
        return NOTHING
    tables = [result.table(moment, evidence.problems) for result in runs]
    tokens_KP = np.stack([average_tokens(table) for table in tables])
    return _mean_between(tokens_KP, most=np.inf)


def _rewarded(runs: Sequence[Result]) -> Effect:
    """Undefined where nothing was rewarded because nothing was trained by RL."""
    if not runs or not all(result.by_rl for result in runs):
        return NOTHING
    shares = [curve_mean(result, "positive_share", BEGINNING) for result in runs]
    return _mean_between(np.array(shares)[:, None], most=1.0)


def _mean_between(values_KP: Float[np.ndarray, "K P"], *, most: float) -> Effect:
    """The mean of values from 0 to ``most``; its interval, by t, is cut where they end."""
    effect = mean_effect(values_KP)
    low, high = np.clip([effect.low, effect.high], 0.0, most).tolist()
    return effect._replace(low=low, high=high)


def _change(problems: list[Problem], runs: Sequence[Result]) -> Effect:
    if not runs:
        return NOTHING
    return mean_effect(np.stack([changes_of_accuracy(result, problems) for result in runs]))


def _traced(evidence: Evidence, study: NamedStudy) -> list[TracedProblem]:
    """Answers of each arm's first run that kept any, and of the base model before the first."""
    runs = {
        name: result
        for name in study.study.arms
        for result in list(evidence.of(study, name).values())[:1]
        if result.evaluations[-1].texts
    }
    if not runs:
        return []
    base = next(iter(runs.values()))
    return [
        TracedProblem(
            source=problem.source,
            question=problem.prompt,
            traces=[
                _trace("base model", base, 0, at=at, row=row),
                *(_trace(name, result, -1, at=at, row=row) for name, result in runs.items()),
            ],
        )
        for at, row in enumerate(traced_problems(evidence.problems))
        for problem in [evidence.problems[row]]
    ]


def _trace(by: str, result: Result, moment: int, *, at: int, row: int) -> StudyTrace:
    """The ``at``-th kept text, the first sample of the ``row``-th problem."""
    evaluated, first = result.evaluations[moment], row * result.samples
    right = evaluated.right[first] == str(RIGHT)
    return StudyTrace(by, evaluated.tokens[first], right, evaluated.texts[at])


def _one_a_seed(results: Sequence[Result]) -> list[Result]:
    """The base model is evaluated by every run; runs of one seed do it alike."""
    return list({result.seed: result for result in results}.values())


def count_predictions(evidence: Evidence) -> list[Confusion]:
    """Lint's errors and the alarms of training against the runs of RL that were lost."""
    results = [result for result in evidence.results.values() if result.by_rl]
    lost = [change_of_accuracy(r, evidence.problems) < LOST_BELOW for r in results]
    named: dict[str, list[float | None]] = {
        "lint: an error, before the run": [0.0 if _foretold(r) else None for r in results],
        "diagnose: an alarm of severity error": [_first(r, errors_only=True) for r in results],
        "diagnose: any alarm": [_first(r, errors_only=False) for r in results],
    }
    return [_confusion(name, steps, lost, results) for name, steps in named.items()]


def _foretold(result: Result) -> bool:
    return any(finding.severity == ERROR for finding in result.lint)


def _first(result: Result, *, errors_only: bool) -> float | None:
    steps = [
        alarm.step
        for alarm in result.alarms
        if alarm.step is not None and (alarm.severity == ERROR or not errors_only)
    ]
    return float(min(steps)) if steps else None


def _confusion(
    name: str, steps: Sequence[float | None], lost: Sequence[bool], results: Sequence[Result]
) -> Confusion:
    pairs = list(zip(steps, lost, strict=True))
    leads = [
        result.last_step - step
        for step, is_lost, result in zip(steps, lost, results, strict=True)
        if is_lost and step is not None
    ]
    return Confusion(
        name=name,
        lost_named=sum(step is not None and is_lost for step, is_lost in pairs),
        lost_missed=sum(step is None and is_lost for step, is_lost in pairs),
        sound_named=sum(step is not None and not is_lost for step, is_lost in pairs),
        sound_silent=sum(step is None and not is_lost for step, is_lost in pairs),
        lead_steps=float(np.median(leads)) if leads and "lint" not in name else np.nan,
    )
