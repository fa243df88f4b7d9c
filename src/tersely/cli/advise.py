"""``tersely advise``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.compare import load_side
from tersely.cli.frame import check_folder, check_written, messages, numbers, plain_errors, show
from tersely.cli.options import flattened
from tersely.cli.report import say_where
from tersely.cli.sides import SideOptions, read_amounts, read_sides
from tersely.core.errors import ConfigError, shortened
from tersely.flows.evaluate.pairing import PairBy
from tersely.metrics.serving import CostAxis
from tersely.readers.sweeps import expand_sweeps

if TYPE_CHECKING:
    from tersely.flows.evaluate.advising import Wanted
    from tersely.metrics.serving import Rates

PAGE = "advice.html"
RECORDS = "records.jsonl"
Amounts = list[str] | None


@dataclass(frozen=True, kw_only=True)
class PriceOptions:
    """What tokens cost; each once for all, once for each in order, or numbered."""

    price_in: Annotated[
        Amounts,
        typer.Option(
            help="Price of a million prompt tokens, in any currency; as --from, e.g. 2:0.15. Needs "
            "--prompt-tokens."
        ),
    ] = None
    price_out: Annotated[
        Amounts,
        typer.Option(help="Price of a million completion tokens; as --from, e.g. 2:0.6."),
    ] = None
    prompt_tokens: Annotated[
        Amounts,
        typer.Option(help="Tokens of the mean prompt, paid once a vote; as --from, e.g. 2:140."),
    ] = None
    seconds_per_token: Annotated[
        Amounts,
        typer.Option(
            help="Seconds that one completion takes a token; votes run at the same time; as "
            "--from, e.g. 2:0.02."
        ),
    ] = None
    by: Annotated[
        CostAxis | None,
        typer.Option(help="What is to be low. Default: money where prices are given, else tokens."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AdviceOptions:
    """What is looked at, and where it is written."""

    caps: Annotated[
        str | None,
        typer.Option(
            help="Caps in tokens: 2048,4096. Default: the sampled cap, its halves and three "
            "quarters of each."
        ),
    ] = None
    votes: Annotated[
        str | None,
        typer.Option(help="Numbers of votes: 1,3,5. Default: 1,2,4,8, as far as samples go."),
    ] = None
    accuracy: Annotated[
        Amounts,
        typer.Option(
            help="An accuracy to find the cheapest way to, such as 60%. Repeatable. Default: whole "
            "tens of percent that are reached.",
            metavar="PERCENT",
        ),
    ] = None
    tolerance: Annotated[
        float,
        typer.Option(help="Points of accuracy that a lower cap may cost.", min=0.0, max=100.0),
    ] = 1.0
    out: Annotated[
        Path | None, typer.Option(help=f"Folder for {PAGE}. Default: beside the data.")
    ] = None
    csv: Annotated[Path | None, typer.Option(help="Also write every setting as CSV.")] = None
    png: Annotated[Path | None, typer.Option(help="Also write the picture to this folder.")] = None


@flattened
def advise(
    evaluations: Annotated[
        list[Path],
        typer.Argument(
            help="One or more evaluations of the same problems, folders or files; a folder of "
            "evaluations stands for all of them. The first is the reference.",
            metavar="EVALUATION...",
        ),
    ],
    reading: SideOptions,
    prices: PriceOptions,
    pair_by: Annotated[
        PairBy,
        typer.Option(
            help="How problems of two files are found to be the same; see tersely compare."
        ),
    ] = PairBy.AUTO,
    *,
    options: AdviceOptions,
) -> None:
    """Which cap, how many votes, which model or effort: accuracy against tokens or money."""
    with plain_errors():
        check_written(csv=options.csv)
        check_folder(out=options.out, png=options.png)
        paths = [level for path in expand_sweeps(evaluations) for level in expand_levels(path)]
        wanted = _read_wanted(options, prices, n=len(paths))
        _advise(paths, reading, wanted, options, pair_by=pair_by)


def expand_levels(path: Path) -> list[Path]:
    """The evaluations in a folder that holds some and is none itself; else itself."""
    if not path.is_dir() or (path / RECORDS).is_file():
        return [path]
    return sorted(inside.parent for inside in path.glob(f"*/{RECORDS}")) or [path]


def _advise(
    paths: Sequence[Path],
    reading: SideOptions,
    wanted: "Wanted",
    options: AdviceOptions,
    *,
    pair_by: PairBy,
) -> None:
    from tersely.flows.evaluate.advising import advise_serving
    from tersely.flows.evaluate.measuring import name_apart
    from tersely.metrics.budgets import Protocol
    from tersely.report.pages import advice as pages
    from tersely.report.pages.exports import write_pngs

    sides = read_sides(paths, reading, by_row=pair_by is PairBy.ROW)
    read = [
        load_side(side, place=place, budgets=(), protocol=Protocol.FINISHED)
        for place, side in enumerate(sides, start=1)
    ]
    loaded = name_apart(read, paths)
    messages.print("looking at every cap and number of votes ...")
    advice = advise_serving(loaded, wanted, pair_by=pair_by)
    if options.csv:
        pages.write_settings(advice, options.csv)
    show(pages.draw_advice(advice), pages.describe_advice(advice))
    messages.print("drawing the page ...")
    if options.png:
        write_pngs([pages.draw_figure(advice)], options.png)
    first = paths[0]
    folder = options.out or (first if first.is_dir() else first.parent)
    page = PAGE if options.out or first.is_dir() else f"{loaded[0].name}-{PAGE}"
    say_where(pages.write_advice(advice, out=folder / page))


def _read_wanted(options: AdviceOptions, prices: PriceOptions, *, n: int) -> "Wanted":
    from tersely.flows.evaluate.advising import Wanted

    rates = _read_rates(prices, n=n)
    return Wanted(
        axis=_choose_axis(prices, rates),
        rates=rates,
        caps=numbers(options.caps, option="--caps"),
        votes=numbers(options.votes, option="--votes"),
        accuracies=tuple(sorted({_read_share(each) for each in options.accuracy or ()})),
        tolerance=options.tolerance / 100,
    )


def _read_rates(prices: PriceOptions, *, n: int) -> "tuple[Rates, ...]":
    from tersely.metrics.serving import Rates

    price_in = read_amounts(prices.price_in, n, option="--price-in")
    price_out = read_amounts(prices.price_out, n, option="--price-out")
    prompt = read_amounts(prices.prompt_tokens, n, option="--prompt-tokens")
    seconds = read_amounts(prices.seconds_per_token, n, option="--seconds-per-token")
    for of_one, into, out in zip(prompt, price_in, price_out, strict=True):
        if into is not None and of_one is None:
            raise ConfigError(
                f"--price-in {into:g} needs the length of prompts, which records do not hold; "
                "give --prompt-tokens N"
            )
        if into is not None and out is None:
            raise ConfigError(f"--price-in {into:g} stands alone; give --price-out, too")
    for option, values in (("--price-out", price_out), ("--seconds-per-token", seconds)):
        if any(v is None for v in values) and any(v is not None for v in values):
            place = next(at for at, value in enumerate(values, start=1) if value is None)
            raise ConfigError(
                f"{option} is not given for evaluation {place} of {n}; give it for all, as in "
                f"{option} {place}:0.6"
            )
    filled = (
        [default if value is None else value for value in values]
        for values, default in (
            (price_in, 0.0),
            (price_out, float("nan")),
            (prompt, 0.0),
            (seconds, float("nan")),
        )
    )
    return tuple(Rates(*row) for row in zip(*filled, strict=True))


def _choose_axis(prices: PriceOptions, rates: "Sequence[Rates]") -> CostAxis:
    axis = prices.by or (CostAxis.MONEY if prices.price_out else CostAxis.TOKENS)
    needed = {
        CostAxis.MONEY: (
            "--price-out",
            [rate.price_out + rate.price_in * rate.prompt_tokens for rate in rates],
        ),
        CostAxis.SECONDS: ("--seconds-per-token", [rate.seconds_per_token for rate in rates]),
    }
    option, values = needed.get(axis, ("", [1.0]))
    if any(value != value for value in values):
        raise ConfigError(f"--by {axis.value} needs {option}; give it")
    if not all(values):
        raise ConfigError(
            f"{option} 0 makes evaluation {values.index(0.0) + 1} cost nothing, which nothing can "
            "be cheaper than; give a price above 0, or leave it out"
        )
    return axis


def _read_share(text: str) -> float:
    """``60%`` or ``0.6`` as a share."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d+)?|\.\d+)\s*(%?)", text.strip())
    share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 < share <= 1:
        fix = (
            f"write --accuracy {text.strip()}%"
            if found and not found[2] and 1 < share <= 100
            else ""
        )
        raise ConfigError(
            f"--accuracy {shortened(text)} is no accuracy above 0% and up to 100%; "
            f"{fix or 'write --accuracy 60%'}"
        )
    return share
