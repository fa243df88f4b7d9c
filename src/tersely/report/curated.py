"""What ``tersely curate`` found, in the terminal."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from tersely.metrics.intervals import averages, estimate, resample_counts
from tersely.metrics.measures import Unit
from tersely.metrics.passrates import PassRate, count_bands
from tersely.report.cells import UNDEFINED, Cell, format_level
from tersely.report.matrices import Matrix, MatrixRow
from tersely.report.terminal import FittedTable, draw_title

BOOTSTRAP_SEED = 0


def draw_curated(
    rates: Sequence[PassRate],
    *,
    kept: Mapping[str, int],
    left_out: Mapping[str, Mapping[str, int]],
) -> RenderableType:
    """Pass rates by source; of each set, how many prompts it keeps and leaves out for what."""
    lines = [
        f"{name}: {n:,} prompts kept; left out: "
        + (", ".join(f"{reason} {m:,}" for reason, m in left_out[name].items()) or "none")
        for name, n in kept.items()
    ]
    return Group(
        draw_title("pass rates of the prompts"),
        FittedTable(tabulate_rates(rates)),
        Text(),
        *map(Text, lines),
        Text(),
        Text(
            "Pass rate: correct and ended by itself, of graded samples; brackets: 95% intervals "
            "over prompts. Tokens: median over prompts of the median of their right samples.",
            style="dim",
        ),
    )


def tabulate_rates(rates: Sequence[PassRate]) -> Matrix:
    """One row a source where there are several, and one for all."""
    sources = sorted({each.source for each in rates})
    rows = [(s, [each for each in rates if each.source == s]) for s in sources]
    rows = [*rows, ("all", list(rates))] if len(sources) > 1 else [("all", list(rates))]
    heads = ["prompts", "mean pass rate", *count_bands(rates), "tokens if right", "truncated"]
    return Matrix(
        title="source",
        heads=heads,
        rows=[MatrixRow(name, _cells(part), first=name == "all") for name, part in rows],
        caption="",
    )


def _cells(rates: Sequence[PassRate]) -> list[Cell]:
    tokens = [each.tokens_correct_median for each in rates if each.right]
    graded = sum(each.n for each in rates)
    known_P1 = np.array([[each.rate] for each in rates if each.n])
    (mean,) = estimate(
        averages(known_P1),
        shares_M=np.array([True]),
        n_samples_M=np.array([graded]),
        counts_RP=resample_counts(len(known_P1), rng=np.random.default_rng(BOOTSTRAP_SEED)),
    )
    truncated = sum(each.truncated_share * each.n for each in rates if each.n)
    return [
        Cell(f"{len(rates):,}", ""),
        format_level(mean, Unit.SHARE),
        *(Cell(f"{count:,}", "") for count in count_bands(rates).values()),
        Cell(f"{np.median(tokens):,.0f}" if tokens else UNDEFINED, ""),
        Cell(f"{truncated / graded:.1%}" if graded else UNDEFINED, ""),
    ]
