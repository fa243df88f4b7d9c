"""One evaluation as a page, and in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from tersely.core.storage import write_atomically
from tersely.metrics.measures import Evaluation, Unit
from tersely.metrics.numbers import Cell, format_level, name_cap
from tersely.metrics.records import BudgetOf
from tersely.readers.evaluations import Loaded
from tersely.readers.questions import Key
from tersely.report.charts.curves import draw_accuracy, draw_lengths
from tersely.report.pages.html import Figure, Reader, Tile, render_page
from tersely.report.pages.problems import count_problems, list_problems
from tersely.report.pages.traces import PageTrace, group_traces
from tersely.report.tables.conclusions import list_alarms
from tersely.report.tables.cut import head_evaluation
from tersely.report.tables.matrices import (
    Matrix,
    MatrixRow,
    largest,
    tabulate_budgets,
    tabulate_lengths,
    tabulate_scores,
    tabulate_sources,
    tell_detectable,
    tell_unknown,
    write_caption,
)
from tersely.report.tables.terminal import (
    FittedTable,
    draw_alarm,
    draw_finding,
    draw_notes,
    draw_title,
)
from tersely.report.tables.words import (
    define,
    describe_protocol,
    label,
    name_axis,
    name_counted,
)

# The columns of lengths that a terminal has room for.
LENGTH_HEADS = ("mean", "median", "5%", "95%", "samples")


class EvaluationPage(NamedTuple):
    """Everything the page shows but problems and traces."""

    title: str
    summary: str
    alarms: Sequence[Sequence[str]]
    headlines: Sequence[str]
    notes: Sequence[str]
    tiles: Sequence[Tile]
    by_budget: Matrix
    figures: Mapping[str, Figure]
    lengths: Matrix
    scores: Matrix
    sources: Matrix | None
    facts: Mapping[str, Mapping[str, Any]]
    glossary: Mapping[str, str]


def write_evaluation(loaded: Loaded, evaluation: Evaluation, *, out: Path) -> Path:
    """Writes the page to the file ``out``, making its folder, and returns its path."""
    problems = count_problems(
        loaded.table, budget_tokens=largest(evaluation), protocol=evaluation.protocol
    )
    traces = group_traces(loaded.traces, budgets=_marks(evaluation))
    text = render_page(
        "evaluation.html.j2",
        build_page(loaded, evaluation),
        reader=build_reader(traces, evaluation, kept=len(loaded.traces)),
        grid=list_problems(problems, budget_tokens=largest(evaluation), traces=traces),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    return out


def draw_evaluation(evaluation: Evaluation, *, notes: Sequence[str]) -> RenderableType:
    """What is right at each budget, lengths and scores, with what they rest on below."""
    named = f"protocol {evaluation.protocol.value}"
    lengths = tabulate_lengths(evaluation)
    picked = [lengths.heads.index(head) for head in LENGTH_HEADS]
    lengths = lengths._replace(
        title="tokens",
        heads=LENGTH_HEADS,
        rows=[_keep_first_interval(row, picked) for row in lengths.rows],
    )
    alarms = list_alarms(evaluation)
    return Group(
        *(part for alarm in alarms for part in (draw_alarm(alarm), Text())),
        *(part for line in head_evaluation(evaluation) for part in (draw_finding(line), Text())),
        draw_title(f"{evaluation.title} · right within each budget · {named}"),
        FittedTable(
            tabulate_budgets(evaluation)._replace(title=name_counted(evaluation.budget_of))
        ),
        Text(),
        draw_title(f"{evaluation.title} · lengths of all samples at the cap · {named}"),
        FittedTable(lengths),
        Text(),
        draw_title(f"{evaluation.title} · shares and scores · {named}"),
        FittedTable(tabulate_scores(evaluation)._replace(title="measure")),
        *_draw_sources(evaluation),
        Text(),
        Text(write_caption(evaluation), style="dim"),
        *draw_notes([*tell_detectable(evaluation), *tell_unknown(evaluation), *notes]),
    )


def _draw_sources(evaluation: Evaluation) -> list[RenderableType]:
    if not evaluation.sources:
        return []
    matrix = tabulate_sources(evaluation)
    return [
        Text(),
        draw_title(f"{evaluation.title} · {matrix.title}"),
        FittedTable(matrix._replace(title="source")),
    ]


def build_page(loaded: Loaded, evaluation: Evaluation) -> EvaluationPage:
    """The evaluation, arranged as a page."""
    return EvaluationPage(
        title=evaluation.title,
        summary=write_caption(evaluation),
        alarms=list_alarms(evaluation),
        headlines=head_evaluation(evaluation),
        notes=(*tell_detectable(evaluation), *tell_unknown(evaluation), *loaded.notes),
        tiles=_tiles(evaluation),
        by_budget=tabulate_budgets(evaluation),
        figures={figure.name: figure for figure in draw_figures(loaded, evaluation)},
        lengths=tabulate_lengths(evaluation),
        scores=tabulate_scores(evaluation),
        sources=tabulate_sources(evaluation) if evaluation.sources else None,
        facts=_facts(loaded, evaluation),
        glossary=define(m.quantity.name for m in evaluation.measured),
    )


def build_reader(traces: Mapping[Key, PageTrace], evaluation: Evaluation, *, kept: int) -> Reader:
    """The kept samples of each problem, in the order of the table above."""
    shown = sum(len(side) for trace in traces.values() for side in trace["sides"])
    left = f" {shown:,} of {kept:,} kept samples are shown." if shown < kept else ""
    return Reader(
        sides=(evaluation.title,),
        budgets=_marks(evaluation),
        traces=list(traces.values()),
        filters=(),
        note="The problems that the table above shows, in its order. A blue mark stands where "
        "that many tokens have been spent, where the tokens are known. Grades are of the whole "
        f"completion at the cap.{left}",
    )


def _marks(evaluation: Evaluation) -> tuple[int, ...]:
    """The budgets that can be marked in a text."""
    return evaluation.budgets if evaluation.budget_of is BudgetOf.TOKENS else ()


def draw_figures(loaded: Loaded, evaluation: Evaluation) -> list[Figure]:
    """Accuracy and tries over budgets; lengths by correctness."""
    named = f"(protocol {evaluation.protocol.value})"
    caption = write_caption(evaluation)
    several = " Right: from one try, what the best (Pass@k) and all (Pass^k) of k tries give."
    problems = count_problems(
        loaded.table, budget_tokens=largest(evaluation), protocol=evaluation.protocol
    )
    return [
        Figure(
            "budgets",
            f"Accuracy at {name_axis(evaluation.budget_of)} budgets {named}",
            f"Band: 95% interval of accuracy.{several if max(evaluation.ks) > 1 else ''} {caption}",
            draw_accuracy(evaluation),
        ),
        Figure(
            "lengths",
            f"Completion lengths, and right samples a problem {named}",
            "Left: share of samples with at most that length; correct and wrong are grades at the "
            "cap, truncated ones end at it. Right: problems by how many of their samples are right "
            f"within {largest(evaluation):,} {name_counted(evaluation.budget_of)}, of those with "
            f"all samples graded. {caption}",
            draw_lengths(evaluation.lengths, hits_P=[(p.hits, p.tries) for p in problems]),
        ),
    ]


def _keep_first_interval(row: MatrixRow, picked: Sequence[int]) -> MatrixRow:
    cells = [row.cells[at] for at in picked]
    return row._replace(cells=[cells[0], *(cell._replace(interval="") for cell in cells[1:])])


def _tiles(evaluation: Evaluation) -> list[Tile]:
    budgets, most = evaluation.budgets, evaluation.ks[-1]
    middle, last = budgets[len(budgets) // 2], budgets[-1]
    keys = [("accuracy", b) for b in dict.fromkeys((last, middle))]
    if most > 1:
        keys.append((f"pass@{most}", last))
    tiles = []
    for name, budget, unit in (
        *((name, budget, Unit.SHARE) for name, budget in keys),
        ("mean tokens", None, Unit.TOKENS),
        ("truncated share", None, Unit.SHARE),
    ):
        cell = format_level(evaluation.value(name, budget), unit)
        tiles.append(
            Tile(
                label(name, budget, of=evaluation.budget_of),
                "",
                cell.estimate,
                Cell("", cell.interval),
            )
        )
    return tiles


def _facts(loaded: Loaded, evaluation: Evaluation) -> dict[str, Mapping[str, Any]]:
    failed = evaluation.failed.samples if evaluation.failed else 0
    return {
        "Evaluation": loaded.facts,
        "Measured": {
            "protocol": describe_protocol(evaluation.protocol, of=evaluation.budget_of),
            f"budgets ({name_counted(evaluation.budget_of)})": ", ".join(
                f"{b:,}" for b in evaluation.budgets
            ),
            "sampled cap (tokens)": name_cap(evaluation.cap_tokens),
            "k": ", ".join(map(str, evaluation.ks)),
            "problems": f"{evaluation.n_problems:,}",
            "samples a problem": f"{evaluation.samples_per_problem:,}",
            "failed samples": f"{failed:,}",
            "ungraded samples": f"{evaluation.ungraded - failed:,}",
            "missing samples": f"{evaluation.missing:,}",
        },
    }
