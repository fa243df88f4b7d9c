"""The tables and the card of a curated set."""

import numpy as np
import pytest
from rich.console import Console

from tersely.metrics.passrates import pass_rate
from tersely.report.tables.curated import (
    SetView,
    draw_curated,
    tabulate_left_out,
    tabulate_rates,
    write_card,
)


def rate(problem, source, right, *, n=4, graded=4, target_tokens=None):
    return pass_rate(
        problem,
        source,
        right_S=np.arange(n) < right,
        tokens_S=10 * np.arange(1, n + 1),
        finished_S=np.arange(n) < 3,
        graded_S=np.arange(n) < graded,
        target_tokens=target_tokens,
    )


RATES = [rate("a", "x", 3), rate("b", "x", 1), rate("c", "y", 0), rate("d", "y", 0, graded=0)]


def cells(matrix, label):
    (row,) = [row for row in matrix.rows if row.label == label]
    return dict(zip(matrix.heads, [cell.text for cell in row.cells], strict=True))


def test_golden_table_by_source():
    table = tabulate_rates(RATES)
    assert [row.label for row in table.rows] == ["x", "y", "all"]
    x, y, everything = (cells(table, label) for label in ("x", "y", "all"))
    # x: 3/4 and 1/4; right tokens 10, 20, 30 and 10; one of four cut
    assert x["pass rate"].startswith("50.0% [")
    assert (x["prompts"], x["tokens"], x["truncated"]) == ("2", "15", "25.0%")
    assert (x["> 0.5"], x["up to 0.5"]) == ("1", "1")
    assert (y["prompts"], y["0"], y["ungraded samples"]) == ("2", "1", "4")
    assert y["tokens"] == "–"
    assert everything["pass rate"].startswith("33.3% [")
    assert "positive density" not in everything


def test_positive_density_has_a_column_where_a_target_is_given():
    table = tabulate_rates([rate("a", "x", 3, target_tokens=20), rate("b", "x", 0)])
    assert cells(table, "x")["positive density"].startswith("50.0%")
    assert "ungraded samples" not in table.heads


def test_what_is_left_out_is_counted_by_source_and_reason():
    table = tabulate_left_out([("x", "duplicate"), ("y", "duplicate"), ("y", "ungraded")])
    assert cells(table, "duplicate") == {"x": "1", "y": "1", "all": "2"}
    assert cells(table, "ungraded") == {"x": "0", "y": "1", "all": "1"}


VIEW = SetView("pass rate > 0.5", RATES[:1], [("x", "outside the rule"), ("y", "ungraded")])


def test_the_card_says_how_it_was_made_and_cannot_be_broken_by_it():
    card = write_card("easy", VIEW, rates=RATES, facts={"model": "a | b <i>"}, target_tokens=20)
    assert "| model | a \\| b &lt;i> |" in card
    assert "1 prompts. Rule: pass rate > 0.5." in card
    assert "| x | 2 | 50.0% " in card
    assert "| outside the rule | 1 | 0 | 1 |" in card
    assert "right within 20 tokens" in card


@pytest.mark.parametrize("width", [60, 110])
def test_the_terminal_shows_all_prompts_and_each_set(width):
    console = Console(width=width, record=True)
    console.print(draw_curated(RATES, {"easy": VIEW}, target_tokens=None))
    text = console.export_text()
    assert "all prompts that were sampled" in text
    assert "easy: 1 prompts kept; pass rate > 0.5" in text
    assert max(map(len, text.splitlines())) <= width
