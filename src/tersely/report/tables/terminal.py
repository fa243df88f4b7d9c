"""Tables, warnings and sentences for a terminal of any width."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tersely.metrics.comparison import Comparison
from tersely.metrics.numbers import Cell
from tersely.report.tables.comparison import (
    TableBlock,
    choose_headline,
    format_rows,
    write_caption,
)
from tersely.report.tables.matrices import Matrix, MatrixRow
from tersely.report.tables.pairs import RepeatTable

# Where intervals stand below their estimates there is a second line for a label, too.
LABEL_WIDTH = 18


class TableLayout(NamedTuple):
    """How a table is drawn: the columns of each part, and whether intervals stand below."""

    parts: Sequence[slice]
    below: bool


class FittedTable:
    """A table that fits: intervals move below their estimates, then columns into more parts."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        layout = _lay_out(self.matrix, width=options.max_width)
        for at, part in enumerate(layout.parts):
            if at:
                yield Text()
            yield _draw_part(self.matrix, part, below=layout.below)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(40, options.max_width), options.max_width)


class FittedRecords:
    """Texts by name: a table where it fits, else a block a row, its first text above the others."""

    def __init__(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.heads, self.rows = heads, rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        columns = zip(self.heads, *self.rows, strict=True)
        widths = [max(map(cell_len, column)) for column in columns]
        if sum(widths) + 2 * len(widths) <= options.max_width:
            yield self._draw_table()
            return
        for row in self.rows:
            yield draw_text(row[0], "bold")
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_column(width=2 + max(map(cell_len, self.heads)))
            grid.add_column(overflow="fold")
            for head, text in zip(self.heads[1:], row[1:], strict=True):
                if text:
                    grid.add_row(draw_text(f"  {head}", "dim"), draw_text(text))
            yield grid

    def _draw_table(self) -> Table:
        table = _frame(self.heads[0], gap=2)
        for head in self.heads[1:]:
            table.add_column(Text(head))
        for row in self.rows:
            table.add_row(*map(draw_text, row))
        return table


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


def draw_headline(comparison: Comparison) -> Group:
    """Lengths, accuracy at each budget and Pass@k of both sides, with what they rest on."""
    block = TableBlock("", format_rows(choose_headline(comparison)), "")
    return Group(
        draw_title(f"{comparison.title} (protocol {comparison.protocol.value})"),
        draw_sides(block, first="measure"),
        Text(),
        draw_text(" ".join([write_caption(comparison), *comparison.notes]), "dim"),
    )


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
            max([cell_len(head), *(_width(row.cells[at], below=below) for row in matrix.rows)])
            for at, head in enumerate(matrix.heads)
        ]
        first = _label_width(matrix, below=below)
        if first + gap + sum(w + gap for w in widths) <= width:
            return TableLayout([slice(0, heads)], below)
    room = width - first - gap
    parts = _fill([w + gap for w in widths], room=room)
    each = math.ceil(heads / len(parts))
    even = [slice(at, min(at + each, heads)) for at in range(0, heads, each)]
    fits = all(sum(w + gap for w in widths[part]) <= room for part in even)
    return TableLayout(even if fits else parts, True)


def _fill(widths: Sequence[int], *, room: int) -> list[slice]:
    """Columns in as few parts as hold them, in order; at least one a part."""
    parts, start = [], 0
    for end in range(1, len(widths) + 1):
        if end == len(widths) or sum(widths[start : end + 1]) > room:
            parts.append(slice(start, end))
            start = end
    return parts


def _label_width(matrix: Matrix, *, below: bool) -> int:
    longest = max([cell_len(matrix.title), *(cell_len(row.label) for row in matrix.rows)])
    return min(longest, LABEL_WIDTH) if below else longest


def _width(cell: Cell, *, below: bool) -> int:
    return max(map(cell_len, cell[:2])) if below else cell_len(cell.text)


def _draw_part(matrix: Matrix, columns: slice, *, below: bool) -> Table:
    table = _frame(
        matrix.title,
        gap=1 if below else 2,
        width=_label_width(matrix, below=True) if below else None,
    )
    for head in matrix.heads[columns]:
        table.add_column(draw_text(head), justify="right", overflow="fold")
    for row in matrix.rows:
        if row.first and table.row_count:
            table.add_section()
        cells = (_draw_cell(cell, below=below) for cell in row.cells[columns])
        table.add_row(draw_text(row.label), *cells)
    return table


def _frame(first: str, *, gap: int, width: int | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(Text(first), width=width, overflow="fold")
    return table


def _draw_cell(cell: Cell, *, below: bool) -> Text:
    text = Text(cell.estimate, style="bold" if cell.clear else "")
    if cell.interval:
        text.append("\n" if below else " ")
        text.append(cell.interval, style="not bold dim")
    return text
