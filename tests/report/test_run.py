import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from tersely.core.errors import DataError
from tersely.dynamics.stages import NO_STAGES, Stages
from tersely.report.html import embed_json
from tersely.report.run import (
    choose_budgets,
    describe_stages,
    write_report,
)

CAP_TOKENS = 320
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on PATH: apt-get install chromium"
)


@pytest.fixture(scope="module")
def report(run_folder):
    return write_report(run_folder).page


class Loads(HTMLParser):
    """Collects what a page would load or link to, and its executable scripts."""

    def __init__(self):
        super().__init__()
        self.targets, self.scripts, self.tags = [], 0, []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        loading = ("src", "href", "srcset", "data", "action", "poster", "xlink:href")
        self.targets += [value for name, value in attrs if name in loading]
        self.scripts += tag == "script" and "application/json" not in dict(attrs).values()


def test_the_page_loads_nothing_from_anywhere(report):
    text = report.read_text(encoding="utf-8")
    page = Loads()
    page.feed(text)
    assert all(target.startswith("#") for target in page.targets)
    assert not {"link", "iframe", "img", "object", "embed", "base"} & set(page.tags)
    assert "default-src 'none'" in text
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_text_adds_no_script(report):
    page = Loads()
    page.feed(report.read_text(encoding="utf-8"))
    assert page.scripts == 2


def test_embedded_json_is_the_value_and_cannot_close_its_element():
    value = {"a": ["<think>", "</script><!--", "&lt;", "\u2028"]}
    text = str(embed_json(value))
    assert json.loads(text) == value
    assert not set("<>&") & set(text)


def test_the_page_is_the_same_when_written_again(report):
    first = report.read_bytes()
    assert write_report(report.parent).page.read_bytes() == first


def test_budgets_come_from_the_recipe_or_halve_the_cap():
    assert choose_budgets({"evaluation": {"budgets": [40, 20, 40]}}, cap_tokens=320) == [20, 40]
    assert choose_budgets({}, cap_tokens=320) == [20, 40, 80, 160, 320]
    assert choose_budgets({}, cap_tokens=3) == [1, 3]


def test_families_are_the_problems_sources(measured):
    assert [c.title for c in measured.families] == ["chain", "clock", "ledger"]
    assert sum(c.n_problems for c in measured.families) == measured.overall.n_problems == 36


def test_one_evaluation_is_not_enough(run_folder, tmp_path):
    folder = tmp_path / "one"
    shutil.copytree(run_folder, folder)
    for path in sorted((folder / "eval").glob("*.jsonl"))[1:]:
        path.unlink()
    with pytest.raises(DataError, match="holds 1 evaluations; a report needs"):
        write_report(folder)


def test_a_run_folder_without_training_logs_still_reports(run_folder, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(run_folder, folder)
    for name in ("steps.jsonl", "timings.jsonl", "problems.jsonl"):
        (folder / name).unlink()
    text = write_report(folder).page.read_text(encoding="utf-8")
    assert "This run folder holds no training steps." in text
    assert "By family" not in text


def test_stages_are_described_as_they_were_found():
    assert describe_stages(NO_STAGES, last_step=9).startswith("No stages are shaded")
    found = Stages(75.0, 25.0, 60.0, 200.0, 0.97)
    assert "ends at about step 75" in describe_stages(found, last_step=100)
    assert "still under way" in describe_stages(found, last_step=50)


DRIVE = """<script>
window.addEventListener("load", function () { setTimeout(function () {
  function text(id) { return document.getElementById(id).textContent; }
  var seen = [text("where")], marks = [];
  document.getElementById("next").click(); seen.push(text("where"));
  document.getElementById("previous").click(); seen.push(text("where"));
  var filter = document.getElementById("filter");
  ["fixed", "broken"].forEach(function (value) {
    filter.value = value; filter.dispatchEvent(new Event("change")); seen.push(text("where"));
  });
  filter.value = "all"; filter.dispatchEvent(new Event("change"));
  seen.push(document.querySelectorAll(".text")[0].textContent);
  seen.push(document.querySelector(".task").textContent);
  for (var moves = 0; moves < 36; moves++) {
    document.querySelectorAll(".side").forEach(function (side) {
      var tokens = parseInt(side.querySelector(".length").textContent);
      marks.push([tokens, side.querySelectorAll(".mark").length]);
    });
    document.getElementById("next").click();
  }
  document.body.dataset.marks = JSON.stringify(marks);
  document.body.dataset.seen = JSON.stringify(seen);
}, 0); });
</script>"""


@needs_browser
def test_a_browser_draws_the_charts_and_pages_through_traces(report, tmp_path):
    page = tmp_path / "driven.html"
    page.write_text(report.read_text(encoding="utf-8") + DRIVE, encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        f"--virtual-time-budget=10000 --user-data-dir={tmp_path / 'profile'} --dump-dom"
    ).split()
    dumped = subprocess.run(
        [BROWSER, *flags, page.as_uri()], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    charts = re.findall(r'id="chart-(\w+)".*?(?=<figcaption)', dumped, flags=re.DOTALL)
    assert charts == ["budgets", "lengths", "training"]
    for name in charts:
        start = dumped.index(f'id="chart-{name}"')
        drawn = dumped[start : dumped.index("<figcaption", start)]
        assert "<svg" in drawn
        assert drawn.count("<path") > 20
        assert "NaN" not in drawn
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', dumped)[1]))
    assert seen[:3] == ["1 of 36", "2 of 36", "1 of 36"]
    assert re.fullmatch(r"1 of \d+", seen[3])
    assert re.fullmatch(r"1 of \d+|none", seen[4])
    assert seen[5].startswith("<think></script><script>alert(1)</script><!-- &lt; {{ 7*7 }}1")
    assert "}}123456789012345678920" in seen[5].replace(" ", "")
    assert "what is 0 + 0 ?" in seen[6]
    marks = json.loads(re.search(r'data-marks="([^"]*)"', dumped)[1])
    assert len(marks) == 72
    assert CAP_TOKENS in [tokens for tokens, _ in marks]
    for tokens, drawn in marks:
        assert drawn == sum(budget < tokens for budget in (20, 40, 80, 160, CAP_TOKENS))
