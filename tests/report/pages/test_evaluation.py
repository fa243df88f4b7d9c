import html
import io
import json
import re
from itertools import chain

import pytest
import vl_convert
from rich.console import Console

from tersely.report.charts.curves import draw_accuracy
from tersely.report.charts.style import ANY_OF
from tersely.report.pages.evaluation import draw_evaluation, draw_figures, write_evaluation
from tersely.report.pages.library import VEGA_LITE
from tersely.report.pages.problems import count_problems, list_problems
from tersely.report.tables.matrices import tabulate_budgets, tabulate_lengths, tabulate_scores
from tersely.report.tables.words import label

EVIL = "</script><script>alert(1)</script><!-- &lt; {{ 7*7 }} [red]x[/red] [/] |"
# Within 10 tokens each of p0 and p1 has one right sample of two; within 40 p0 has both.
SMALL = {"p0": "c8 c30", "p1": "c10 w20"}


@pytest.fixture(scope="module")
def small(make_loaded):
    return make_loaded("small", SMALL, cap=40, budgets=(10, 40), notes=["a note of the loader"])


@pytest.fixture(scope="module")
def measured(small, measure_loaded):
    return measure_loaded(small, ks=(1, 2))


@pytest.fixture(scope="module")
def hostile(make_loaded):
    problems = {f"{EVIL}{i}": "c8 w9 t40" for i in range(3)} | {"dull": "u8 u8 u8"}
    return make_loaded(EVIL, problems, cap=40, budgets=(10, 40), text=EVIL, notes=[EVIL])


@pytest.fixture(scope="module")
def hostile_page(hostile, measure_loaded, tmp_path_factory):
    out = tmp_path_factory.mktemp("hostile") / "deep" / "report.html"
    return write_evaluation(hostile, measure_loaded(hostile, ks=(1, 3)), out=out)


def show(renderable, *, width):
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def estimates(matrix):
    return {row.label: [cell.estimate for cell in row.cells] for row in matrix.rows}


def test_the_numbers_by_budget_are_those_worked_out_by_hand(measured):
    # Pass@2: each problem has a hit at both budgets. Pass^2: none at 10, p0 at 40.
    assert estimates(tabulate_budgets(measured)) == {
        "Accuracy": ["50.0%", "75.0%"],
        "Pass@2": ["100.0%", "100.0%"],
        "Pass^2": ["0.0%", "50.0%"],
        "G-Pass@2 τ=.5": ["100.0%", "100.0%"],
        "Majority@2": ["100.0%", "–"],
    }


def test_lengths_and_scores_are_those_worked_out_by_hand(measured):
    # All: 8, 30, 10, 20; correct: 8, 30, 10; 68 tokens bought three correct answers.
    lengths = estimates(tabulate_lengths(measured))
    heads = tabulate_lengths(measured).heads
    assert [lengths["all"][heads.index(h)] for h in ("mean", "median", "samples")] == [
        "17.0",
        "15.0",
        "4",
    ]
    assert lengths["correct"][0] == "16.0"
    assert lengths["wrong"][0] == "20.0"
    assert set(lengths["truncated"][:-1]) == {"–"}
    scores = estimates(tabulate_scores(measured))
    assert scores["Tokens per correct answer"] == ["22.7"]
    assert scores["Truncated share"] == ["0.0%"]
    # Accuracy 75% at 17 tokens: 750 / 17.
    assert scores["Accuracy per 1,000 tokens"] == ["44.12"]


def test_figures_known_only_where_all_or_nothing_was_solved_are_left_out(measured):
    # What p1's wrong sample answered is not known: a vote over p0 alone would be right. Within
    # 10 tokens it had not answered, so that both votes are known.
    assert estimates(tabulate_budgets(measured))["Majority@2"] == ["100.0%", "–"]
    assert "Outcome efficiency" not in estimates(tabulate_scores(measured))
    assert "OckScore" in estimates(tabulate_scores(measured))


def test_problems_count_hits_within_the_budget_and_all_lengths(small):
    first, second = count_problems(small.table, budget_tokens=10, protocol=small.protocol)
    assert first[1:] == ("p0", 1, 2, 19.0, 19.0, 0)
    assert second[1:] == ("p1", 1, 2, 15.0, 10.0, 0)


def test_problems_are_grouped_by_how_many_samples_solve_them(make_loaded):
    words = {"every": "c8 c8", "some": "c8 w8", "none": "w8 t40", "ungraded": "u8 u8"}
    loaded = make_loaded("x", words, cap=40, budgets=(40,))
    problems = count_problems(loaded.table, budget_tokens=40, protocol=loaded.protocol)
    rows = list_problems(problems, budget_tokens=40, traces={("bench", "some"): {}}).rows
    groups = {row["cells"][1]: row["groups"] for row in rows}
    assert groups == {"every": ["every"], "some": ["some"], "none": ["none", "cut"], "ungraded": []}
    assert {row["cells"][1]: row["trace"] for row in rows if row["trace"] is not None} == {
        "some": 0
    }
    assert next(row["cells"][3] for row in rows if row["cells"][1] == "ungraded") is None


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_the_terminal_shows_every_number_in_any_width(measured, width):
    text = show(draw_evaluation(measured, notes=["a note of the loader"]), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    accuracy = measured.value("accuracy", 40)
    assert "75.0%" in text
    assert f"[{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]" in text
    assert "Note: a note of the loader" in text


def test_many_budgets_are_shared_out_evenly_over_narrow_tables(make_loaded, measure_loaded):
    budgets = (1, 2, 4, 8, 16, 32, 40)
    loaded = make_loaded("x", SMALL, cap=40, budgets=budgets)
    text = show(draw_evaluation(measure_loaded(loaded, ks=(1, 2)), notes=[]), width=80)
    heads = [line.split()[1:] for line in text.splitlines() if line.startswith("tokens  ")]
    assert heads[:2] == [["1", "2", "4", "8"], ["16", "32", "40"]]


def test_every_terminal_table_names_the_protocol(measured):
    lines = show(draw_evaluation(measured, notes=[]), width=120).splitlines()
    titles = [line for line in lines if line.startswith("small · ")]
    assert len(titles) == 3
    assert all("protocol finished" in title for title in titles)
    assert "Protocol finished: correct, ended by itself, tokens within the budget." in "".join(
        lines
    )


def test_the_page_shows_numbers_protocol_and_notes(small, measured, tmp_path):
    page = write_evaluation(small, measured, out=tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    body = text[: text.index('<script type="application/json" id="page-data"')]
    for shown in ("75.0%", "17.0", "22.7", "44.12", "a note of the loader"):
        assert shown in body
    assert "NaN" not in body
    assert "nan" not in re.sub(r"<script.*?</script>", "", body, flags=re.DOTALL)
    tables = re.findall(r'<table class="matrix.*?</table>', text, flags=re.DOTALL)
    assert len(tables) == 3
    for table in tables:
        assert "(protocol finished)" in table[: table.index("</thead>")]
        assert "Protocol finished" in re.search("<caption>(.*?)</caption>", table)[1]


def test_the_page_is_the_same_when_written_again(small, measured, tmp_path):
    first = write_evaluation(small, measured, out=tmp_path / "a.html").read_bytes()
    assert write_evaluation(small, measured, out=tmp_path / "b.html").read_bytes() == first


def test_hostile_names_prompts_and_texts_break_neither_page_nor_terminal(
    hostile, hostile_page, assert_closed, measure_loaded
):
    assert_closed(hostile_page)
    text = hostile_page.read_text(encoding="utf-8")
    assert html.escape(EVIL).replace("&#x27;", "&#39;") in text
    assert "49 [red]" not in text
    shown = show(draw_evaluation(measure_loaded(hostile, ks=(1, 3)), notes=[EVIL]), width=200)
    assert EVIL in shown


def test_problems_without_any_grade_read_as_dashes(make_loaded, measure_loaded, tmp_path):
    loaded = make_loaded("x", {"p0": "u8", "p1": "u8"}, cap=40, budgets=(10, 40))
    evaluation = measure_loaded(loaded, ks=(1,))
    page = write_evaluation(loaded, evaluation, out=tmp_path / "report.html")
    assert set(chain(*estimates(tabulate_budgets(evaluation)).values())) == {"–"}
    assert "Left out: 2 ungraded samples." in page.read_text(encoding="utf-8")
    assert "nan" not in show(draw_evaluation(evaluation, notes=[]), width=80)


def test_one_budget_and_one_token_still_draw(make_loaded, measure_loaded):
    loaded = make_loaded("x", {"p0": "c1 c1", "p1": "c1 w1"}, cap=1, budgets=(1,))
    for figure in draw_figures(loaded, measure_loaded(loaded, ks=(1, 2))):
        drawn = vl_convert.vegalite_to_svg(figure.spec, vl_version=VEGA_LITE)
        assert "NaN" not in drawn
        assert drawn.count("<path") > 20


@pytest.mark.parametrize("most", [2, 7, 8, 12])
def test_each_number_of_tries_has_a_line_of_its_own(make_loaded, measure_loaded, most):
    loaded = make_loaded("x", {"p0": "c8 " * most, "p1": "w8 " * most}, cap=40, budgets=(10, 40))
    spec = draw_accuracy(measure_loaded(loaded, ks=tuple(range(1, most + 1))))
    scale = spec["concat"][1]["layer"][0]["encoding"]["color"]["scale"]
    tries = [label(f"pass{sign}{k}") for sign in "@^" for k in range(2, most + 1)]
    assert sorted(scale["domain"]) == sorted([*tries, "1 try"])
    assert len(set(scale["range"])) == len(scale["domain"])
    # The most tries have the darkest blue, however many there are.
    assert scale["range"][0] == ANY_OF[0]


DRIVE = """
  const at = (selector) => document.querySelector(selector), seen = {};
  const rows = () => [...document.querySelectorAll("#problem-table tbody tr")];
  const names = () => rows().map((row) => row.cells[0].textContent);
  const set = (id, value, event) => {
    at(id).value = value;
    at(id).dispatchEvent(new Event(event));
  };
  const heads = document.querySelectorAll("#problem-table thead button");
  seen.first = names();
  heads[1].click();
  seen.hits = names();
  seen.sorted = at("th[aria-sort]").getAttribute("aria-sort");
  heads[1].click();
  seen.reversed = names();
  heads[2].click();
  seen.tokens = names();
  set("#group", "none", "change");
  seen.none = names();
  seen.count = at("#count").textContent;
  seen.where = at("#where").textContent;
  set("#group", "all", "change");
  set("#search", "P1?", "input");
  seen.search = names();
  set("#search", "", "input");
  rows().find((row) => row.cells[0].textContent === "p1").click();
  seen.task = at(".task").textContent;
  seen.open = at("tr.open").cells[0].textContent;
  seen.text = at(".side .text").textContent;
  at(".side .bar button:last-of-type").click();
  seen.second = at(".side .text").textContent;
  seen.sample = at(".side .bar .sample.where").textContent;
  seen.dash = rows().at(-1).cells[2].textContent;
  document.body.dataset.seen = JSON.stringify(seen);
"""


def test_a_browser_sorts_and_filters_problems_and_opens_their_traces(
    make_loaded, measure_loaded, tmp_path, browse
):
    problems = {"p0": "c8 w30", "p1": "c10 c20", "p2": "w9 w9", "p3": "u1 u1"}
    loaded = make_loaded("x", problems, cap=40, budgets=(10, 40))
    out = tmp_path / "report.html"
    dumped = browse(write_evaluation(loaded, measure_loaded(loaded, ks=(1, 2)), out=out), DRIVE)
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', dumped)[1]))
    assert seen["first"] == ["p0", "p1", "p2", "p3"]
    assert seen["hits"] == ["p1", "p0", "p2", "p3"]
    assert seen["sorted"] == "descending"
    assert seen["reversed"] == ["p2", "p0", "p1", "p3"]
    assert seen["tokens"] == ["p0", "p1", "p2", "p3"]
    assert seen["none"] == ["p2"]
    assert (seen["count"], seen["where"]) == ("1 of 4 problems", "1 of 1")
    assert seen["search"] == ["p1"]
    assert "some text p1?" in seen["task"]
    assert seen["open"] == "p1"
    assert seen["text"] == "some text x p1/0■ stop"
    assert seen["second"] == "some text x p1/1■ stop"
    assert seen["sample"] == "sample 2 of 2 kept"
    assert seen["dash"] == "–"
    charts = re.findall(r'id="chart-(\w+)"[^>]*>\s*<svg', dumped)
    assert charts == ["budgets", "lengths"]
    assert "NaN" not in dumped[dumped.index("<body") : dumped.index('id="page-data"')]


def test_a_browser_shows_hostile_text_as_it_is(hostile_page, browse):
    dumped = browse(
        hostile_page,
        "document.body.dataset.seen = JSON.stringify([document.querySelector('.text').textContent,"
        "document.querySelector('h1').textContent]);",
    )
    text, heading = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', dumped)[1]))
    assert text.startswith(f"{EVIL} {EVIL} ")
    assert heading == EVIL
