"""``tersely report`` and ``tersely compare``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tersely.cli.frame import messages, numbers, output, plain_errors
from tersely.core.errors import ConfigError
from tersely.metrics.budgets import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from tersely.readers.evaluations import Loaded
    from tersely.readers.formats import Options

PAGE = "report.html"
# Two files that do not name their benchmark are compared as of one.
UNNAMED = "benchmark"

From = Annotated[
    str,
    typer.Option(
        "--from",
        help="Who wrote the file: tersely, table (any JSONL, JSON or Parquet), lighteval, lm_eval, "
        "inspect_ai, qwen_math, verl, trl.",
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(help="Tokenizer folder to count tokens with, where a file holds no counts."),
]
Cap = Annotated[
    int | None,
    typer.Option("--cap-tokens", help="Sampled cap in tokens, where a file does not hold it."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="OURS=THEIRS, e.g. --column tokens=n_tokens. Repeatable."),
]
OnlyModel = Annotated[str | None, typer.Option(help="Only this model's samples.")]
Regrade = Annotated[
    str | None,
    typer.Option(
        help="Grade the file's texts again with this grader: math, number, choice, exact, ... "
        "With --tokenizer, prefixes too.",
        metavar="GRADER",
    ),
]
Benchmark = Annotated[str | None, typer.Option(help="Name of the benchmark, where none is given.")]
Budgets = Annotated[str | None, typer.Option(help="Budgets in tokens: 2048,4096,8192.")]
Ks = Annotated[str | None, typer.Option("--k", help="Tries for Pass@k and the like: 1,4,8.")]
Wanted = Annotated[
    Protocol | None,
    typer.Option(help="What counts as right at a budget. Default: what it was evaluated for."),
]
Out = Annotated[Path | None, typer.Option(help="Folder for report.html. Default: beside the data.")]
Markdown = Annotated[Path | None, typer.Option("--md", help="Also write the tables as Markdown.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Also write every figure as CSV.")]
Png = Annotated[Path | None, typer.Option("--png", help="Also write the pictures to this folder.")]


def report(
    path: Annotated[Path, typer.Argument(help="Evaluation or run folder, or a file of records.")],
    from_: From = "tersely",
    tokenizer: Tokenizer = None,
    cap_tokens: Cap = None,
    column: Columns = None,
    only_model: OnlyModel = None,
    benchmark: Benchmark = None,
    regrade: Regrade = None,
    budgets: Budgets = None,
    k: Ks = None,
    protocol: Wanted = None,
    out: Out = None,
    markdown: Markdown = None,
    csv: Csv = None,
    png: Png = None,
) -> None:
    """Tables and pictures of one evaluation (or of a training run): terminal and report.html."""
    with plain_errors():
        if (path / "steps.jsonl").is_file():
            _show_run(path)
            return
        load = _loader(from_, tokenizer, cap_tokens, column, only_model, benchmark, regrade)
        wanted = numbers(budgets, option="--budgets")
        loaded = load(path, budgets=wanted, protocol=protocol)
        folder = out or (path if path.is_dir() else path.parent)
        page = folder / (PAGE if path.is_dir() else f"{loaded.name}-{PAGE}")
        files = Files(page, markdown, csv, png)
        show_evaluation(loaded, files, ks=numbers(k, option="--k"))


def compare(
    before: Annotated[Path, typer.Argument(help="Evaluation folder or file, the reference.")],
    after: Annotated[Path, typer.Argument(help="The other, on the same problems.")],
    from_: From = "tersely",
    tokenizer: Tokenizer = None,
    cap_tokens: Cap = None,
    column: Columns = None,
    only_model: OnlyModel = None,
    benchmark: Benchmark = None,
    regrade: Regrade = None,
    budgets: Budgets = None,
    k: Ks = None,
    protocol: Wanted = None,
    out: Out = None,
    markdown: Markdown = None,
    csv: Csv = None,
    png: Png = None,
) -> None:
    """Paired difference of two evaluations, at every budget, with intervals."""
    with plain_errors():
        load = _loader(
            from_, tokenizer, cap_tokens, column, only_model, benchmark, regrade, unnamed=UNNAMED
        )
        wanted = numbers(budgets, option="--budgets")
        left, right = (load(path, budgets=wanted, protocol=protocol) for path in (before, after))
        if left.name == right.name:
            left, right = (
                side._replace(name=f"{path.resolve().parent.name}-{side.name}")
                for side, path in ((left, before), (right, after))
            )
        folder = out or (after if after.is_dir() else after.parent)
        page = folder / f"compare-{left.name}-{right.name}.html"
        files = Files(page, markdown, csv, png)
        _show_comparison(left, right, files, budgets=wanted, ks=numbers(k, option="--k"))


class Files(NamedTuple):
    """Where to write the page, and, if wanted, tables, figures and pictures."""

    page: Path
    markdown: Path | None = None
    csv: Path | None = None
    png: Path | None = None


def show_evaluation(loaded: "Loaded", files: Files, *, ks: Sequence[int] = ()) -> None:
    """Measures one evaluation, writes exports and page, and prints its tables."""
    from tersely.flows.evaluate.measuring import measure_loaded, tell_basis
    from tersely.report.pages import evaluation as pages
    from tersely.report.pages import exports

    measured = measure_loaded(loaded, ks=ks)
    loaded = loaded._replace(notes=(*tell_basis(measured), *loaded.notes))
    if files.csv:
        exports.write_csv(exports.export_evaluation(measured), files.csv)
    if files.markdown:
        text = exports.format_evaluation(measured, notes=loaded.notes)
        exports.write_markdown(text, files.markdown)
    output().print(pages.draw_evaluation(measured, notes=loaded.notes))
    messages.print("drawing the report ...")
    if files.png:
        exports.write_pngs(pages.draw_figures(loaded, measured), files.png)
    _say_where(pages.write_evaluation(loaded, measured, out=files.page))


def _show_comparison(
    before: "Loaded", after: "Loaded", files: Files, *, budgets: Sequence[int], ks: Sequence[int]
) -> None:
    from tersely.flows.evaluate.measuring import compare_loaded
    from tersely.report.pages import comparison as pages
    from tersely.report.pages import exports

    left, right, compared, changes = compare_loaded(before, after, budgets=budgets, ks=ks)
    names = left.name, right.name
    if files.csv:
        exports.write_csv(exports.export_comparison(compared), files.csv)
    if files.markdown:
        text = exports.format_comparison(compared, changes, names=names)
        exports.write_markdown(text, files.markdown)
    output().print(pages.draw_comparison(compared, changes, names=names))
    messages.print("drawing the report ...")
    if files.png:
        exports.write_pngs(pages.draw_figures(left, right, compared, changes), files.png)
    _say_where(pages.write_comparison(left, right, compared, changes, out=files.page))


def _say_where(page: Path) -> None:
    output().print(f"report: {page}", highlight=False, soft_wrap=True)


def _loader(
    reader: str,
    tokenizer: str | None,
    cap_tokens: int | None,
    columns: list[str] | None,
    only_model: str | None,
    benchmark: str | None,
    regrade: str | None,
    *,
    unnamed: str | None = None,
) -> "Callable[..., Loaded]":
    """Loads evaluations as the options say."""
    from tersely.readers.evaluations import load
    from tersely.readers.packing import plain_stem

    stated = replace(
        reader_options(tokenizer, cap_tokens, columns, only_model, benchmark),
        grader=regrade,
        unnamed=unnamed,
    )

    def load_one(path: Path, *, budgets: Sequence[int], protocol: Protocol | None) -> "Loaded":
        options = replace(stated, run=plain_stem(path))
        return load(path, reader=reader, options=options, budgets=budgets, protocol=protocol)

    return load_one


def reader_options(
    tokenizer: str | None,
    cap_tokens: int | None,
    columns: list[str] | None,
    only_model: str | None,
    benchmark: str | None,
    *,
    run: str = "",
) -> "Options":
    """What the command line says of a file that the file does not say itself."""
    from tersely.readers.formats import Options

    return Options(
        run=run,
        count_tokens=None if tokenizer is None else _counter(tokenizer),
        cap_tokens=cap_tokens,
        benchmark=benchmark,
        model=only_model,
        columns=dict(_pair(entry) for entry in columns or ()),
    )


def _pair(entry: str) -> tuple[str, str]:
    ours, equals, theirs = entry.partition("=")
    if not (ours and equals and theirs):
        raise ConfigError(f"--column {entry!r} is not OURS=THEIRS; write --column tokens=n_tokens")
    return ours, theirs


def _counter(tokenizer: str) -> "Callable[[str], int]":
    from tersely.engines.tokens import make_counter

    return make_counter(tokenizer)


def _show_run(path: Path) -> None:
    from tersely.report.pages.run import write_report
    from tersely.report.tables.comparison import draw_table

    messages.print("drawing the report ...")
    written = write_report(path)
    output().print(draw_table(written.overall))
    _say_where(written.page)
