"""What ``tersely curate`` found: in the terminal, and as the card of a set."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from tersely.flows.curate.answers import WrittenAnswers
from tersely.metrics.intervals import Interval, averages, estimate
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import Cell, count, fixed, format_level, percent
from tersely.metrics.passrates import PassRate, count_bands
from tersely.report.tables.matrices import Matrix, MatrixRow
from tersely.report.tables.terminal import FittedTable, draw_text, draw_title

ALL = "all"
CAPTION = (
    "Pass rate: correct and ended by itself, of graded samples; brackets: 95% intervals over "
    "prompts; then how many prompts have which rate. Tokens: median over prompts of the median of "
    "their right samples. Truncated: share of graded samples cut at the cap."
)
DENSITY_CAPTION = " Positive density: right within {:,} tokens, of graded samples."


class SetView(NamedTuple):
    """One set as it is shown: its rule, what its prompts showed, and the others by source and
    reason."""

    rule: str
    rates: Sequence[PassRate]
    left_out: Sequence[tuple[str, str]]


class RateSummary(NamedTuple):
    """What the prompts of a source showed; NaN where it is not known.

    Args:
        bands: how many prompts have which pass rate.
        tokens_median: over prompts, of the median of their right samples.
    """

    prompts: int
    pass_rate: Interval
    bands: Mapping[str, int]
    tokens_median: float
    truncated_share: float
    ungraded_samples: int
    positive_density: Interval


def draw_curated(
    rates: Sequence[PassRate], sets: Mapping[str, SetView], *, target_tokens: int | None
) -> RenderableType:
    """Pass rates by source, of all prompts and of each set, and why the others are left out."""
    parts: list[RenderableType] = [
        draw_title("all prompts that were sampled"),
        FittedTable(tabulate_rates(rates)),
    ]
    for name, view in sets.items():
        title = f"{name}: {len(view.rates):,} prompts kept; {view.rule}"
        parts += [Text(), draw_title(title), FittedTable(tabulate_rates(view.rates))]
        if view.left_out:
            parts += [Text(), FittedTable(tabulate_left_out(view.left_out))]
    return Group(*parts, Text(), draw_text(_caption(target_tokens), "dim"))


def write_card(
    name: str,
    view: SetView,
    *,
    rates: Sequence[PassRate],
    facts: Mapping[str, str],
    target_tokens: int | None,
) -> str:
    """How a set was made and what it holds, as Markdown.

    Args:
        rates: of all prompts that were sampled.
        facts: how they were sampled and chosen from.
    """
    made = [f"| {_escape(key)} | {_escape(value)} |" for key, value in facts.items()]
    parts = [
        f"# Curated prompts: {name}",
        f"{len(view.rates):,} prompts. Rule: {_escape(view.rule)}.",
        "`problems.jsonl` is read by tersely, `verl.parquet` by verl, `trl.parquet` by TRL and "
        "`datasets`; all hold the same prompts. `difficulty` is 1 - pass rate; `reference_tokens` "
        "and `reference_accuracy` are the sampling model's mean length and pass rate. verl scores "
        "a `data_source` that it does not know by a reward function of your own. `dropped.jsonl` "
        "says of every other prompt why it was left out; `../prompts.jsonl` has what each prompt "
        "showed, with n and Wilson's 95% interval.",
        "## How it was made",
        "\n".join(["| | |", "|---|---|", *made]),
        "## This set",
        _format(tabulate_rates(view.rates)),
        "## All prompts that were sampled",
        _format(tabulate_rates(rates)),
        _escape(_caption(target_tokens)),
    ]
    if view.left_out:
        parts += ["## Left out", _format(tabulate_left_out(view.left_out))]
    return "\n\n".join(parts) + "\n"


def say_written(kind: str, written: WrittenAnswers) -> str:
    """What was written of one kind, and what was not, in words."""
    what = {"sft": "shortest right answer", "pairs": "pair"}[kind]
    said = [
        count(written.rows, what),
        f"{count(written.no_right, 'problem')} without a right one that ended by itself",
        *([f"{written.no_pair:,} without a longer one by the gap"] if kind == "pairs" else []),
        f"{written.ties:,} with several equally short ones, of which the first is taken",
        f"{count(written.cut, 'cut sample')}, never taken",
    ]
    return f"{kind}: {'; '.join(said)}"


def tabulate_rates(rates: Sequence[PassRate]) -> Matrix:
    """One row a source where there are several, and one for all."""
    columns = {name: _cells(part) for name, part in summarise_rates(rates).items()}
    heads = list(next(iter(columns.values())))
    if not any(each.ungraded for each in rates):
        heads.remove("ungraded samples")
    if not any(np.isfinite(each.density) for each in rates):
        heads.remove("positive density")
    return Matrix(
        title="source",
        heads=heads,
        rows=[
            MatrixRow(name, [cells[head] for head in heads], first=name == ALL)
            for name, cells in columns.items()
        ],
        caption="",
    )


def summarise_rates(rates: Sequence[PassRate]) -> dict[str, RateSummary]:
    """By source, and of all where there are several."""
    sources = sorted({each.source for each in rates})
    parts = {name: [each for each in rates if each.source == name] for name in sources}
    if len(sources) > 1:
        parts[ALL] = list(rates)
    return {name: _summarise(part) for name, part in parts.items()}


def tabulate_left_out(left_out: Iterable[tuple[str, str]]) -> Matrix:
    """How many prompts are left out for which reason, one column a source and one for all."""
    counts = Counter(left_out)
    sources = sorted({source for source, _ in counts})
    rows = []
    for reason in dict.fromkeys(reason for _, reason in counts):
        of_sources = [counts[source, reason] for source in sources]
        numbers = [*of_sources, sum(of_sources)] if len(sources) > 1 else of_sources
        rows.append(MatrixRow(reason, [Cell(f"{n:,}", "") for n in numbers]))
    heads = [*sources, ALL] if len(sources) > 1 else sources
    return Matrix(title="left out", heads=heads, rows=rows, caption="")


def _summarise(rates: Sequence[PassRate]) -> RateSummary:
    tokens = [each.tokens_correct_median for each in rates if each.right]
    graded = sum(each.n for each in rates)
    truncated = sum(each.truncated_share * each.n for each in rates if each.n)
    return RateSummary(
        prompts=len(rates),
        pass_rate=_mean([each.rate for each in rates], n_samples=graded),
        bands=count_bands(rates),
        tokens_median=float(np.median(tokens)) if tokens else math.nan,
        truncated_share=truncated / graded if graded else math.nan,
        ungraded_samples=sum(each.ungraded for each in rates),
        positive_density=_mean([each.density for each in rates], n_samples=graded),
    )


def _cells(found: RateSummary) -> dict[str, Cell]:
    return {
        "prompts": Cell(f"{found.prompts:,}", ""),
        "pass rate": format_level(found.pass_rate, Unit.SHARE),
        **{head: Cell(f"{count:,}", "") for head, count in found.bands.items()},
        "tokens": Cell(fixed(found.tokens_median, digits=0), ""),
        "truncated": Cell(percent(found.truncated_share), ""),
        "ungraded samples": Cell(f"{found.ungraded_samples:,}", ""),
        "positive density": format_level(found.positive_density, Unit.SHARE),
    }


def _mean(shares: Sequence[float], *, n_samples: int) -> Interval:
    (mean,) = estimate(
        averages(np.array(shares, dtype=np.float64)[:, None]),
        shares_M=np.array([True]),
        n_samples_M=np.array([n_samples]),
        # Shares take Wilson's interval, which draws nothing.
        counts_RP=np.zeros((0, len(shares)), dtype=np.uint8),
    )
    return mean


def _caption(target_tokens: int | None) -> str:
    return CAPTION + ("" if target_tokens is None else DENSITY_CAPTION.format(target_tokens))


def _format(matrix: Matrix) -> str:
    rows = [[row.label, *(cell.text for cell in row.cells)] for row in matrix.rows]
    lines = [[matrix.title, *matrix.heads], ["---", *["---:"] * len(matrix.heads)], *rows]
    return "\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines)


def _escape(text: str) -> str:
    """Text that cannot end its table cell, open a tag or span lines."""
    for character, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("[", "\\[")):
        text = text.replace(character, safe)
    return " ".join(text.split())
