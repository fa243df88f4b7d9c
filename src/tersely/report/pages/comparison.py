"""Two evaluations side by side as a page, and in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from tersely.core.storage import write_atomically
from tersely.metrics.changes import ProblemChange
from tersely.metrics.comparison import Comparison, Measure, pair
from tersely.metrics.lengths import Among, summarise_lengths
from tersely.metrics.numbers import format_ratio, name_cap
from tersely.metrics.records import BudgetOf
from tersely.readers.evaluations import Loaded
from tersely.readers.questions import Key
from tersely.report.charts.curves import draw_both_lengths, draw_problems, thin
from tersely.report.charts.curves import draw_repeats as draw_repeat_curves
from tersely.report.charts.figures import draw_budget_curve
from tersely.report.pages.html import Figure, Reader, Tile, render_page
from tersely.report.pages.problems import list_changed
from tersely.report.pages.traces import PageTrace, group_traces
from tersely.report.tables.comparison import (
    SideNames,
    TableBlock,
    format_rows,
    most_tries,
    name_mean,
    write_caption,
)
from tersely.report.tables.conclusions import list_findings, warn_of_lost_problems, warn_of_windows
from tersely.report.tables.matrices import Matrix
from tersely.report.tables.pairs import (
    RepeatTable,
    name_sides,
    tabulate_changed,
    tabulate_ratios,
    tabulate_repeats,
    tabulate_sides,
    tabulate_sources,
)
from tersely.report.tables.terminal import (
    FittedTable,
    draw_alarm,
    draw_finding,
    draw_notes,
    draw_repeats,
    draw_sides,
    draw_text,
    draw_title,
)
from tersely.report.tables.words import (
    define,
    describe_protocol,
    label,
    name_axis,
    name_counted,
)

LISTED, LISTED_IN_TERMINAL = 30, 10
TERMINAL_NAME = 16


class ComparisonPage(NamedTuple):
    """Everything the page shows but problems and traces."""

    title: str
    summary: str
    names: SideNames
    alarms: Sequence[Sequence[str]]
    doubt: Sequence[str]
    findings: Sequence[str]
    notes: Sequence[str]
    tiles: Sequence[Tile]
    accuracy: TableBlock
    repeats: RepeatTable | None
    scores: TableBlock
    ratios: Matrix
    sources: Matrix | None
    everything: TableBlock
    lost_and_won: Sequence[Matrix]
    figures: Mapping[str, Figure]
    facts: Mapping[str, Mapping[str, Any]]
    glossary: Mapping[str, str]


def write_comparison(
    before: Loaded,
    after: Loaded,
    comparison: Comparison,
    changes: list[ProblemChange],
    *,
    out: Path,
) -> Path:
    """Writes the page to the file ``out``, making its folder, and returns its path.

    Args:
        changes: of the same pair at the comparison's largest budget, see ``list_changes``.
    """
    names = name_sides(before.name, after.name)
    traces = group_traces(before.traces, after.traces, budgets=_marks(comparison))
    shared = {(c.benchmark, c.problem) for c in changes}
    traces = {key: trace for key, trace in traces.items() if key in shared}
    text = render_page(
        "comparison.html.j2",
        build_page(before, after, comparison, changes),
        reader=build_reader(traces, comparison, names=names),
        grid=list_changed(changes, names=names, traces=traces),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    return out


def draw_comparison(
    comparison: Comparison, changes: Sequence[ProblemChange], *, names: tuple[str, str]
) -> RenderableType:
    """What may be concluded, then accuracy, Pass@k beside Mean@k, lengths and scores."""
    title = " → ".join(names)
    names = name_sides(*names, width=TERMINAL_NAME)
    accuracy, scores, _ = tabulate_sides(comparison, names=names)
    lost = warn_of_lost_problems(comparison, changes)
    cut = warn_of_windows(list(zip(names, comparison.windows, strict=True)))
    top: list[RenderableType] = []
    for alarm in (lost, cut):
        top += [draw_alarm(alarm), Text()] if alarm else []
    named = f"protocol {comparison.protocol.value}"
    rows = [
        r._replace(label=f"{b:,}") for r, b in zip(accuracy.rows, comparison.budgets, strict=True)
    ]
    return Group(
        *top,
        draw_title(title),
        *(draw_finding(line) for line in list_findings(comparison, changes, names=names)),
        Text(),
        draw_title(f"Accuracy within each budget · {named}"),
        draw_sides(accuracy._replace(rows=rows), first=_head_budgets(comparison.budget_of)),
        Text(),
        *_draw_repeats(comparison),
        draw_title(f"Lengths and scores · {named}"),
        draw_sides(scores, first="measure"),
        Text(),
        FittedTable(tabulate_ratios(comparison)._replace(title="both at once")),
        *_draw_sources(comparison),
        *_draw_changed(comparison, changes, names),
        Text(),
        draw_text(write_caption(comparison, heads=names), "dim"),
        *draw_notes(comparison.notes),
    )


def _head_budgets(of: BudgetOf) -> str:
    return "budget" if of is BudgetOf.TOKENS else f"{name_axis(of)} budget"


def _draw_sources(comparison: Comparison) -> list[RenderableType]:
    if not comparison.sources:
        return []
    matrix = tabulate_sources(comparison)
    return [
        Text(),
        draw_title(f"Change {matrix.title}"),
        FittedTable(matrix._replace(title="source")),
    ]


def build_page(
    before: Loaded, after: Loaded, comparison: Comparison, changes: Sequence[ProblemChange]
) -> ComparisonPage:
    """The comparison, arranged as a page."""
    names = name_sides(before.name, after.name)
    accuracy, scores, everything = tabulate_sides(comparison, names=names)
    return ComparisonPage(
        title=f"{before.name} → {after.name}",
        summary=f"Before: {before.name}; after: {after.name}. "
        f"{write_caption(comparison, heads=names)}",
        names=names,
        alarms=[alarm] if (alarm := warn_of_lost_problems(comparison, changes)) else [],
        doubt=warn_of_windows(list(zip(names, comparison.windows, strict=True))),
        findings=list_findings(comparison, changes, names=names),
        notes=gather_notes(before, after, comparison, names=names),
        tiles=_tiles(comparison),
        accuracy=accuracy,
        repeats=tabulate_repeats(comparison) if most_tries(comparison) > 1 else None,
        scores=scores,
        ratios=tabulate_ratios(comparison),
        sources=tabulate_sources(comparison) if comparison.sources else None,
        everything=everything,
        lost_and_won=_list_lost_and_won(comparison, changes, names, shown=LISTED),
        figures={f.name: f for f in draw_figures(before, after, comparison, changes)},
        facts=_facts(before, after, comparison, names),
        glossary=define([*(m.name for m in comparison.measures), "AES", "token ratio"]),
    )


def build_reader(
    traces: Mapping[Key, PageTrace], comparison: Comparison, *, names: SideNames
) -> Reader:
    """The kept samples of both sides, problem by problem."""
    return Reader(
        sides=names,
        budgets=_marks(comparison),
        traces=list(traces.values()),
        filters=(),
        note="The problems that the table above shows, in its order. A blue mark stands where "
        "that many tokens have been spent, where the tokens are known. Grades are of the whole "
        "completion at its own cap. One sample is an anecdote: the tables are the measurement.",
    )


def _marks(comparison: Comparison) -> tuple[int, ...]:
    """The budgets that can be marked in a text."""
    return comparison.budgets if comparison.budget_of is BudgetOf.TOKENS else ()


def gather_notes(
    before: Loaded, after: Loaded, comparison: Comparison, *, names: SideNames
) -> list[str]:
    """The notes of the pairing, and those of each evaluation that are not among them, by name."""
    said = set(comparison.notes)
    sides = zip((before, after), names, strict=True)
    notes = [
        f"{name}: {note}"
        for side, name in sides
        for note in side.notes
        if not {note, f"{side.name}: {note}"} & said
    ]
    return list(dict.fromkeys([*comparison.notes, *notes]))


def draw_figures(
    before: Loaded, after: Loaded, comparison: Comparison, changes: Sequence[ProblemChange]
) -> list[Figure]:
    """Accuracy, tries, lengths and problems of both evaluations."""
    names = name_sides(before.name, after.name)
    named = f"(protocol {comparison.protocol.value})"
    caption = write_caption(comparison, heads=names)
    paired = pair(before.table, after.table)
    lengths = [{among: summarise_lengths(table, among) for among in Among} for table in paired[:2]]
    figures = [
        Figure(
            "budgets",
            f"Accuracy at {name_axis(comparison.budget_of)} budgets {named}",
            f"Bands: 95% intervals. {caption}",
            draw_budget_curve(comparison, names=names),
        ),
        Figure(
            "lengths",
            f"Completion lengths by correctness {named}",
            "Share of samples with at most that length; correct and wrong are grades at the cap. "
            f"{caption}",
            draw_both_lengths(*lengths, names=names),
        ),
        Figure(
            "problems",
            f"Problem by problem {named}",
            "Left: mean tokens; below the dashed line it became shorter. Right: how many samples "
            f"are right within {comparison.budgets[-1]:,} {name_counted(comparison.budget_of)}. "
            "Lost: solved before, by no sample after; won is the reverse."
            f"{_say_thinned(changes)} {caption}",
            draw_problems(changes, names=names),
        ),
    ]
    if most_tries(comparison) > 1:
        figures.insert(1, _draw_repeat_figure(comparison, names))
    return figures


def _say_thinned(changes: Sequence[ProblemChange]) -> str:
    every = thin(changes)
    return f" Left, 1 in {every:,} of the other problems is drawn." if every > 1 else ""


def _draw_repeat_figure(comparison: Comparison, names: SideNames) -> Figure:
    passed, mean = f"Pass@{most_tries(comparison)}", label(name_mean(comparison))
    return Figure(
        "repeats",
        f"{passed} beside {mean} (protocol {comparison.protocol.value})",
        f"Where {passed} falls and {mean} does not, the model is right more often on fewer "
        f"problems. Bands: 95% intervals. {write_caption(comparison, heads=names)}",
        draw_repeat_curves(comparison, names=names),
    )


def _draw_repeats(comparison: Comparison) -> list[RenderableType]:
    """Nothing for one try a problem, where Pass@1 is Mean@1."""
    if most_tries(comparison) < 2:
        return []
    repeats = tabulate_repeats(comparison)
    return [draw_title(repeats.title), draw_repeats(repeats), Text()]


def _list_lost_and_won(
    comparison: Comparison, changes: Sequence[ProblemChange], names: SideNames, *, shown: int
) -> list[Matrix]:
    return [
        tabulate_changed(kept, comparison, names=names, title=title, shown=shown)
        for title, kept in (
            ("Lost", [c for c in changes if c.lost]),
            ("Won", [c for c in changes if c.won]),
        )
    ]


def _draw_changed(
    comparison: Comparison, changes: Sequence[ProblemChange], names: SideNames
) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for matrix in _list_lost_and_won(comparison, changes, names, shown=LISTED_IN_TERMINAL):
        if matrix.rows:
            parts += [Text(), draw_title(matrix.title)]
            parts += [
                FittedTable(matrix._replace(title="problem")),
                draw_text(matrix.caption, "dim"),
            ]
    return parts


def _tiles(comparison: Comparison) -> list[Tile]:
    budgets, most = comparison.budgets, most_tries(comparison)
    measures: list[Measure] = [
        comparison.find("mean tokens"),
        comparison.find("accuracy", budgets[-1]),
    ]
    if most > 1:
        measures.append(comparison.find(f"pass@{most}", budgets[-1]))
    if len(budgets) > 1:
        measures.append(comparison.find("accuracy", budgets[len(budgets) // 2]))
    rows = format_rows(measures, of=comparison.budget_of)
    changes = [
        format_ratio(comparison.token_ratio, p=comparison.token_ratio_p),
        *(row.difference for row in rows[1:]),
    ]
    return [
        Tile(row.label, row.before.estimate, row.after.estimate, change)
        for row, change in zip(rows, changes, strict=True)
    ]


def _facts(
    before: Loaded, after: Loaded, comparison: Comparison, names: SideNames
) -> dict[str, Mapping[str, Any]]:
    return {
        names[0]: before.facts,
        names[1]: after.facts,
        "Measured": {
            "protocol": describe_protocol(comparison.protocol, of=comparison.budget_of),
            f"budgets ({name_counted(comparison.budget_of)})": ", ".join(
                f"{b:,}" for b in comparison.budgets
            ),
            "cap of both (tokens)": name_cap(comparison.cap_tokens),
            "problems": f"{comparison.n_problems:,}",
            "samples a problem": f"{comparison.samples_before:,}, {comparison.samples_after:,}",
        },
    }
