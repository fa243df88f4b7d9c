"""What a command prints with ``--json``: the figures behind its tables, as one document.

Numbers are not rounded, an undefined one is null, and every mean has its n and interval. The keys
are documented in docs/json.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tersely.flows.evaluate.several import ComparedSeveral
from tersely.flows.evaluate.swept import MeasuredSweep
from tersely.flows.price.architecture import Architecture
from tersely.flows.price.total import Price
from tersely.metrics.adherence import LengthPair
from tersely.metrics.allpairs import PairDifference
from tersely.metrics.changes import ProblemChange
from tersely.metrics.comparison import Comparison
from tersely.metrics.measures import Evaluation
from tersely.metrics.passrates import PassRate
from tersely.readers.sweeps import SweepLevel
from tersely.report.pages.exports import export_comparison, export_evaluation
from tersely.report.tables.conclusions import list_findings, warn_of_lost_problems
from tersely.report.tables.curated import SetView, summarise_rates
from tersely.report.tables.cut import head_evaluation
from tersely.report.tables.sweep import summarise_sweep, tell_failed_levels, tell_levels
from tersely.tasks.benchmarks import Benchmark


def describe_evaluation(evaluation: Evaluation, *, notes: Sequence[str]) -> dict[str, Any]:
    """Every figure of one evaluation."""
    return {
        "kind": "evaluation",
        "name": evaluation.title,
        "protocol": evaluation.protocol,
        "budget_of": evaluation.budget_of,
        "budgets_tokens": evaluation.budgets,
        "k": evaluation.ks,
        "cap_tokens": evaluation.cap_tokens,
        "n_problems": evaluation.n_problems,
        "samples_per_problem": evaluation.samples_per_problem,
        "failed": evaluation.failed,
        "ungraded": evaluation.ungraded,
        "missing": evaluation.missing,
        # No two accuracies differ by more than 1.
        "detectable": evaluation.detectable if evaluation.detectable <= 1 else None,
        "headlines": head_evaluation(evaluation),
        "notes": notes,
        "figures": export_evaluation(evaluation),
    }


def describe_comparison(
    comparison: Comparison, changes: Sequence[ProblemChange], *, names: tuple[str, str]
) -> dict[str, Any]:
    """Every figure of two evaluations side by side, and what may be concluded."""
    return {
        "kind": "comparison",
        "before": names[0],
        "after": names[1],
        "protocol": comparison.protocol,
        "budget_of": comparison.budget_of,
        "budgets_tokens": comparison.budgets,
        "cap_tokens": comparison.cap_tokens,
        "n_problems": comparison.n_problems,
        "samples_before": comparison.samples_before,
        "samples_after": comparison.samples_after,
        "ungraded_before": comparison.ungraded_before,
        "ungraded_after": comparison.ungraded_after,
        "notes": comparison.notes,
        "warning": warn_of_lost_problems(comparison, changes),
        "conclusions": list_findings(comparison, changes, names=names),
        "figures": export_comparison(comparison),
        "changed_problems": changes,
    }


def describe_several(several: ComparedSeveral) -> dict[str, Any]:
    """Every figure of three and more evaluations: the fronts, and each against the first."""
    return {
        "kind": "comparison of several",
        "names": several.names,
        "protocol": several.fronts.protocol,
        "budget_of": several.fronts.budget_of,
        "notes": several.notes,
        "fronts": [
            {
                "budget_tokens": front.budget_tokens,
                "points": dict(zip(several.names, front.points, strict=True)),
            }
            for front in several.fronts.fronts
        ],
        "against_first": {
            name: {
                "accuracy_p_holm": each.accuracy_p,
                "token_ratio_p_holm": each.token_ratio_p,
                **describe_comparison(
                    each.compared.comparison,
                    each.compared.changes,
                    names=(several.names[0], name),
                ),
            }
            for name, each in zip(several.names[1:], several.against, strict=True)
        },
    }


def describe_sweep(sweep: MeasuredSweep) -> dict[str, Any]:
    """Every figure of a sweep: its levels in order, and every pair of those that were sampled."""
    return {
        "kind": "sweep",
        "name": sweep.name,
        "over": sweep.kind,
        "protocol": sweep.sides[0].protocol,
        "cap_tokens": sweep.sides[0].table.cap_tokens,
        "n_problems": len(sweep.sides[0].table.keys),
        "samples_per_problem": sweep.sides[0].table.tokens_PS.shape[1],
        "conclusions": [*summarise_sweep(sweep), *tell_failed_levels(sweep)],
        "notes": sweep.notes,
        "levels": [_describe_level(sweep, level) for level in sweep.record.levels],
        "pairs": [
            _describe_pair(sweep, length, accuracy)
            for length, accuracy in zip(sweep.adherence.pairs, sweep.accuracy, strict=True)
        ],
    }


def _describe_level(sweep: MeasuredSweep, level: SweepLevel) -> dict[str, Any]:
    """What it sends, and what came of it where it was sampled."""
    entry: dict[str, Any] = asdict(level)
    entry["failed"] = entry.pop("refused")
    names = [each.name for each in sweep.levels]
    if level.name not in names:
        return entry
    at = names.index(level.name)
    point, judged = sweep.front.points[at], sweep.adherence.levels[at]
    return entry | {
        **judged._asdict(),
        "failed_samples": sweep.sides[at].failed,
        "against": [names[other] for other in judged.against],
        "conclusion": tell_levels(sweep)[at],
        "accuracy": point.accuracy,
        "dominated_by": [names[other] for other in point.dominated_by],
        "settled": point.settled,
    }


def _describe_pair(
    sweep: MeasuredSweep, length: LengthPair, accuracy: PairDifference
) -> dict[str, Any]:
    return {
        "first": sweep.levels[accuracy.first].name,
        "second": sweep.levels[accuracy.second].name,
        "state": length.state,
        "equal_texts": length.equal_texts,
        "texts": length.texts,
        "tokens": _describe_difference(length.tokens),
        "accuracy": _describe_difference(accuracy),
    }


def _describe_difference(pair: PairDifference) -> dict[str, Any]:
    return {
        "difference": pair.difference,
        "p": pair.p,
        "p_holm": pair.p_holm,
        "detectable": pair.detectable,
    }


def describe_sets(rates: Sequence[PassRate], sets: Mapping[str, SetView]) -> dict[str, Any]:
    """Pass rates of all prompts and of each set, by source, and what was left out."""
    return {
        "kind": "curation",
        "sampled": summarise_rates(rates),
        "sets": [
            {
                "name": name,
                "rule": view.rule,
                "prompts": len(view.rates),
                "by_source": summarise_rates(view.rates),
                "left_out": [{"source": source, "reason": why} for source, why in view.left_out],
            }
            for name, view in sets.items()
        ],
    }


def describe_price(
    settings: Mapping[str, Any], cost: str, model: Architecture | None, prices: Sequence[Price]
) -> dict[str, Any]:
    """A resolved recipe and what it costs, one entry for each GPU and length."""
    return {
        "kind": "price",
        "recipe": settings,
        "cost": cost,
        "parameters": model and model.parameters,
        "prices": [
            {
                **price._asdict(),
                "step_s": price.step_s,
                "step_gpu_hours": price.step_gpu_hours,
                "steps_gpu_hours": price.step_gpu_hours * price.steps,
                "evaluation_gpu_hours": price.evaluation_gpu_hours,
                "fits": price.fits,
            }
            for price in prices
        ],
    }


def describe_benchmark(benchmark: Benchmark) -> dict[str, Any]:
    """A line of ``tersely benchmarks``."""
    return {
        "name": benchmark.name,
        "problems": benchmark.rows,
        "grader": benchmark.grader,
        "licence": benchmark.licence,
        "dataset": benchmark.dataset,
        "revision": benchmark.revision,
        "gated": benchmark.gated,
    }
