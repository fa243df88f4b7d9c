"""Tables, warnings and sentences for a terminal of any width."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tersely.metrics.numbers import Cell
from tersely.report.tables.comparison import TableBlock
from tersely.report.tables.matrices import Matrix, MatrixRow
from tersely.report.tables.pairs import RepeatTable

# Where intervals stand below their estimates there is a second line for a label, too.
LABEL_WIDTH = 18


class TableLayout(NamedTuple):
    """How a table is drawn: columns in one part, and whether intervals stand below."""

    columns: int
    below: bool


class FittedTable:
    """A table that fits: intervals move below their estimates, then columns into more parts."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        layout = _lay_out(self.matrix, width=options.max_width)
        for start in range(0, len(self.matrix.heads), layout.columns):
            if start:
                yield Text()
            part = slice(start, start + layout.columns)
            yield _draw_part(self.matrix, part, below=layout.below)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(40, options.max_width), options.max_width)


def draw_text(text: str, style: str = "") -> Text:
    """Text as it is: neither markup nor control characters in it reach the terminal."""
    kept = (c if c == "\n" or unicodedata.category(c) != "Cc" else "\ufffd" for c in text)
    return Text("".join(kept), style)


def draw_title(text: str) -> Text:
    """A line above a table."""
    return draw_text(text, "bold")


def draw_notes(notes: Sequence[str]) -> list[Text]:
    """What was excluded, inferred or left to do."""
    return [draw_text(f"Note: {note}", "yellow") for note in notes]


def draw_alarm(lines: Sequence[str]) -> Panel:
    """A heading and its lines in a box that is not overlooked."""
    return Panel(
        draw_text("\n".join(lines[1:]), "bold red"),
        title=Text(f" {lines[0]} ", style="bold white on red"),
        border_style="bold red",
        box=box.HEAVY,
    )


def draw_finding(line: str) -> Table:
    """A sentence with a bullet, its further lines set in."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text("•"), draw_text(line))
    return grid


def draw_sides(block: TableBlock, *, first: str) -> FittedTable:
    """Before, after, difference and p of each row."""
    rows = [MatrixRow(row.label, [*row[1:4], Cell(row.p, "")]) for row in block.rows]
    heads = [*block.heads, "difference", "p"]
    return FittedTable(Matrix(first, heads, rows, block.caption))


def draw_repeats(repeats: RepeatTable) -> Table:
    """Mean@k and Pass@k beside each other, the difference below the levels."""
    table = _frame("budget", gap=1)
    for name in repeats.measures:
        table.add_column(Text(name), justify="right", no_wrap=True)
        table.add_column(Text("p"), justify="right", no_wrap=True)
    for row in repeats.rows:
        cells: list[Text] = []
        for side in row.sides:
            levels = Text(f"{side.before.estimate} → {side.after.estimate}\n")
            cells += [levels + _draw_cell(side.difference, below=False), Text(side.p)]
        table.add_row(Text(row.budget), *cells)
    return table


def _lay_out(matrix: Matrix, *, width: int) -> TableLayout:
    heads = len(matrix.heads)
    for below, gap in ((False, 2), (True, 1)):
        widths = [
            max([len(head), *(_width(row.cells[at], below=below) for row in matrix.rows)])
            for at, head in enumerate(matrix.heads)
        ]
        first = _label_width(matrix, below=below)
        if first + gap + sum(w + gap for w in widths) <= width:
            return TableLayout(heads, below)
    fitting = max(1, (width - first - gap) // (max(widths) + gap))
    return TableLayout(math.ceil(heads / math.ceil(heads / fitting)), True)


def _label_width(matrix: Matrix, *, below: bool) -> int:
    longest = max([len(matrix.title), *(len(row.label) for row in matrix.rows)])
    return min(longest, LABEL_WIDTH) if below else longest


def _width(cell: Cell, *, below: bool) -> int:
    return max(len(cell.estimate), len(cell.interval)) if below else len(cell.text)


def _draw_part(matrix: Matrix, columns: slice, *, below: bool) -> Table:
    table = _frame(
        matrix.title,
        gap=1 if below else 2,
        width=_label_width(matrix, below=True) if below else None,
    )
    for head in matrix.heads[columns]:
        table.add_column(draw_text(head), justify="right")
    for row in matrix.rows:
        if row.first and table.row_count:
            table.add_section()
        cells = (_draw_cell(cell, below=below) for cell in row.cells[columns])
        table.add_row(draw_text(row.label), *cells)
    return table


def _frame(first: str, *, gap: int, width: int | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(Text(first), width=width)
    return table


def _draw_cell(cell: Cell, *, below: bool) -> Text:
    text = Text(cell.estimate, style="bold" if cell.clear else "")
    if cell.interval:
        text.append("\n" if below else " ")
        text.append(cell.interval, style="not bold dim")
    return text
