"""A run folder's report: reads its records, has them measured, writes ``report.html``."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tersely.core import jsonl
from tersely.core.errors import DataError
from tersely.core.manifest import Manifest, read_manifest, write_atomically
from tersely.core.types import EvalRecord, Problem, StepRecord, StepTiming
from tersely.dynamics.stages import Stages, estimate_stages
from tersely.metrics.budgets import score_budgets
from tersely.metrics.comparison import Comparison, compare, compare_families, pair
from tersely.metrics.records import SampleTable, tabulate
from tersely.report.figures import (
    EvalPoint,
    draw_budget_curve,
    draw_length_histograms,
    draw_training,
)
from tersely.report.html import Figure, Page, TableBlock, Tile, render_page
from tersely.report.tables import (
    UNDEFINED,
    format_families,
    format_ratio,
    format_rows,
    write_caption,
)
from tersely.report.traces import pair_traces

BOOTSTRAP_SEED = 0
DEFAULT_BUDGETS = 5
BOLD = " Bold: the interval excludes 0."


class RunFolder(NamedTuple):
    """What a run folder holds; evaluations by training step, in order."""

    name: str
    manifest: Manifest
    recipe: Mapping[str, Any]
    steps: list[StepRecord]
    timings: list[StepTiming]
    evaluations: dict[int, list[EvalRecord]]
    problems: dict[str, Problem]


class Measured(NamedTuple):
    """The first and last evaluation side by side, and the run between them."""

    before: SampleTable
    after: SampleTable
    overall: Comparison
    families: tuple[Comparison, ...]
    points: list[EvalPoint]
    stages: Stages
    budgets: list[int]


class Report(NamedTuple):
    """The written page, and the comparison that it shows."""

    page: Path
    overall: Comparison


def write_report(run_folder: Path) -> Report:
    """Compares the first evaluation with the last and writes ``report.html`` into the folder.

    Raises:
        DataError: if a file is damaged or there are fewer than two evaluations.
    """
    run = read_run(run_folder)
    measured = measure(run)
    page = run_folder / "report.html"
    write_atomically(page, render_page(build_page(run, measured)))
    return Report(page, measured.overall)


def read_run(run_folder: Path) -> RunFolder:
    """Reads a run folder; ``problems.jsonl`` (answers, families) and step logs are optional."""
    evaluations = {
        int(path.stem.removeprefix("step-")): jsonl.read(path, EvalRecord)
        for path in sorted((run_folder / "eval").glob("step-*.jsonl"))
    }
    evaluations = dict(sorted(evaluations.items()))
    if len(evaluations) < 2:
        raise DataError(
            f"{run_folder}/eval holds {len(evaluations)} evaluations; a report needs the one "
            "before training and one after"
        )
    return RunFolder(
        name=run_folder.resolve().name,
        manifest=read_manifest(run_folder),
        recipe=tomllib.loads((run_folder / "recipe.toml").read_text(encoding="utf-8")),
        steps=_read_optional(run_folder / "steps.jsonl", StepRecord),
        timings=_read_optional(run_folder / "timings.jsonl", StepTiming),
        evaluations=evaluations,
        problems={p.id: p for p in _read_optional(run_folder / "problems.jsonl", Problem)},
    )


def measure(run: RunFolder) -> Measured:
    """Everything the page shows that is a number."""
    tables = {step: tabulate(records) for step, records in run.evaluations.items()}
    before, after = pair(*(list(tables.values())[i] for i in (0, -1)))
    budgets = choose_budgets(run.recipe, cap_tokens=before.cap_tokens)
    budgets_B = np.array(budgets)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    families = [
        run.problems[problem].source if problem in run.problems else benchmark
        for benchmark, problem in before.keys
    ]
    split = len(set(families)) > 1
    return Measured(
        before=before,
        after=after,
        overall=compare("All problems", before, after, budgets_B=budgets_B, rng=rng),
        families=compare_families(before, after, families=families, budgets_B=budgets_B, rng=rng)
        if split
        else (),
        points=[_measure_point(step, table) for step, table in tables.items()],
        stages=estimate_stages(
            np.array([float(r.step) for r in run.steps]),
            np.array([r.tokens_mean for r in run.steps]),
        ),
        budgets=budgets,
    )


def choose_budgets(recipe: Mapping[str, Any], *, cap_tokens: int) -> list[int]:
    """The recipe's ``evaluation.budgets``, or the sampled cap and its halves, five in all."""
    stated = recipe.get("evaluation", {}).get("budgets")
    if stated:
        return sorted({int(budget) for budget in stated})
    return sorted({max(1, cap_tokens >> halving) for halving in range(DEFAULT_BUDGETS)})


def build_page(run: RunFolder, measured: Measured) -> Page:
    """The measured run, arranged as a page."""
    traces_kept = sum(r.pieces is not None for r in next(iter(run.evaluations.values())))
    ends = list(run.evaluations)
    return Page(
        title=f"Run {run.name}",
        summary=(
            f"Before: the evaluation at step {ends[0]:,}; after: at step {ends[-1]:,}. "
            f"{write_caption(measured.overall)}"
        ),
        tiles=_tiles(measured.overall),
        overall=_block(measured.overall),
        families=format_families(measured.families),
        family_tables=[_block(comparison) for comparison in measured.families],
        figures=_figures(run, measured),
        facts=_facts(run, measured),
        traces=pair_traces(
            *(list(run.evaluations.values())[i] for i in (0, -1)), problems=run.problems
        ),
        traces_total=traces_kept,
        budgets=measured.budgets,
    )


def describe_stages(stages: Stages, *, last_step: int) -> str:
    """What the fit says about the two stages, in a sentence."""
    if np.isnan(stages.stage_end_step):
        return (
            "No stages are shaded: an exponential decay that lowers length by 20% or more "
            "does not describe this run."
        )
    end = (
        f"ends at about step {stages.stage_end_step:,.0f}"
        if stages.stage_end_step <= last_step
        else f"is still under way at the last step (extrapolated end: step "
        f"{stages.stage_end_step:,.0f})"
    )
    return (
        f"Length adaptation, stage one, {end}: length decays from {stages.initial_tokens:,.0f} "
        f"to a plateau of {stages.plateau_tokens:,.0f} tokens with a time constant of "
        f"{stages.tau_steps:,.0f} steps (R² {stages.r_squared:.2f}); 5% of the drop remains there."
    )


def _read_optional(path: Path, type_: type[Any]) -> list[Any]:
    return jsonl.read(path, type_) if path.exists() else []


def _measure_point(step: int, table: SampleTable) -> EvalPoint:
    scored = score_budgets(
        table.correct_PS,
        table.finished_PS,
        table.tokens_PS,
        table.graded_PS,
        budgets_B=np.array([table.cap_tokens]),
        cap_tokens=table.cap_tokens,
    )
    graded_N = table.tokens_PS[table.graded_PS]
    tokens_mean = float(graded_N.mean()) if graded_N.size else float("nan")
    return EvalPoint(step=step, accuracy=float(scored.accuracy_B[0]), tokens_mean=tokens_mean)


def _block(comparison: Comparison) -> TableBlock:
    return TableBlock(
        title=comparison.title,
        rows=format_rows(comparison),
        caption=write_caption(comparison) + BOLD,
    )


def _tiles(comparison: Comparison) -> list[Tile]:
    rows = format_rows(comparison)
    ratio = format_ratio(comparison.token_ratio)
    tokens = rows[0]
    accuracies = [m for m in comparison.measures if m.name == "accuracy"]
    budgets = [m.budget_tokens for m in accuracies]
    labels = {
        f"Accuracy within {b:,} tokens" for b in (budgets[len(budgets) // 2], budgets[-1]) if b
    }
    shown = [row for row in rows if row.label in labels or row.label == "Truncated share"]
    return [
        Tile(tokens.label, tokens.before.estimate, tokens.after.estimate, ratio),
        *(
            Tile(row.label, row.before.estimate, row.after.estimate, row.difference)
            for row in sorted(shown, key=lambda row: row.label == "Truncated share")
        ),
    ]


def _figures(run: RunFolder, measured: Measured) -> list[Figure]:
    n = f"{measured.overall.n_problems:,} problems × {measured.overall.samples_per_problem} samples"
    figures = [
        Figure(
            "budgets",
            "Accuracy at token budgets",
            "A sample counts when it is correct, ended by itself and took no more tokens than "
            f"the budget. Bands: 95% intervals over problems; n = {n}.",
            draw_budget_curve(measured.overall),
        ),
        Figure(
            "lengths",
            "Completion length by correctness",
            "Dashed: mean length given correct and given wrong. A completion cut at the cap "
            f"counts with the cap's length. n = {n}, ungraded ones left out.",
            draw_length_histograms(measured.before, measured.after),
        ),
    ]
    if run.steps:
        last_step = max(record.step for record in run.steps)
        figures.append(
            Figure(
                "training",
                "Training steps",
                describe_stages(measured.stages, last_step=last_step)
                + " Thin lines: each step; thick: moving average. Diamonds: evaluations, all "
                "budgets up to the cap.",
                draw_training(run.steps, stages=measured.stages, evaluations=measured.points),
            )
        )
    return figures


def _facts(run: RunFolder, measured: Measured) -> dict[str, dict[str, str]]:
    facts = {"Run": dict(run.manifest.facts), "Recipe": _flatten(run.recipe)}
    facts["Made from"] = dict(run.manifest.identity)
    measured_facts = {
        "budgets (tokens)": ", ".join(f"{b:,}" for b in measured.budgets),
        "sampled cap (tokens)": f"{measured.before.cap_tokens:,}",
        "evaluated at steps": ", ".join(str(step) for step in run.evaluations),
        "training steps": f"{len(run.steps):,}",
        "sampled tokens in training": f"{sum(r.sampled_tokens for r in run.steps):,}",
        "bootstrap seed": str(BOOTSTRAP_SEED),
    }
    for part in ("sample", "grade", "learn", "other") if run.timings else ():
        seconds = sum(getattr(timing, f"{part}_s") for timing in run.timings)
        measured_facts[f"time to {part}" if part != "other" else "other time"] = f"{seconds:,.1f} s"
    return {**facts, "Measured": measured_facts}


def _flatten(values: Mapping[str, Any], *, prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, prefix=f"{prefix}{key}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            flat[prefix + key] = " ".join(str(each) for each in value)
        else:
            flat[prefix + key] = UNDEFINED if value is None else str(value)
    return flat
