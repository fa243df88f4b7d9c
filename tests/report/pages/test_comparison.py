import html
import io
import json
import re

import pytest
from rich.console import Console

from tersely.report.charts.curves import draw_problems
from tersely.report.pages.comparison import draw_comparison, gather_notes, write_comparison
from tersely.report.pages.problems import list_changed
from tersely.report.tables.pairs import name_sides, tabulate_repeats, tabulate_sides

EVIL = "</script><script>alert(1)</script>{{ 7*7 }}[red]x[/red]"
# Before: p0 and p1 once of two, p2 never. After: p0 twice, p1 lost, p2 never.
BEFORE = {"p0": "c8 w30", "p1": "c10 w20", "p2": "w9 w9"}
AFTER = {"p0": "c6 c6", "p1": "w5 w7", "p2": "w9 w9"}
WON = {"p0": "c6 c6", "p1": "c5 c5", "p2": "c9 w9"}


@pytest.fixture(scope="module")
def base(make_loaded):
    return make_loaded("base", BEFORE, cap=40, budgets=(10, 40), notes=["seen twice", "of base"])


@pytest.fixture(scope="module")
def terse(make_loaded):
    return make_loaded("terse", AFTER, cap=40, budgets=(10, 40), notes=["seen twice"])


@pytest.fixture(scope="module")
def fallen(base, terse, compare_loaded):
    """Pass@2 falls, with a p that three problems never give: the page then opens with a warning."""
    comparison, changes = compare_loaded(base, terse, ks=(1, 2))
    rows = [m._replace(p_value=0.01) if m.name == "pass@2" else m for m in comparison.measures]
    return comparison._replace(measures=tuple(rows)), changes


@pytest.fixture(scope="module")
def page(base, terse, fallen, tmp_path_factory):
    out = tmp_path_factory.mktemp("fallen") / "report.html"
    return write_comparison(base, terse, *fallen, out=out)


@pytest.fixture(scope="module")
def better(make_loaded):
    return make_loaded("better", WON, cap=40, budgets=(10, 40))


def show(renderable, *, width):
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def written(before, after, comparison, changes, out):
    return write_comparison(before, after, comparison, changes, out=out).read_text(encoding="utf-8")


def test_the_numbers_are_those_worked_out_by_hand(fallen):
    # Accuracy at 40: (1/2 + 1/2 + 0)/3 before, (1 + 0 + 0)/3 after; Pass@2: 2/3, then 1/3.
    accuracy, _, _ = tabulate_sides(fallen[0], names=("base", "terse"))
    at_cap = accuracy.rows[-1]
    assert (at_cap.before.estimate, at_cap.after.estimate) == ("33.3%", "33.3%")
    assert at_cap.difference.estimate == "0.0 pp"
    mean, passed = tabulate_repeats(fallen[0]).rows[-1].sides
    assert mean.difference.estimate == "0.0 pp"
    assert (passed.before.estimate, passed.after.estimate) == ("66.7%", "33.3%")
    assert passed.difference.estimate == "−33.3 pp"


def test_a_page_of_lost_problems_opens_with_the_warning(page):
    text = page.read_text(encoding="utf-8")
    alarm = text.index('<div class="alarm"')
    assert alarm < text.index('<div class="tiles">')
    box = text[alarm : text.index("</div>", alarm)]
    assert "Pass@2 falls while Mean@2 does not" in box
    assert "Pass@2 falls by 33.3 pp" in box
    assert "1 problem solved before by some sample is solved by none now, 0 the other way" in box


def test_a_fall_that_may_be_chance_is_no_warning(base, terse, compare_loaded):
    text = show(
        draw_comparison(*compare_loaded(base, terse, ks=(1, 2)), names=("base", "terse")), width=80
    )
    assert "┏" not in text
    assert "falls" not in text
    assert "Pass@2 is not shown to fall: −33.3 pp" in " ".join(text.split())


def test_without_a_fall_there_is_no_warning(base, better, compare_loaded, tmp_path):
    comparison, changes = compare_loaded(base, better, ks=(1, 2))
    assert 'class="alarm"' not in written(base, better, comparison, changes, tmp_path / "r.html")
    terminal = show(draw_comparison(comparison, changes, names=("base", "better")), width=80)
    assert "┏" not in terminal
    assert "Won: 1 of 3 problems" in terminal
    assert "Lost:" not in terminal


@pytest.mark.parametrize("width", [70, 80, 120, 200])
def test_the_terminal_opens_with_the_warning_and_fits(fallen, width):
    text = show(draw_comparison(*fallen, names=("base", "terse")), width=width)
    lines = text.splitlines()
    assert "Pass@2 falls while Mean@2 does not" in lines[0]
    assert max(map(len, lines)) <= width
    assert "base → terse" in text
    assert "Lost: 1 of 3 problems" in text
    assert "1/2 → 0/2" in text


def test_the_warning_is_red_and_bold(fallen):
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(draw_comparison(*fallen, names=("base", "terse")))
    assert "\x1b[1;31m" in console.file.getvalue().splitlines()[1]


def test_columns_carry_the_names_of_the_evaluations(page):
    text = page.read_text(encoding="utf-8")
    assert '<th scope="col">base</th><th scope="col">terse</th>' in text
    assert '<th scope="col">before</th>' not in text


def test_equal_names_are_told_apart_and_long_ones_keep_their_ends():
    assert name_sides("x", "x") == ("x (1)", "x (2)")
    long = name_sides("a" * 40 + "-one", "a" * 40 + "-two")
    assert long == ("…one", "…two")


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (
            "lab8B-steps-140.quiz",
            "lab8B-brief-steps-140.quiz",
            ("lab8B-steps-140…", "lab8B-brief-ste…"),
        ),
        (
            "a-very-long-name-step-20",
            "a-very-long-name-step-140",
            ("…name-step-20", "…name-step-140"),
        ),
        ("a-very-long-name", "a-very-long-name-again", ("…name", "…name-again")),
        ("short", "another", ("short", "another")),
    ],
)
def test_cut_names_keep_what_differs(before, after, shown):
    assert name_sides(before, after, width=16) == shown


def test_notes_stand_once_and_say_whose_they_are(base, terse, fallen):
    comparison = fallen[0]._replace(notes=("seen twice",))
    notes = gather_notes(base, terse, comparison, names=("base", "terse"))
    assert notes == ["seen twice", "base: of base"]
    whole = comparison._replace(notes=(f"{base.name}: of base",))
    again = gather_notes(base, terse, whole, names=("…cut", "terse"))
    assert f"{base.name}: of base" in again
    assert "…cut: of base" not in again


def test_every_table_and_chart_names_the_protocol(page, fallen):
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"<figure>\s*<h3>(.*?)</h3>", text)
    assert len(titles) == 4
    assert all("(protocol finished)" in title for title in titles)
    captions = re.findall(r"<caption>(.*?)</caption>", text)
    assert len(captions) == 6
    assert all("rotocol finished" in caption for caption in captions)
    lines = show(draw_comparison(*fallen, names=("base", "terse")), width=120).splitlines()
    assert sum("protocol finished" in line for line in lines) >= 4


def test_undefined_differences_read_as_dashes(make_loaded, compare_loaded, tmp_path):
    before = make_loaded("a", {"p0": "u8", "p1": "c8"}, cap=40, budgets=(10, 40))
    after = make_loaded("b", {"p0": "c8", "p1": "u8"}, cap=40, budgets=(10, 40))
    comparison, changes = compare_loaded(before, after, ks=(1,))
    text = written(before, after, comparison, changes, tmp_path / "r.html")
    assert "nan" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL).lower()
    shown = show(draw_comparison(comparison, changes, names=("a", "b")), width=80)
    assert "nan" not in shown.lower()
    rows = list_changed(changes, names=("a", "b"), traces={}).rows
    assert [row["cells"][4] for row in rows] == [None, None]


def test_problems_are_grouped_by_what_happened_to_them(fallen):
    rows = list_changed(fallen[1], names=("base", "terse"), traces={}).rows
    groups = {row["cells"][1]: row["groups"] for row in rows}
    assert groups == {"p0": ["better"], "p1": ["lost", "worse"], "p2": []}
    # p1: 10 and 20 tokens before, 5 and 7 after.
    (cells,) = [row["cells"] for row in rows if row["cells"][1] == "p1"]
    assert cells[2:] == [[1, 2], [0, 2], -0.5, 15.0, 6.0, 0.4]


def test_hostile_names_and_texts_break_neither_page_nor_terminal(
    make_loaded, compare_loaded, assert_closed, tmp_path
):
    before = make_loaded(
        EVIL,
        {f"{EVIL}{i}": w for i, w in enumerate(BEFORE.values())},
        cap=40,
        budgets=(10, 40),
        text=EVIL,
    )
    after = make_loaded(
        EVIL,
        {f"{EVIL}{i}": w for i, w in enumerate(AFTER.values())},
        cap=40,
        budgets=(10, 40),
        text=EVIL,
    )
    comparison, changes = compare_loaded(before, after, ks=(1, 2))
    page = write_comparison(before, after, comparison, changes, out=tmp_path / "r.html")
    assert_closed(page)
    shown = show(draw_comparison(comparison, changes, names=("[red]a[/red]", "[/]b")), width=200)
    assert "[red]a[/red] → [/]b" in shown
    assert f"{EVIL}1  1/2 → 0/2" in shown


def test_one_try_a_problem_has_no_table_of_repeats(make_loaded, compare_loaded, tmp_path):
    before = make_loaded("a", {"p0": "c8", "p1": "c8"}, cap=40, budgets=(40,))
    after = make_loaded("b", {"p0": "c6", "p1": "w8"}, cap=40, budgets=(40,))
    comparison, changes = compare_loaded(before, after, ks=(1,))
    text = written(before, after, comparison, changes, tmp_path / "r.html")
    titles = re.findall(r"<figure>\s*<h3>(.*?) \(", text)
    assert titles == [
        "Accuracy at token budgets",
        "Completion lengths by correctness",
        "Problem by problem",
    ]
    shown = show(draw_comparison(comparison, changes, names=("a", "b")), width=80)
    assert "beside" not in shown + text
    assert "one try a problem on a side tells nothing about more tries" in shown


def test_a_problem_without_grades_on_a_side_is_neither_lost_nor_drawn(make_loaded, compare_loaded):
    before = make_loaded("a", {"p0": "c8 c8", "p1": "c8 c8"}, cap=40, budgets=(40,))
    after = make_loaded("b", {"p0": "u8 u8", "p1": "w9 w9"}, cap=40, budgets=(40,))
    _, changes = compare_loaded(before, after, ks=(1,))
    spec = draw_problems(changes, names=("a", "b"))
    pairs = [row for rows in spec["datasets"].values() for row in rows if "problems" in row]
    assert pairs == [{"before": 2, "after": 0, "kind": "lost", "problems": 1}]


def test_control_characters_do_not_reach_the_terminal(make_loaded, compare_loaded):
    before = make_loaded("a", {"p\x1b[2J": "c8", "q": "c8"}, cap=40, budgets=(40,))
    after = make_loaded("b", {"p\x1b[2J": "w6", "q": "c8"}, cap=40, budgets=(40,))
    comparison, changes = compare_loaded(before, after, ks=(1,))
    comparison = comparison._replace(notes=("\x1b]0;note\x07",))
    shown = show(draw_comparison(comparison, changes, names=("a\x1b[31m", "b\r")), width=120)
    assert not {"\x1b", "\x07", "\r"} & set(shown)
    assert "p\ufffd[2J" in shown


def test_of_many_problems_all_lost_and_won_ones_are_drawn(fallen):
    # 5,000 problems, one in three drawn of those neither lost nor won: of 4,998 places 2 to 4,999
    # those that 3 divides, 3 to 4,998, which are 1,666.
    lost, same = fallen[1][1], fallen[1][2]
    spec = draw_problems([lost, lost, *[same] * 4998], names=("a", "b"))
    dots = [row for rows in spec["datasets"].values() for row in rows if "problem" in row]
    assert [row["kind"] for row in dots].count("lost") == 2
    assert len(dots) == 2 + 1666


DRIVE = """
  const all = (selector) => [...document.querySelectorAll(selector)];
  const rows = () => all("#problem-table tbody tr");
  const group = document.getElementById("group"), seen = {};
  ["lost", "won", "worse", "better", "all"].forEach((value) => {
    group.value = value;
    group.dispatchEvent(new Event("change"));
    seen[value] = rows().map((row) => row.cells[0].textContent);
  });
  rows()[1].click();
  seen.sides = all(".side header b").map((head) => head.textContent);
  seen.first = all(".side .text").map((side) => side.textContent);
  all(".side")[1].querySelectorAll(".bar button")[1].click();
  seen.second = all(".side .text").map((side) => side.textContent);
  document.body.dataset.seen = JSON.stringify(seen);
"""


def test_a_browser_filters_lost_problems_and_shows_both_traces(page, browse):
    dumped = browse(page, DRIVE)
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', dumped)[1]))
    assert [seen[name] for name in ("lost", "won", "worse", "better")] == [
        ["p1"],
        [],
        ["p1"],
        ["p0"],
    ]
    assert seen["all"] == ["p0", "p1", "p2"]
    assert seen["sides"] == ["base", "terse"]
    assert seen["first"] == ["some text base p1/0■ stop", "some text terse p1/0■ stop"]
    assert seen["second"] == ["some text base p1/0■ stop", "some text terse p1/1■ stop"]
    charts = re.findall(r'id="chart-(\w+)"[^>]*>\s*<svg', dumped)
    assert charts == ["budgets", "repeats", "lengths", "problems"]
    assert "NaN" not in dumped[dumped.index("<body") : dumped.index('id="page-data"')]
