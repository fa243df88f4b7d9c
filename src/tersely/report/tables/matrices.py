"""Tables with one heading a column: what an evaluation measured by budget, by length, at once."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tersely.metrics.lengths import MEANS, QUANTILES, Among, LengthSummary, Part, mean_name
from tersely.metrics.measures import Evaluation, Unit
from tersely.metrics.numbers import UNDEFINED, Cell, count, format_level, say_cap
from tersely.report.tables.words import describe_protocol, label, name_counted

PERCENTILES = tuple(f"{q:.0%}" if q != 0.5 else "median" for q in QUANTILES)
SOURCE_LENGTHS = ("mean tokens", "mean tokens given correct", "mean tokens given wrong")
KINDS = ("accuracy", "pass@", "pass^", "g-pass@", "majority@")


class MatrixRow(NamedTuple):
    """A labelled row of cells; ``first`` of its kind is set apart by a line."""

    label: str
    cells: Sequence[Cell]
    first: bool = False


class Matrix(NamedTuple):
    """A table with one heading a column."""

    title: str
    heads: Sequence[str]
    rows: Sequence[MatrixRow]
    caption: str


def write_caption(evaluation: Evaluation) -> str:
    """What the numbers of an evaluation rest on."""
    failed = evaluation.failed.samples if evaluation.failed else 0
    left_out = [
        count(n, noun)
        for n, noun in (
            (failed, "failed sample"),
            (evaluation.ungraded - failed, "ungraded sample"),
            (evaluation.missing, "missing sample"),
        )
        if n
    ]
    return (
        f"{describe_protocol(evaluation.protocol, of=evaluation.budget_of)} "
        f"{_count_samples(evaluation)}, {say_cap(evaluation.cap_tokens)}. "
        "Brackets: 95% intervals over problems."
        + (f" Left out: {', '.join(left_out)}." if left_out else "")
    )


def tell_detectable(evaluation: Evaluation) -> list[str]:
    """What a comparison of two evaluations of this size could see; nothing if not known."""
    if not evaluation.detectable <= 1:
        return []
    return [
        f"Two evaluations of this size can tell accuracies apart that differ by "
        f"{100 * evaluation.detectable:.1f} pp or more (8 tries in 10, at the largest budget; "
        "sampling noise only, so at best)."
    ]


def tell_unknown(evaluation: Evaluation) -> list[str]:
    """Of how many samples a part of the length is not known, and what would tell it."""
    return tell_unknown_parts({summary.among: summary.unknown for summary in evaluation.lengths})


def tell_unknown_parts(unknown: Mapping[Among | Part, int]) -> list[str]:
    """The same, of the samples that do not tell each part."""
    said = []
    if thinking := unknown.get(Part.THINKING, 0):
        said.append(
            f"Lengths of thinking and reply are left open: the thinking of "
            f"{count(thinking, 'sample')} was not counted, neither by who sampled it nor with "
            "--tokenizer."
        )
    if right := unknown.get(Part.AFTER_RIGHT, 0):
        said.append(
            f"What follows the first right answer is left open: in {count(right, 'right sample')} "
            "it was not looked for, which needs the text of every token."
        )
    return said


def tabulate_budgets(evaluation: Evaluation) -> Matrix:
    """What is measured at each budget, one column a budget. Pass@1 is accuracy."""
    names = list(
        dict.fromkeys(q.name for q, _ in evaluation.measured if q.budget_tokens is not None)
    )
    values = {(q.name, q.budget_tokens): value for q, value in evaluation.measured}
    rows = []
    for kind in KINDS:
        of_kind = [name for name in names if name.startswith(kind) and name != "pass@1"]
        for name in of_kind:
            found = [values.get((name, budget)) for budget in evaluation.budgets]
            cells = [
                Cell(UNDEFINED, "") if value is None else format_level(value, Unit.SHARE)
                for value in found
            ]
            rows.append(MatrixRow(label(name), cells, first=name == of_kind[0]))
    return Matrix(
        title=f"within … {name_counted(evaluation.budget_of)} "
        f"(protocol {evaluation.protocol.value})",
        heads=[f"{b:,}" for b in evaluation.budgets],
        rows=rows,
        caption=write_caption(evaluation),
    )


def tabulate_lengths(evaluation: Evaluation) -> Matrix:
    """Mean and quantiles of completion lengths by correctness."""
    return Matrix(
        title=f"lengths in tokens (protocol {evaluation.protocol.value})",
        heads=["mean", *PERCENTILES, "samples"],
        rows=[_length_row(evaluation, summary) for summary in evaluation.lengths],
        caption="Of all samples at the cap, whatever the budget: correct and wrong are grades "
        "there, and a truncated sample counts with the length at which it was cut. Percent: "
        f"quantiles. {_write_basis(evaluation)}",
    )


def tabulate_scores(evaluation: Evaluation) -> Matrix:
    """Shares of samples and scores that weigh answers against tokens."""
    kept = [
        (quantity, value)
        for quantity, value in evaluation.measured
        if quantity.budget_tokens is None
        and not quantity.name.startswith("mean tokens")
        and quantity.name not in MEANS.values()
    ]
    return Matrix(
        title=f"shares and scores (protocol {evaluation.protocol.value})",
        heads=["value"],
        rows=[MatrixRow(label(q.name), [format_level(value, q.unit)]) for q, value in kept],
        caption="One number each, which can be gamed: read them with the curve. "
        f"{_write_basis(evaluation)}",
    )


def tabulate_sources(evaluation: Evaluation) -> Matrix:
    """Each source of problems by itself, one row a source, and all of them."""
    rows = []
    for part in (*evaluation.sources, evaluation._replace(title="all")):
        values = [
            *(format_level(part.value("accuracy", b), Unit.SHARE) for b in part.budgets),
            *(format_level(part.value(name), Unit.TOKENS) for name in SOURCE_LENGTHS),
            format_level(part.value("truncated share"), Unit.SHARE),
        ]
        problems = Cell(f"{part.n_problems:,}", "")
        rows.append(MatrixRow(part.title, [problems, *values], first=part.title == "all"))
    return Matrix(
        title=f"by source (protocol {evaluation.protocol.value})",
        heads=[
            "problems",
            *(f"within {b:,}" for b in evaluation.budgets),
            *(label(name) for name in SOURCE_LENGTHS),
            label("truncated share"),
        ],
        rows=rows,
        caption=f"Accuracy within each budget in {name_counted(evaluation.budget_of)}, then "
        "lengths. Every figure of each source is in the CSV. "
        f"{_write_basis(evaluation)}",
    )


def largest(evaluation: Evaluation) -> int:
    """The largest budget."""
    return evaluation.budgets[-1]


def _length_row(evaluation: Evaluation, summary: LengthSummary) -> MatrixRow:
    values = [evaluation.value(mean_name(summary.among)), *summary.quantiles]
    cells = [format_level(value, Unit.TOKENS) for value in values]
    samples = Cell(UNDEFINED if summary.unknown else f"{summary.n_samples:,}", "")
    return MatrixRow(summary.among.value, [*cells, samples], first=summary.among is Part.THINKING)


def _write_basis(evaluation: Evaluation) -> str:
    return f"Protocol {evaluation.protocol.value}, {_count_samples(evaluation)}."


def _count_samples(evaluation: Evaluation) -> str:
    problems = count(evaluation.n_problems, "problem")
    return f"n = {problems} × {count(evaluation.samples_per_problem, 'sample')}"
