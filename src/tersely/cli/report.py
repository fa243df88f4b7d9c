"""``tersely report`` and ``tersely compare``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import messages, numbers, output, plain_errors
from tersely.core.errors import ConfigError
from tersely.metrics.budgets import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from tersely.adapters.evaluations import Loaded

BOOTSTRAP_SEED = 0
PAGE = "report.html"

From = Annotated[
    str,
    typer.Option(
        "--from",
        help="Who wrote the file: tersely, table (any JSONL or Parquet), lighteval, lm_eval, "
        "inspect_ai, verl, trl, slime.",
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
        load = _loader(from_, tokenizer, cap_tokens, column, only_model, benchmark)
        show_evaluation(
            path,
            protocol=protocol,
            budgets=numbers(budgets, option="--budgets"),
            ks=numbers(k, option="--k"),
            load=load,
            out=out,
            markdown=markdown,
            csv=csv,
            png=png,
        )


def compare(
    before: Annotated[Path, typer.Argument(help="Evaluation folder or file, the reference.")],
    after: Annotated[Path, typer.Argument(help="The other, on the same problems.")],
    from_: From = "tersely",
    tokenizer: Tokenizer = None,
    cap_tokens: Cap = None,
    column: Columns = None,
    benchmark: Benchmark = None,
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
        import numpy as np

        from tersely.metrics.budgets import spectrum
        from tersely.metrics.comparison import compare as compare_tables
        from tersely.metrics.comparison import list_changes, pair
        from tersely.report import comparison as pages

        load = _loader(from_, tokenizer, cap_tokens, column, None, benchmark)
        wanted = numbers(budgets, option="--budgets")
        left, right = (load(path, budgets=wanted, protocol=protocol) for path in (before, after))
        if left.protocol is not right.protocol:
            raise ConfigError(
                f"{left.name} was evaluated under the protocol {left.protocol!s}, {right.name} "
                f"under {right.protocol!s}; compare both under one with --protocol"
            )
        pairing = pair(left.table, right.table)
        cap = pairing.before.cap_tokens
        shared = [b for b in left.budgets if b in right.budgets and b <= cap]
        chosen = wanted or tuple(shared) or spectrum(cap)
        fewest = min(t.tokens_PS.shape[1] for t in (pairing.before, pairing.after))
        compared = compare_tables(
            f"{left.name} → {right.name}",
            pairing.before,
            pairing.after,
            budgets=chosen,
            ks=numbers(k, option="--k") or default_ks(fewest),
            protocol=left.protocol,
            rng=np.random.default_rng(BOOTSTRAP_SEED),
        )
        compared = compared._replace(notes=(*pairing.notes, *left.notes, *right.notes))
        changes = list_changes(
            pairing.before, pairing.after, budget_tokens=max(chosen), protocol=left.protocol
        )
        left, right = (
            side._replace(table=table)
            for side, table in zip((left, right), pairing[:2], strict=True)
        )
        output().print(pages.draw_comparison(compared, changes, names=(left.name, right.name)))
        folder = out or (after if after.is_dir() else after.parent)
        file = folder / f"compare-{left.name}-{right.name}.html"
        folder.mkdir(parents=True, exist_ok=True)
        written = pages.write_comparison(left, right, compared, changes, out=file)
        _say_where(written)
        _export_comparison(compared, (left.name, right.name), markdown, csv, png)


def show_evaluation(
    path: Path,
    *,
    protocol: Protocol | None = None,
    budgets: Sequence[int] = (),
    ks: Sequence[int] = (),
    load: "Callable[..., Loaded] | None" = None,
    out: Path | None = None,
    markdown: Path | None = None,
    csv: Path | None = None,
    png: Path | None = None,
) -> None:
    """Measures one evaluation, prints its tables and writes its page and exports."""
    import numpy as np

    from tersely.adapters.evaluations import load as load_ours
    from tersely.metrics.measures import measure
    from tersely.report import evaluation as pages

    loaded = (load or load_ours)(path, budgets=budgets, protocol=protocol)
    samples = loaded.table.tokens_PS.shape[1]
    evaluation = measure(
        loaded.table,
        title=loaded.name,
        budgets=loaded.budgets,
        ks=ks or default_ks(samples),
        protocol=loaded.protocol,
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    output().print(pages.draw_evaluation(evaluation, notes=loaded.notes))
    folder = out or (path if path.is_dir() else path.parent)
    folder.mkdir(parents=True, exist_ok=True)
    name = PAGE if path.is_dir() else f"{path.stem}-report.html"
    messages.print("drawing the report ...")
    _say_where(pages.write_evaluation(loaded, evaluation, out=folder / name))
    _export_evaluation(loaded, evaluation, markdown, csv, png)


def default_ks(samples: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to the samples a problem, and these."""
    powers = {1 << power for power in range(samples.bit_length())}
    return tuple(sorted({k for k in powers if k <= samples} | {samples}))


def _say_where(page: Path) -> None:
    output().print(f"report: {page}", highlight=False, soft_wrap=True)


def _loader(
    reader: str,
    tokenizer: str | None,
    cap_tokens: int | None,
    columns: list[str] | None,
    only_model: str | None,
    benchmark: str | None,
) -> "Callable[..., Loaded]":
    """Loads evaluations as the options say."""
    from tersely.adapters import readers
    from tersely.adapters.evaluations import load

    count = None if tokenizer is None else _counter(tokenizer)
    mapping = dict(_pair(entry) for entry in columns or ())

    def load_one(path: Path, *, budgets: Sequence[int], protocol: Protocol | None) -> "Loaded":
        options = readers.Options(
            run=path.stem,
            count_tokens=count,
            cap_tokens=cap_tokens,
            benchmark=benchmark,
            model=only_model,
            columns=mapping,
        )
        return load(path, reader=reader, options=options, budgets=budgets, protocol=protocol)

    return load_one


def _pair(entry: str) -> tuple[str, str]:
    ours, equals, theirs = entry.partition("=")
    if not (ours and equals and theirs):
        raise ConfigError(f"--column {entry!r} is not OURS=THEIRS; write --column tokens=n_tokens")
    return ours, theirs


def _counter(tokenizer: str) -> "Callable[[str], int]":
    from tersely.engines.tokens import make_counter

    return make_counter(tokenizer)


def _show_run(path: Path) -> None:
    from tersely.report.run import write_report
    from tersely.report.tables import draw_table

    messages.print("drawing the report ...")
    written = write_report(path)
    output().print(draw_table(written.overall))
    _say_where(written.page)
