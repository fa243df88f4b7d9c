"""``tersely compare``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import messages, numbers, plain_errors, show
from tersely.cli.options import flattened
from tersely.cli.report import Files, WrittenOptions, say_where
from tersely.cli.sides import SideOptions, SideToRead, read_sides, with_number
from tersely.core.errors import ConfigError, DataError
from tersely.flows.evaluate.pairing import PairBy
from tersely.metrics.records import BudgetOf
from tersely.readers.sweeps import expand_sweeps

if TYPE_CHECKING:
    from tersely.metrics.budgets import Protocol
    from tersely.readers.evaluations import Loaded

# A page of many evaluations is named by the first and their number.
MOST_NAMED = 2


@flattened
def compare(
    evaluations: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more evaluations, folders or files, on the same problems. The first is "
            "the reference. A sweep's folder stands for its levels.",
            metavar="REFERENCE OTHER...",
        ),
    ],
    reading: SideOptions,
    pair_by: Annotated[
        PairBy,
        typer.Option(
            help="How problems of two files are found to be the same. auto: by their names, or by "
            "their prompts where no name is in both; row: the n-th rows of tables without either."
        ),
    ] = PairBy.AUTO,
    *,
    options: WrittenOptions,
) -> None:
    """Paired differences at every budget, with intervals; of three or more, a Pareto front too."""
    with plain_errors():
        options.check()
        given, evaluations = evaluations, expand_sweeps(evaluations)
        _check_number(evaluations)
        sides = read_sides(evaluations, reading, by_row=pair_by is PairBy.ROW)
        budgets = numbers(options.budgets, option="--budgets")
        from tersely.flows.evaluate.measuring import name_apart

        loaded = name_apart(_load_all(sides, options, budgets=budgets), evaluations)
        files = _name_files(loaded, given[-1], options)
        ks = numbers(options.k, option="--k")
        show = _show_several if len(loaded) > MOST_NAMED else _show_two
        show(loaded, files, budgets=budgets, ks=ks, pair_by=pair_by)


def _check_number(evaluations: Sequence[Path]) -> None:
    if len(evaluations) < 2:
        raise ConfigError(
            f"compare takes two evaluations or more, and {evaluations[0]} is one; for the "
            "figures of one, use tersely report"
        )


def _name_files(loaded: "Sequence[Loaded]", last: Path, options: WrittenOptions) -> Files:
    folder = options.out or (last if last.is_dir() else last.parent)
    names = "-".join(side.name for side in loaded)
    if len(loaded) > MOST_NAMED:
        names = f"{loaded[0].name}-and-{len(loaded) - 1}-others"
    page = folder / f"compare-{names}.html"
    return Files(page, *options.files)


def _load_all(
    sides: Sequence[SideToRead], options: WrittenOptions, *, budgets: Sequence[int]
) -> "list[Loaded]":
    protocol, budget_of = options.protocol, options.budget_of
    return [
        load_side(side, place=place, budgets=budgets, protocol=protocol, budget_of=budget_of)
        for place, side in enumerate(sides, start=1)
    ]


def load_side(
    side: SideToRead,
    *,
    place: int,
    budgets: Sequence[int],
    protocol: "Protocol | None",
    budget_of: BudgetOf = BudgetOf.TOKENS,
) -> "Loaded":
    """One evaluation as it is asked to be read; errors name its place."""
    from tersely.readers.evaluations import load
    from tersely.readers.packing import plain_stem

    options = replace(side.options, run=plain_stem(side.path))
    try:
        return load(
            side.path,
            reader=side.reader,
            options=options,
            budgets=budgets,
            protocol=protocol,
            budget_of=budget_of,
        )
    except (ConfigError, DataError) as error:
        raise type(error)(with_number(str(error), place)) from error


def _show_two(
    loaded: "Sequence[Loaded]",
    files: Files,
    *,
    budgets: Sequence[int],
    ks: Sequence[int],
    pair_by: PairBy,
) -> None:
    from tersely.flows.evaluate.measuring import compare_loaded
    from tersely.report.pages import comparison as pages
    from tersely.report.pages import exports
    from tersely.report.tables.documents import describe_comparison

    left, right, compared, changes = compare_loaded(
        *loaded, budgets=budgets, ks=ks, pair_by=pair_by
    )
    names = left.name, right.name
    if files.csv:
        exports.write_csv(exports.export_comparison(compared), files.csv)
    if files.markdown:
        text = exports.format_comparison(compared, changes, names=names)
        exports.write_markdown(text, files.markdown)
    show(
        pages.draw_comparison(compared, changes, names=names),
        describe_comparison(compared, changes, names=names),
    )
    messages.print("drawing the report ...")
    if files.png:
        exports.write_pngs(pages.draw_figures(left, right, compared, changes), files.png)
    say_where(pages.write_comparison(left, right, compared, changes, out=files.page))


def _show_several(
    loaded: "Sequence[Loaded]",
    files: Files,
    *,
    budgets: Sequence[int],
    ks: Sequence[int],
    pair_by: PairBy,
) -> None:
    from tersely.flows.evaluate.several import compare_several
    from tersely.report.pages import exports
    from tersely.report.pages import several as pages
    from tersely.report.tables.documents import describe_several

    several = compare_several(loaded, budgets=budgets, ks=ks, pair_by=pair_by)
    if files.csv:
        exports.write_csv(exports.export_several(several), files.csv)
    if files.markdown:
        exports.write_markdown(exports.format_several(several), files.markdown)
    show(pages.draw_several(several), describe_several(several))
    messages.print("drawing the report ...")
    if files.png:
        exports.write_pngs(pages.draw_figures(several), files.png)
    say_where(pages.write_several(several, out=files.page))
