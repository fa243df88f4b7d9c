import csv
import math

import pytest

from tersely.report.pages import comparison as pages
from tersely.report.pages.evaluation import draw_figures
from tersely.report.pages.exports import (
    Exported,
    export_comparison,
    export_evaluation,
    format_comparison,
    format_evaluation,
    write_csv,
    write_markdown,
    write_pngs,
)

BEFORE = {"p0": "c8 c30", "p1": "c10 w20", "p2": "w9 w9"}
AFTER = {"p0": "c6 c6", "p1": "w5 w7", "p2": "w9 u9"}


@pytest.fixture(scope="module")
def loaded(make_loaded):
    return make_loaded("base|<i>", BEFORE, cap=40, budgets=(10, 40))


@pytest.fixture(scope="module")
def evaluation(loaded, measure_loaded):
    return measure_loaded(loaded, ks=(1, 2))


@pytest.fixture(scope="module")
def both(loaded, make_loaded, compare_loaded):
    return compare_loaded(loaded, make_loaded("terse", AFTER, cap=40, budgets=(10, 40)), ks=(1, 2))


def read(path):
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def assert_same(line, value):
    for name in ("estimate", "low", "high", "standard_error"):
        number = getattr(value, name)
        assert line[name] == "" if math.isnan(number) else float(line[name]) == number
    assert int(line["n_problems"]) == value.n_problems
    assert int(line["n_samples"]) == value.n_samples


def test_a_csv_read_back_is_the_evaluation(evaluation, tmp_path):
    write_csv(export_evaluation(evaluation), tmp_path / "x.csv")
    lines = read(tmp_path / "x.csv")
    assert tuple(lines[0]) == Exported._fields
    assert {line["protocol"] for line in lines} == {"finished"}
    keyed = {(line["name"], line["budget_tokens"]): line for line in lines}
    assert len(keyed) == len(lines)
    for quantity, value in evaluation.measured:
        budget = "" if quantity.budget_tokens is None else str(quantity.budget_tokens)
        line = keyed[quantity.name, budget]
        assert line["unit"] == quantity.unit.value
        assert_same(line, value)
    median = keyed["tokens given correct, 50% quantile", ""]
    assert float(median["estimate"]) == 10.0


def test_a_csv_read_back_is_the_comparison(both, tmp_path):
    comparison, _ = both
    write_csv(export_comparison(comparison), tmp_path / "x.csv")
    keyed = {(r["name"], r["side"], r["budget_tokens"]): r for r in read(tmp_path / "x.csv")}
    for m in comparison.measures:
        budget = "" if m.budget_tokens is None else str(m.budget_tokens)
        for side in ("before", "after", "difference"):
            line = keyed[m.name, side, budget]
            assert_same(line, getattr(m, side))
            p = m.p_value if side == "difference" else math.nan
            assert line["p"] == ("" if math.isnan(p) else repr(p))
    assert_same(keyed["token ratio", "ratio", ""], comparison.token_ratio)
    assert_same(keyed["AES", "score", ""], comparison.aes)


def test_markdown_names_the_protocol_under_every_table(evaluation, both):
    comparison, changes = both
    texts = (
        format_evaluation(evaluation, notes=["a note"]),
        format_comparison(comparison, changes, names=("base", "terse")),
    )
    for text in texts:
        tables = [part for part in text.split("\n\n") if part.startswith("|")]
        captions = [part for part in text.split("\n\n") if "Protocol finished" in part]
        assert len(tables) >= 3
        assert all("(protocol finished)" in table.splitlines()[0] for table in tables)
        assert len(captions) == len(tables)


def test_markdown_holds_the_numbers_and_the_warning(evaluation, both, tmp_path):
    # p0 always, p1 once of two, p2 never: (1 + 0.5 + 0) / 3 within 40 tokens.
    text = format_evaluation(evaluation, notes=["a note"])
    (line,) = [line for line in text.splitlines() if line.startswith("| Accuracy |")]
    assert "33.3% \\[" in line
    assert "50.0% \\[" in line
    assert "> a note" in text
    comparison, changes = both
    # p1 is lost and p0 stays (p2 has one graded sample after, so no Pass@2): 1 of 2 problems.
    # Two problems tell nothing from chance, so that there is no warning.
    text = format_comparison(comparison, changes, names=("base", "terse"))
    assert "> **" not in text
    assert "- Pass@2 is not shown to fall: −50.0 pp" in text
    write_markdown(text, tmp_path / "x.md")
    assert (tmp_path / "x.md").read_text(encoding="utf-8") == text


def test_markdown_of_hostile_names_stays_one_table(evaluation, both):
    text = format_evaluation(evaluation, notes=["</script> | a\nb"])
    assert text.startswith("# base\\|&lt;i>")
    assert "&lt;/script> \\| a b" in text
    comparison, changes = both
    heads = format_comparison(comparison, changes, names=("a|b", "[x](y)")).splitlines()
    (head,) = [line for line in heads if line.startswith("| accuracy ")]
    assert head == "| accuracy (protocol finished) | a\\|b | \\[x](y) | difference | p |"


def test_pictures_are_twice_their_size_and_carry_their_caption(loaded, evaluation, tmp_path):
    figures = draw_figures(loaded, evaluation)
    paths = write_pngs(figures, tmp_path / "png")
    assert [path.name for path in paths] == ["budgets.png", "lengths.png"]
    for path in paths:
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width = int.from_bytes(data[16:20])
        assert width > 2 * 900


def test_every_figure_names_its_protocol(loaded, evaluation, both, make_loaded):
    after = make_loaded("terse", AFTER, cap=40, budgets=(10, 40))
    figures = [*draw_figures(loaded, evaluation), *pages.draw_figures(loaded, after, *both)]
    assert len(figures) == 6
    for figure in figures:
        assert "(protocol finished)" in figure.title
        assert "Protocol finished: correct, ended by itself" in figure.caption
        assert "n = 3 problems × 2 samples" in figure.caption
