"""One self-contained page: figures, tables, run facts and a reader of traces, all offline."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tersely.report.tables import Cell, FamilyRow, TableRow

VEGA_LITE = "6.4"


class Tile(NamedTuple):
    """A headline number: before → after, and the difference with its interval."""

    label: str
    before: str
    after: str
    change: Cell


class Figure(NamedTuple):
    """A chart with what to read off it."""

    name: str
    title: str
    caption: str
    spec: Mapping[str, Any]


class TableBlock(NamedTuple):
    """A titled table of measures and its caption."""

    title: str
    rows: Sequence[TableRow]
    caption: str


class Page(NamedTuple):
    """Everything the page shows; every string is escaped when drawn."""

    title: str
    summary: str
    tiles: Sequence[Tile]
    overall: TableBlock
    families: Sequence[FamilyRow]
    family_tables: Sequence[TableBlock]
    figures: Sequence[Figure]
    facts: Mapping[str, Mapping[str, str]]
    traces: Sequence[Mapping[str, Any]]
    traces_total: int
    budgets: Sequence[int]


def render_page(page: Page) -> str:
    """The page as HTML that loads nothing: libraries, data and style are inside it."""
    environment = Environment(
        loader=PackageLoader("tersely.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    return template.render(
        page=page,
        library=Markup(_library()),
        specs={figure.name: embed_json(figure.spec) for figure in page.figures},
        reader=embed_json({"traces": page.traces, "budgets": list(page.budgets)}),
    )


def embed_json(value: object) -> Markup:
    """JSON that cannot end its ``<script>`` element, whatever text it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    script: str = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
