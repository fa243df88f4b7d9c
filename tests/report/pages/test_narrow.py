"""Pages on a phone and on a desk: nothing is cut, and nothing scrolls sideways."""

import re

import pytest

from tersely.flows.evaluate.measuring import compare_loaded, measure_loaded
from tersely.flows.evaluate.several import compare_several
from tersely.report.pages.comparison import write_comparison
from tersely.report.pages.evaluation import write_evaluation
from tersely.report.pages.run import write_report
from tersely.report.pages.several import write_several

BUDGETS = (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 24576, 32768)
LONG = "model-with-a-very-long-name-of-sixty-characters-checkpoint-000"
WIDE = "評価結果の長い名前モデル比較実験一二三四五六七八九十"
# Says what is wider than its place once everything is drawn and every box is open.
LOOK = """
document.querySelectorAll("details").forEach((each) => { each.open = true; });
setTimeout(() => {
  const wide = [...document.querySelectorAll("body *")].filter((each) =>
    each.clientWidth && each.scrollWidth > each.clientWidth + 1 && !each.closest("svg"));
  const out = [...document.querySelectorAll("svg, td, th")].filter((each) =>
    each.getBoundingClientRect().right > innerWidth + 1);
  const drawn = document.querySelectorAll("svg.marks").length;
  parent.postMessage(["page", innerWidth, document.documentElement.scrollWidth, drawn,
    "wide:", ...wide.map((each) => each.tagName + "." + each.className),
    "out:", ...out.map((each) => each.tagName)].join(" "), "*");
}, 1500);
"""


def samples(share):
    words = {}
    for p in range(30):
        right = "c" if p % 10 < 10 * share else "w"
        words[f"p{p}"] = f"{right}{40 * p + 10} c{900 * p + 10} w{32768 - p} t32768"
    return words


@pytest.fixture(scope="module")
def sides(make_loaded):
    return [
        make_loaded(name, samples(share), cap=32768, budgets=BUDGETS)
        for name, share in ((f"{LONG}120", 0.5), (f"{LONG}240", 0.7), (WIDE, 0.2))
    ]


@pytest.fixture(scope="module")
def pages(sides, run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("pages")
    two, three = compare_loaded(*sides[:2]), compare_several(sides)
    return {
        "evaluation": write_evaluation(sides[0], measure_loaded(sides[0]), out=out / "e.html"),
        "comparison": write_comparison(*two, out=out / "c.html"),
        "several": write_several(three, out=out / "s.html"),
        "run": write_report(run_folder).page,
    }


@pytest.mark.parametrize("kind", ["evaluation", "comparison", "several", "run"])
def test_nothing_on_a_page_is_wider_than_its_place(pages, browse, kind):
    drawn = browse(pages[kind], LOOK, widths=(420, 1100))
    found = re.findall(r"page (\d+) (\d+) (\d+) wide: ?(.*?) ?out: ?(.*?) ?\|", drawn)
    assert sorted(int(inner) for inner, *_ in found) == [420, 1100], drawn[:500]
    for inner, whole, charts, wide, out in found:
        assert int(whole) <= int(inner)
        assert int(charts) >= 2
        assert wide == ""
        assert out == ""


def test_every_budget_stands_beside_its_figure_on_a_phone(pages, browse):
    script = """
    setTimeout(() => {
      const row = document.querySelector(".stacked tbody tr");
      const heads = [...row.querySelectorAll("td")].map((each) => each.dataset.head);
      const shown = [...row.querySelectorAll("td")].every((each) =>
        each.getBoundingClientRect().right <= innerWidth
        && getComputedStyle(each, "::before").content.includes(each.dataset.head));
      parent.postMessage([shown, ...heads].join(" "), "*");
    }, 1000);
    """
    drawn = browse(pages["evaluation"], script, widths=[420])
    assert f"<title>true {' '.join(f'{b:,}' for b in BUDGETS)} |</title>" in drawn
