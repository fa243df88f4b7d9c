"""A step log that a spreadsheet or a logger wrote: CSV with commas, semicolons or tabs."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tersely.core.contents import as_utf8, kind_of
from tersely.core.errors import DataError
from tersely.readers.packing import read_unpacked

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
# 1,234 is as well 1234 as 1.234.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_MARKED_SEPARATOR = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


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
        lines = csv.DictReader(io.StringIO(text, newline=""), restkey="", delimiter=separator)
        rows = []
        for row in lines:
            # A comma at the end of every line makes an empty cell without a name.
            if any(row.pop("", None) or []):
                raise DataError(
                    f"{file}:{lines.line_num} has more cells than the first line has names; put "
                    "quotes around cells that hold what separates them, as decimal commas"
                )
            rows.append(row)
    except csv.Error as error:
        raise DataError(f"{file} is not CSV: {error}") from error
    return _with_points(file, rows, names)


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
    header = text.partition("\n")[0]
    found = {}
    for separator in _SEPARATORS:
        cells = next(csv.reader([header], delimiter=separator), [])
        found[separator] = (len(wanted & set(cells)), len(cells))
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
