"""Self-contained pages: figures, tables, facts and a reader of traces, all offline."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tersely.core.manifest import write_fact
from tersely.metrics.numbers import Cell
from tersely.report.pages.library import library


class Tile(NamedTuple):
    """A headline number; ``before`` empty where there is only one evaluation."""

    label: str
    before: str
    after: str
    change: Cell


class Figure(NamedTuple):
    """A chart with an explanation; title and caption name the protocol."""

    name: str
    title: str
    caption: str
    spec: Mapping[str, Any]


class Reader(NamedTuple):
    """Traces for the reader.

    Args:
        sides: the heads of the columns, one or two.
        budgets: where marks may stand.
        traces: one entry a problem, as ``traces`` describes them.
        filters: value and label of each choice of the drop-down; none, no drop-down.
        note: what the reader should know about the selection.
    """

    sides: Sequence[str]
    budgets: Sequence[int]
    traces: Sequence[Mapping[str, Any]]
    filters: Sequence[tuple[str, str]]
    note: str


class Grid(NamedTuple):
    """A table that sorts and filters in the browser.

    Args:
        columns: label and kind (text, tokens, share, hits, ratio, points, count) of each.
        rows: cells, the names of the groups that the row is in, and where its trace is.
        groups: value and label of each group.
        benchmarks: to choose one from; fewer than two, no choice.
    """

    columns: Sequence[Mapping[str, str]]
    rows: Sequence[Mapping[str, Any]]
    groups: Sequence[tuple[str, str]]
    benchmarks: Sequence[str]


def render_page(template: str, page: tuple[Any, ...], *, reader: Reader, grid: Grid | None) -> str:
    """The page as HTML that loads nothing: libraries, data and style are inside it.

    Every string of ``page`` is escaped when drawn.
    """
    data = {"reader": reader._asdict(), "grid": None if grid is None else grid._asdict()}
    return (
        _environment()
        .get_template(template)
        .render(
            page=page,
            reader=reader,
            grid=grid,
            data=embed_json(data),
            library=Markup(library()),
        )
    )


def embed_json(value: object) -> Markup:
    """JSON that cannot end its ``<script>`` element, whatever text it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tersely.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embed"] = embed_json
    environment.filters["fact"] = write_fact
    return environment
