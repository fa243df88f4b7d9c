"""``tersely report``."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Group

from tersely.cli.frame import (
    check_folder,
    check_written,
    messages,
    numbers,
    plain_errors,
    show,
)
from tersely.cli.options import ReadOptions, flattened, reader_options
from tersely.core.errors import ConfigError, TerselyWarning, no_such
from tersely.metrics.budgets import Protocol
from tersely.metrics.records import BudgetOf
from tersely.readers.sweeps import check_sampled, is_sweep
from tersely.report.pages.library import begin_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from tersely.flows.evaluate.swept import MeasuredSweep
    from tersely.readers.evaluations import Loaded

PAGE = "report.html"


@dataclass(frozen=True, kw_only=True)
class WrittenOptions:
    """What is measured, and where it is written."""

    budgets: Annotated[str | None, typer.Option(help="Budgets in tokens: 2048,4096,8192.")] = None
    budget_of: Annotated[
        BudgetOf,
        typer.Option(
            help="What budgets count, if not tokens: turns, how often the model spoke; or "
            "model-tokens, those that no tool wrote."
        ),
    ] = BudgetOf.TOKENS
    k: Annotated[str | None, typer.Option(help="Tries for Pass@k and the like: 1,4,8.")] = None
    protocol: Annotated[
        Protocol | None,
        typer.Option(help="What counts as right at a budget. Default: the evaluation's own."),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html. Default: beside the data.")
    ] = None
    markdown: Annotated[
        Path | None, typer.Option("--md", help="Also write the tables as Markdown.")
    ] = None
    csv: Annotated[Path | None, typer.Option(help="Also write every figure as CSV.")] = None
    png: Annotated[Path | None, typer.Option(help="Also write the pictures to this folder.")] = None

    def check(self) -> None:
        """ConfigError where something else stands in the place of a file or folder."""
        check_written(md=self.markdown, csv=self.csv)
        check_folder(out=self.out, png=self.png)

    @property
    def files(self) -> tuple[Path | None, Path | None, Path | None]:
        """Where tables, figures and pictures go."""
        return self.markdown, self.csv, self.png


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Whether texts are graded again, and what comes of it."""

    regrade: Annotated[
        str | None,
        typer.Option(
            help="Grade the file's texts again with this grader: math, number, choice, exact, ... "
            "With --tokenizer, prefixes too.",
            metavar="GRADER",
        ),
    ] = None
    written: WrittenOptions = field(default_factory=WrittenOptions)


@flattened
def report(
    path: Annotated[
        Path, typer.Argument(help="Evaluation, sweep or run folder, or a file of records.")
    ],
    reading: ReadOptions,
    options: ReportOptions,
) -> None:
    """Tables and pictures of one evaluation, sweep or training run: terminal and report.html."""
    with plain_errors():
        options.written.check()
        if path.exists():
            begin_library()
        if is_sweep(path):
            _refuse_for_sweep(path, reading, options)
            page = (options.written.out or path) / PAGE
            show_sweep(path, Files(page, png=options.written.png))
            return
        if (path / "steps.jsonl").is_file():
            _refuse_for_run(path, reading, options)
            _report_run(path, options)
            return
        check_sampled(path)
        load = _loader(reading, regrade=options.regrade)
        written = options.written
        wanted = numbers(written.budgets, option="--budgets")
        loaded = load(path, budgets=wanted, protocol=written.protocol, budget_of=written.budget_of)
        folder = written.out or (path if path.is_dir() else path.parent)
        page = folder / (PAGE if path.is_dir() else f"{loaded.name}-{PAGE}")
        files = Files(page, *written.files)
        show_evaluation(loaded, files, ks=numbers(written.k, option="--k"))


class Files(NamedTuple):
    """Where to write the page, and, if wanted, tables, figures and pictures."""

    page: Path
    markdown: Path | None = None
    csv: Path | None = None
    png: Path | None = None


def _refuse_for_run(path: Path, reading: ReadOptions, options: ReportOptions) -> None:
    """ConfigError for an option that a run folder, which says it all itself, cannot honour."""
    stated = {
        "--from": reading.from_ != "tersely",
        "--tokenizer": reading.tokenizer,
        "--cap-tokens": reading.cap_tokens,
        "--column": reading.column,
        "--only-model": reading.only_model,
        "--benchmark-name": reading.benchmark_name,
        "--regrade": options.regrade,
        "--protocol": options.written.protocol not in (None, Protocol.FINISHED),
        "--budget-of": options.written.budget_of is not BudgetOf.TOKENS,
    }
    for name, given in stated.items():
        if given:
            raise ConfigError(
                f"{path} is a run folder, which {name} does not apply to; leave it out, or give "
                f"one of the evaluations in {path / 'eval'}"
            )


def _refuse_for_sweep(path: Path, reading: ReadOptions, options: ReportOptions) -> None:
    """ConfigError for an option that the levels of a sweep take one by one."""
    written = options.written
    stated = {
        "--from": reading.from_ != "tersely",
        "--tokenizer": reading.tokenizer,
        "--cap-tokens": reading.cap_tokens,
        "--column": reading.column,
        "--only-model": reading.only_model,
        "--benchmark-name": reading.benchmark_name,
        "--regrade": options.regrade,
        "--budgets": written.budgets,
        "--k": written.k,
        "--protocol": written.protocol not in (None, Protocol.FINISHED),
        "--budget-of": written.budget_of is not BudgetOf.TOKENS,
        "--md": written.markdown,
        "--csv": written.csv,
    }
    for name, given in stated.items():
        if given:
            raise ConfigError(
                f"{path} is a sweep's folder, which {name} does not apply to here; give it to "
                f"tersely compare {path}, or to tersely report with a level's folder in it"
            )


def _report_run(path: Path, options: ReportOptions) -> None:
    budgets = numbers(options.written.budgets, option="--budgets")
    ks = numbers(options.written.k, option="--k")
    page = None if options.written.out is None else options.written.out / PAGE
    show_run(path, Files(page or path / PAGE, *options.written.files), budgets=budgets, ks=ks)


def show_run(
    folder: Path,
    files: "Files | None" = None,
    *,
    budgets: Sequence[int] = (),
    ks: Sequence[int] = (),
) -> None:
    """Draws a run's report, writes exports, prints its table and says where the page is."""
    from tersely.report.pages import exports
    from tersely.report.pages.levels import describe_run_levels, draw_run_levels
    from tersely.report.pages.run import write_report
    from tersely.report.tables.documents import describe_comparison
    from tersely.report.tables.terminal import draw_headline

    messages.print("drawing the report ...")
    files = files or Files(folder / PAGE)
    written = write_report(folder, page=files.page, budgets=budgets, ks=ks)
    names, overall, changes = ("before", "after"), written.overall, written.changes
    if files.csv:
        exports.write_csv(exports.export_comparison(overall), files.csv)
    if files.markdown:
        text = exports.format_comparison(overall, changes, names=names)
        exports.write_markdown(text, files.markdown)
    if files.png:
        exports.write_pngs(written.figures, files.png)
    described = describe_comparison(overall, changes, names=names)
    described |= {"kind": "run", "run": str(folder), **describe_run_levels(written.levels)}
    show(Group(draw_headline(overall), *draw_run_levels(written.levels)), described)
    say_where(written.page)


def show_evaluation(loaded: "Loaded", files: Files, *, ks: Sequence[int] = ()) -> None:
    """Measures one evaluation, writes exports and page, and prints its tables."""
    from tersely.flows.evaluate.measuring import measure_loaded, tell_basis
    from tersely.flows.evaluate.none_right import tell_none_right, tell_right_but_cut
    from tersely.report.pages import evaluation as pages
    from tersely.report.pages import exports
    from tersely.report.tables.documents import describe_evaluation

    measured = measure_loaded(loaded, ks=ks)
    doubts = list(tell_none_right(loaded))
    for doubt in doubts:
        warnings.warn(doubt, TerselyWarning, stacklevel=2)
    loaded = loaded._replace(
        notes=(*doubts, *tell_basis(measured), *tell_right_but_cut(loaded), *loaded.notes)
    )
    if files.csv:
        exports.write_csv(exports.export_evaluation(measured), files.csv)
    if files.markdown:
        text = exports.format_evaluation(measured, notes=loaded.notes)
        exports.write_markdown(text, files.markdown)
    show(
        pages.draw_evaluation(measured, notes=loaded.notes),
        describe_evaluation(measured, notes=loaded.notes),
    )
    messages.print("drawing the report ...")
    if files.png:
        exports.write_pngs(pages.draw_figures(loaded, measured), files.png)
    say_where(pages.write_evaluation(loaded, measured, out=files.page))


def show_sweep(folder: Path, files: Files) -> "MeasuredSweep":
    """Measures a sweep, prints its tables and writes its page and pictures."""
    from tersely.flows.evaluate.swept import measure_sweep
    from tersely.report.pages import exports
    from tersely.report.pages import sweep as pages
    from tersely.report.tables.documents import describe_sweep

    measured = measure_sweep(folder)
    show(pages.draw_sweep(measured), describe_sweep(measured))
    messages.print("drawing the report ...")
    if files.png:
        exports.write_pngs([pages.draw_figure(measured)], files.png)
    say_where(pages.write_sweep_page(measured, out=files.page))
    return measured


def say_where(page: Path) -> None:
    """Names the page on standard output."""
    show(f"report: {page}", {"page": page})


def _loader(reading: ReadOptions, *, regrade: str | None) -> "Callable[..., Loaded]":
    """Loads evaluations as the options say."""
    from tersely.readers.evaluations import load
    from tersely.readers.packing import plain_stem
    from tersely.tasks import grading

    if regrade is not None and regrade not in grading.names():
        raise ConfigError(no_such("grader", regrade, grading.names()))
    stated = replace(reader_options(reading), grader=regrade)

    def load_one(path: Path, **wanted: Any) -> "Loaded":
        options = replace(stated, run=plain_stem(path))
        return load(path, reader=reading.from_, options=options, **wanted)

    return load_one
