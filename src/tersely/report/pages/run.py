"""A run folder's report: reads its records, has them measured, writes ``report.html``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tersely.core import jsonl
from tersely.core.digests import check_record_file, check_step_log
from tersely.core.errors import DataError
from tersely.core.manifest import (
    RunManifest,
    list_facts,
    list_identity,
    read_manifest,
)
from tersely.core.storage import write_atomically
from tersely.core.types import AlarmRecord, EvalRecord, Problem, StepRecord, StepTiming
from tersely.dynamics.log import log_records
from tersely.dynamics.stages import Stages, estimate_stages
from tersely.flows.recipe.recipe import RECIPE_FILE, Recipe, read_recipe
from tersely.metrics.budgets import Protocol, score
from tersely.metrics.changes import ProblemChange, list_changes
from tersely.metrics.comparison import Comparison, compare, compare_families, pair
from tersely.metrics.numbers import format_ratio, name_cap
from tersely.metrics.records import SampleTable, tabulate
from tersely.report.charts.figures import (
    draw_budget_curve,
    draw_length_histograms,
)
from tersely.report.charts.training import EvalPoint, draw_training
from tersely.report.pages.html import Figure, Reader, Tile, render_page
from tersely.report.pages.levels import (
    RunLevels,
    draw_levels,
    measure_levels,
    tabulate_levels,
    tell_stated,
)
from tersely.report.pages.traces import pair_traces
from tersely.report.tables.comparison import (
    BOLD,
    FamilyRow,
    TableBlock,
    choose_headline,
    format_families,
    format_rows,
    write_caption,
)
from tersely.report.tables.conclusions import warn_of_lost_problems
from tersely.report.tables.matrices import Matrix
from tersely.report.tables.stages import describe_stages, tell_alarms
from tersely.report.tables.words import define, describe_protocol

BOOTSTRAP_SEED = 0
FILTERS = (("all", "all"), ("fixed", "fixed by training"), ("broken", "broken by training"))


class RunFolder(NamedTuple):
    """What a run folder holds; evaluations by training step, in order."""

    name: str
    manifest: RunManifest
    recipe: Recipe
    steps: list[StepRecord]
    timings: list[StepTiming]
    evaluations: dict[int, list[EvalRecord]]
    problems: dict[str, Problem]
    alarms: Sequence[AlarmRecord] = ()


class MeasuredRun(NamedTuple):
    """The first and last evaluation side by side, and the run between them."""

    before: SampleTable
    after: SampleTable
    overall: Comparison
    changes: list[ProblemChange]
    families: tuple[Comparison, ...]
    points: list[EvalPoint]
    stages: Stages
    budgets: list[int]
    levels: RunLevels


class Report(NamedTuple):
    """The written page, and what it shows."""

    page: Path
    overall: Comparison
    changes: list[ProblemChange]
    levels: RunLevels
    figures: Sequence[Figure]


class RunPage(NamedTuple):
    """Everything the page shows but the traces."""

    title: str
    summary: str
    alarms: Sequence[Sequence[str]]
    protocol: str
    notes: Sequence[str]
    tiles: Sequence[Tile]
    overall: TableBlock
    everything: TableBlock
    families: Sequence[FamilyRow]
    family_tables: Sequence[TableBlock]
    figures: Sequence[Figure]
    facts: Mapping[str, Mapping[str, Any]]
    glossary: Mapping[str, str]
    efforts: Matrix | None


def write_report(
    run_folder: Path,
    *,
    page: Path | None = None,
    budgets: Sequence[int] = (),
    ks: Sequence[int] = (),
) -> Report:
    """Compares the first evaluation with the last and writes a page.

    Args:
        page: default: ``report.html`` in the folder.
        budgets: default: the recipe's.
        ks: tries for Pass@k; default: the samples a problem.
    Raises:
        ConfigError: a budget is above the sampled cap, or a k above the samples a problem.
        DataError: if a file is damaged or there are fewer than two evaluations.
    """
    drawn = draw_report(run_folder, budgets=budgets, ks=ks)
    page = page or run_folder / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, drawn.text)
    return Report(page, drawn.overall, drawn.changes, drawn.levels, drawn.figures)


class Drawn(NamedTuple):
    """The page's text, and what it shows."""

    text: str
    overall: Comparison
    changes: list[ProblemChange]
    levels: RunLevels
    figures: Sequence[Figure]


def draw_report(run_folder: Path, *, budgets: Sequence[int] = (), ks: Sequence[int] = ()) -> Drawn:
    """The page of the folder as it is now.

    Raises:
        DataError: if a file is damaged or there are fewer than two evaluations.
    """
    run = read_run(run_folder)
    measured = measure(run, budgets=budgets, ks=ks)
    page = build_page(run, measured)
    text = render_page(
        "run.html.j2",
        page,
        reader=build_reader(run, budgets=measured.budgets),
        grid=None,
    )
    return Drawn(text, measured.overall, measured.changes, measured.levels, page.figures)


def read_run(run_folder: Path) -> RunFolder:
    """Reads a run folder; ``problems.jsonl`` (answers, families) and step logs are optional.

    Raises:
        DataError: a file is damaged or was edited, or there are fewer than two evaluations.
    """
    check_step_log(run_folder)
    for file in (run_folder / "eval").glob("step-*.jsonl"):
        check_record_file(file)
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
        manifest=read_manifest(run_folder, RunManifest),
        recipe=read_recipe(run_folder / RECIPE_FILE),
        steps=_read_optional(run_folder / "steps.jsonl", StepRecord),
        timings=_read_optional(run_folder / "timings.jsonl", StepTiming),
        evaluations=evaluations,
        problems={p.id: p for p in _read_optional(run_folder / "problems.jsonl", Problem)},
        alarms=_read_optional(run_folder / "alarms.jsonl", AlarmRecord),
    )


def measure(run: RunFolder, *, budgets: Sequence[int] = (), ks: Sequence[int] = ()) -> MeasuredRun:
    """Everything the page shows that is a number."""
    tables = {step: tabulate(records) for step, records in run.evaluations.items()}
    paired = pair(*(list(tables.values())[i] for i in (0, -1)))
    sides = paired.before, paired.after
    budgets = sorted(budgets or run.recipe.evaluation.budgets)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    families = [
        run.problems[problem].source if problem in run.problems else benchmark
        for benchmark, problem in paired.before.keys
    ]
    split = len(set(families)) > 1
    overall = compare("All problems", *sides, budgets=budgets, ks=ks or None, rng=rng)
    return MeasuredRun(
        before=paired.before,
        after=paired.after,
        overall=overall._replace(notes=paired.notes),
        changes=list_changes(*sides, budget_tokens=budgets[-1], protocol=Protocol.FINISHED),
        families=compare_families(*sides, families=families, budgets=budgets, rng=rng)
        if split
        else (),
        points=[_measure_point(step, table) for step, table in tables.items()],
        stages=estimate_stages(
            np.array([float(r.step) for r in run.steps]),
            np.array([r.tokens_mean for r in run.steps]),
        ),
        budgets=budgets,
        levels=measure_levels(
            run.recipe, run.evaluations, problems=[*run.problems.values()], rng=rng
        ),
    )


def build_page(run: RunFolder, measured: MeasuredRun) -> RunPage:
    """The measured run, arranged as a page."""
    ends = list(run.evaluations)
    overall = measured.overall
    return RunPage(
        title=f"Run {run.name}",
        summary=(
            f"Before: the evaluation at step {ends[0]:,}; after: at step {ends[-1]:,}. "
            f"{write_caption(overall)}"
        ),
        alarms=[
            alarm
            for alarm in (
                warn_of_lost_problems(overall, measured.changes),
                tell_alarms(run.alarms),
            )
            if alarm
        ],
        protocol=f"protocol {overall.protocol.value}",
        notes=[*overall.notes, *tell_stated(measured.levels)],
        tiles=_tiles(overall),
        overall=block_of(overall),
        everything=block_of(overall)._replace(rows=format_rows(overall.measures)),
        families=format_families(measured.families),
        family_tables=[block_of(comparison) for comparison in measured.families],
        figures=_figures(run, measured),
        facts=_facts(run, measured),
        glossary=define(m.name for m in overall.measures),
        efforts=tabulate_levels(measured.levels),
    )


def build_reader(run: RunFolder, *, budgets: Sequence[int]) -> Reader:
    """One trace a problem from the first and from the last evaluation."""
    first, last = (list(run.evaluations.values())[i] for i in (0, -1))
    traces = pair_traces(first, last, problems=run.problems, budgets=budgets)
    kept = sum(r.pieces is not None for r in first)
    shown = f"{len(traces)} of {kept} kept traces are shown. " if len(traces) < kept else ""
    return Reader(
        sides=("before", "after"),
        budgets=budgets,
        traces=traces,
        filters=FILTERS,
        note="One sampled trace a problem and evaluation. A blue mark stands where that many "
        f"tokens have been spent. {shown}Fixed: wrong or unfinished before, correct and finished "
        "after; broken is the reverse. One sample is an anecdote: the table above is the "
        "measurement.",
    )


def _read_optional(path: Path, type_: type[Any]) -> list[Any]:
    return jsonl.read(path, type_) if path.exists() else []


def _measure_point(step: int, table: SampleTable) -> EvalPoint:
    at_cap = score(table, budgets_B=np.array([table.reach_tokens]), protocol=Protocol.FINISHED)
    graded_N = table.tokens_PS[table.graded_PS]
    tokens_mean = float(graded_N.mean()) if graded_N.size else float("nan")
    return EvalPoint(step=step, accuracy=float(at_cap.accuracy_B[0]), tokens_mean=tokens_mean)


def block_of(comparison: Comparison) -> TableBlock:
    """The headline of a comparison as a table."""
    return TableBlock(
        title=f"{comparison.title} (protocol {comparison.protocol.value})",
        rows=format_rows(choose_headline(comparison)),
        caption=write_caption(comparison) + BOLD,
    )


def _tiles(comparison: Comparison) -> list[Tile]:
    budgets = comparison.budgets
    middle, last = budgets[len(budgets) // 2], budgets[-1]
    rows = format_rows(
        comparison.find(name, budget)
        for name, budget in (
            ("mean tokens", None),
            *(("accuracy", budget) for budget in sorted({middle, last})),
            ("truncated share", None),
        )
    )
    changes = [
        format_ratio(comparison.token_ratio, p=comparison.token_ratio_p),
        *(row.difference for row in rows[1:]),
    ]
    return [
        Tile(row.label, row.before.estimate, row.after.estimate, change)
        for row, change in zip(rows, changes, strict=True)
    ]


def _figures(run: RunFolder, measured: MeasuredRun) -> list[Figure]:
    overall = measured.overall
    rests = write_caption(overall)
    figures = [
        Figure(
            "budgets",
            f"Accuracy at token budgets (protocol {overall.protocol.value})",
            f"Bands: 95% intervals. {rests}",
            draw_budget_curve(overall),
        ),
        Figure(
            "lengths",
            f"Completion length by correctness (protocol {overall.protocol.value})",
            "Dashed: mean length given correct and given wrong. A completion cut at the cap "
            f"counts with the cap's length. {rests}",
            draw_length_histograms(measured.before, measured.after),
        ),
    ]
    figures += draw_levels(measured.levels)
    if run.steps:
        last_step = max(record.step for record in run.steps)
        figures.append(
            Figure(
                "training",
                f"Training steps (evaluations: protocol {overall.protocol.value})",
                describe_stages(measured.stages, last_step=last_step)
                + " Thin lines: each step; thick: moving average. Diamonds: evaluations at the "
                + "cap. "
                + ("Dashed red lines: alarms, where first raised. " if run.alarms else "")
                + describe_protocol(overall.protocol),
                draw_training(
                    log_records(run.steps),
                    stages=measured.stages,
                    evaluations=measured.points,
                    alarms=run.alarms,
                ),
            )
        )
    return figures


def _facts(run: RunFolder, measured: MeasuredRun) -> dict[str, dict[str, Any]]:
    settings = run.recipe.model_dump(exclude_none=True, mode="json")
    facts = {
        "Run": list_facts(run.manifest.facts),
        "Recipe": _flatten(settings),
        "Made from": list_identity(run.manifest),
    }
    measured_facts = {
        "budgets (tokens)": ", ".join(f"{b:,}" for b in measured.budgets),
        "sampled cap (tokens)": name_cap(measured.before.cap_tokens),
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
            flat[prefix + key] = str(value)
    return flat
