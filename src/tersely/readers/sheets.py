"""A step log that a spreadsheet or a logger wrote: CSV with commas, semicolons or tabs."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tersely.core.contents import as_utf8, kind_of
from tersely.core.errors import DataError, shortened
from tersely.readers.packing import read_unpacked

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
# 1,234 is as well 1234 as 1.234.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_MARKED_SEPARATOR = re.compile(r"sep=(.)(?:\r\n?|\n)", re.IGNORECASE)
_LINE_END = re.compile(r"[\r\n]")


def read_csv(file: Path, *, wanted: Iterable[str]) -> list[Mapping[str, str]]:
    """The rows by the names of the first line; ``wanted`` columns decide what separates cells.

    Numbers with a decimal comma come with a point.

    Raises:
        DataError: the file is no text, or its cells or numbers can be read in two ways.
    """
    text, names = _text(file), set(wanted)
    separator = _separator(file, text, names)
    text = _MARKED_SEPARATOR.sub("", text, count=1) if text[:4].lower() == "sep=" else text
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        header = [cell if cell in names else cell.strip() for cell in next(lines, [])]
        places = _places(header)
        width = max((at for at, name in enumerate(header, start=1) if name), default=0)
        rows: list[Mapping[str, str]] = []
        cells = []
        for row in lines:
            if not any(row):
                continue
            # A column without a name is pandas' index. One at the end of every line is the trace
            # of a trailing separator, and must be empty: else a decimal comma made it.
            if any(row[width:]) and names & set(places):
                raise DataError(
                    f"{file}:{lines.line_num} has more cells than the first line has names; put "
                    "quotes around cells that hold what separates them, as decimal commas"
                )
            cells.append(row)
            rows.append({name: row[at] for name, at in places.items() if at < len(row)})
    except csv.Error as error:
        raise _damaged(file, error) from error
    _check_repeated(file, header, cells, names)
    # Without quotes, no cell holds what separates the cells.
    return rows if separator == "," and '"' not in text else _with_points(file, rows, names)


def cells_of(line: str, *, separator: str, file: Path) -> list[str]:
    """The cells of one line.

    Raises:
        DataError: it is no line of CSV.
    """
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: csv.Error) -> DataError:
    most = csv.field_size_limit()
    if str(most) in str(error):
        return DataError(
            f"{file} has a cell of more than {most:,} characters: a quote that nothing closes, or "
            "a long text; write its steps anew, without texts"
        )
    return DataError(f"{file} is not CSV: {error}; write it anew, a line a row")


def _places(header: Sequence[str]) -> dict[str, int]:
    """Where each name stands, the first time where it is there twice or more."""
    return {name: header.index(name) for name in header if name}


def _check_repeated(
    file: Path, header: Sequence[str], cells: Sequence[Sequence[str]], wanted: set[str]
) -> None:
    """Refuses a wanted name that heads two columns which differ."""
    first = _places(header)
    for at, name in enumerate(header):
        if name not in wanted or first[name] == at:
            continue
        for row in cells:
            one, other = ("".join(row[place : place + 1]) for place in (first[name], at))
            if one != other:
                raise DataError(
                    f"{file} has two columns {name!r} that differ ({shortened(one)!r} and "
                    f"{shortened(other)!r}); give one of them another name"
                )


def _text(file: Path) -> str:
    content = read_unpacked(file)
    if kind := kind_of(content):
        raise DataError(f"{file} is {kind}, no CSV; write its steps as CSV, one row a step")
    try:
        return as_utf8(content).decode()
    except ValueError as error:
        raise DataError(f"{file} is not CSV: {error}; save it as UTF-8") from error


def _separator(file: Path, text: str, wanted: set[str]) -> str:
    """What separates the cells: what the file says, else what gives most of the wanted names."""
    if marked := _MARKED_SEPARATOR.match(text):
        return marked[1]
    header = _LINE_END.split(text, maxsplit=1)[0]
    found = {}
    for separator in _SEPARATORS:
        cells = cells_of(header, separator=separator, file=file)
        named = {cell.strip() for cell in cells} | set(cells)
        found[separator] = (len(wanted & named), len(cells))
    best = max(found.values())
    first, *others = [separator for separator, count in found.items() if count == best]
    if others and best[1] > 1:
        raise DataError(
            f"{file}: the first line can be read with {_SEPARATORS[first]} or "
            f"{_SEPARATORS[others[0]]} between its cells; write it with commas alone"
        )
    return first


def _with_points(
    file: Path, rows: Sequence[Mapping[str, str]], wanted: set[str]
) -> list[Mapping[str, str]]:
    """The rows with a point in each number of the wanted columns.

    Raises:
        DataError: a comma may stand before decimals or between thousands.
    """
    cells = [value.strip() for row in rows for name in wanted if (value := row.get(name))]
    commas = [cell for cell in cells if "," in cell and cell[-1:].isdigit()]
    if not commas:
        return list(rows)
    unclear = [c for c in commas if not _DECIMAL_COMMA.fullmatch(c) or _THOUSANDS.fullmatch(c)]
    points = [cell for cell in cells if _DECIMAL_POINT.fullmatch(cell)]
    sure = len(unclear) < len(commas) and all(_DECIMAL_COMMA.fullmatch(c) for c in commas)
    if points or not sure:
        raise DataError(
            f"{file}: the comma of {(unclear or commas)[0]!r} may stand before decimals or between "
            "thousands; write numbers with a decimal point and nothing between thousands"
        )
    return [
        {n: v.replace(",", ".") if n in wanted and v else v for n, v in row.items()} for row in rows
    ]
