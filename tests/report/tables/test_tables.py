import io

import numpy as np
from rich.console import Console

from tersely.metrics.budgets import Protocol
from tersely.metrics.comparison import Comparison, Measure
from tersely.metrics.intervals import Interval
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import UNDEFINED, Cell
from tersely.report.tables.comparison import choose_headline, format_rows, write_caption
from tersely.report.tables.terminal import draw_headline

NAN = float("nan")


def interval(estimate, low, high):
    return Interval(estimate, low, high, 30, 120)


def comparison(*measures):
    return Comparison(
        title="All problems",
        protocol=Protocol.FINISHED,
        budgets=(2048,),
        measures=measures,
        token_ratio=interval(0.5, 0.4, 0.6),
        aes=interval(1.0, 0.5, 1.5),
        n_problems=30,
        samples_before=4,
        samples_after=4,
        cap_tokens=2048,
        ungraded_before=0,
        ungraded_after=2,
        notes=("Problems in one evaluation only, left out: 1 before, 0 after.",),
    )


TOKENS = Measure(
    name="mean tokens",
    unit=Unit.TOKENS,
    budget_tokens=None,
    before=interval(1234.56, 1200.0, 1300.04),
    after=interval(400.0, 380.0, 420.0),
    difference=interval(-834.56, -900.0, -700.0),
    p_value=0.001,
)
ACCURACY = Measure(
    name="accuracy",
    unit=Unit.SHARE,
    budget_tokens=2048,
    before=interval(0.5, 0.45, 0.55),
    after=interval(0.5125, NAN, NAN),
    difference=interval(0.0125, -0.03, 0.05),
)
NOTHING = Measure(
    name="mean tokens given wrong",
    unit=Unit.TOKENS,
    budget_tokens=None,
    before=interval(10.0, 9.0, 11.0),
    after=interval(NAN, NAN, NAN),
    difference=interval(NAN, NAN, NAN),
)


def test_tokens_and_shares_are_written_in_their_units_with_intervals():
    tokens, accuracy = format_rows([TOKENS, ACCURACY])
    assert tokens.label == "Mean tokens"
    assert tokens.before == Cell("1,235", "[1,200, 1,300]")
    assert tokens.difference == Cell("−834.6", "[−900.0, −700.0]", clear=True)
    assert accuracy.label == "Accuracy within 2,048 tokens"
    assert accuracy.before == Cell("50.0%", "[45.0, 55.0]")
    assert accuracy.difference == Cell("+1.2 pp", "[−3.0, +5.0]", clear=False)


def test_undefined_reads_as_a_dash_never_as_zero():
    (row,) = format_rows([NOTHING])
    assert row.after == row.difference == Cell(UNDEFINED, "")
    (row,) = format_rows([ACCURACY])
    assert row.after == Cell("51.2%", f"[{UNDEFINED}]")


def test_the_caption_says_what_the_means_rest_on():
    caption = write_caption(comparison(TOKENS))
    assert caption.startswith(
        "Protocol finished: correct, ended by itself, tokens within the budget. "
        "n = 30 problems × 4 samples, cap 2,048 tokens."
    )
    assert "Failed or ungraded samples left out: 0 before, 2 after." in caption


def test_the_terminal_table_shows_brackets_as_they_are():
    console = Console(width=160, file=io.StringIO())
    console.print(draw_headline(comparison(TOKENS, NOTHING)))
    text = console.file.getvalue()
    assert "1,235 [1,200, 1,300]" in text
    assert "−834.6 [−900.0, −700.0]" in text
    assert "n = 30 problems × 4 samples" in text
    assert "All problems (protocol finished)" in text
    assert "left out: 1 before" in " ".join(text.split())


def test_a_difference_is_bold_by_its_p_value_whatever_its_interval_holds():
    for p, low, clear in [(0.063, 0.01, False), (0.049, -0.01, True), (0.05, 0.01, False)]:
        (row,) = format_rows([ACCURACY._replace(difference=interval(0.1, low, 0.2), p_value=p)])
        assert row.difference.clear is clear


def test_a_difference_that_rounds_to_zero_has_no_sign():
    flat = ACCURACY._replace(difference=interval(-0.0001, -0.01, np.float64(0.0)))
    (row,) = format_rows([flat])
    assert row.difference == Cell("0.0 pp", "[−1.0, 0.0]", clear=False)


def test_the_headline_keeps_the_order_of_its_rows_and_leaves_the_rest_out():
    rows = [
        ACCURACY._replace(name="pass@4"),
        ACCURACY._replace(name="g-pass@4 (0.5)"),
        ACCURACY._replace(name="mean@4"),
        ACCURACY,
        TOKENS._replace(name="tokens per correct answer"),
        TOKENS,
    ]
    names = [m.name for m in choose_headline(comparison(*rows))]
    assert names == ["mean tokens", "accuracy", "mean@4", "pass@4"]


def test_the_headline_takes_the_largest_k_that_nearly_all_problems_have():
    def row(name, problems):
        of = Interval(0.5, 0.4, 0.6, problems, 64 * problems)
        return Measure(name, Unit.SHARE, 2048, before=of, after=of, difference=of)

    rows = [row("accuracy", 30), row("mean@64", 4)]
    rows += [row(f"pass@{k}", n) for k, n in ((1, 30), (16, 30), (32, 28), (64, 4))]
    shown = [measure.name for measure in choose_headline(comparison(*rows))]
    assert shown == ["accuracy", "pass@32"]
