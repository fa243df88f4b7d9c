import html
import json
import re
import shutil

import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError
from tersely.core.types import AlarmRecord
from tersely.dynamics.stages import NO_STAGES, Stages
from tersely.report.pages.html import embed_json
from tersely.report.pages.run import build_page, write_report
from tersely.report.tables.stages import describe_stages

CAP_TOKENS = 320


@pytest.fixture(scope="module")
def report(run_folder):
    return write_report(run_folder).page


def test_the_page_loads_nothing_and_hostile_text_adds_no_script(report, assert_closed):
    assert_closed(report)


def test_every_table_and_chart_of_a_run_names_its_protocol(report):
    text = report.read_text(encoding="utf-8")
    titles = re.findall(r"<figure>\s*<h3>(.*?)</h3>", text)
    assert len(titles) == 3
    assert all("protocol finished" in title for title in titles)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    captions += re.findall(r"<caption>(Protocol.*?)</caption>", text)
    assert len(captions) == 8
    assert all("Protocol finished" in caption for caption in captions)


def test_all_measures_are_folded_and_the_main_table_is_the_headline(report):
    text = report.read_text(encoding="utf-8")
    first, folded = text.index("<summary>All measures"), text.index("</details>")
    assert "Tokens per correct answer" in text[first:folded]
    assert "Tokens per correct answer" not in text[:first]
    assert "Pass@4 within 320 tokens" in text[:first]
    assert "Pass@4 within 160 tokens" not in text[:first]


def test_embedded_json_is_the_value_and_cannot_close_its_element():
    value = {"a": ["<think>", "</script><!--", "&lt;", "\u2028"]}
    text = str(embed_json(value))
    assert json.loads(text) == value
    assert not set("<>&") & set(text)


def test_the_page_is_the_same_when_written_again(report):
    first = report.read_bytes()
    assert write_report(report.parent).page.read_bytes() == first


def test_a_recipe_that_no_run_could_have_is_refused_by_name(run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    file = folder / "recipe.toml"
    file.write_text(file.read_text().replace("cap_tokens = 320", "cap_tokens = 0"))
    with pytest.raises(ConfigError, match=r"sampling.cap_tokens = 0"):
        write_report(folder)


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


def test_a_run_that_loses_problems_says_so_at_the_top(run, measured):
    assert not build_page(run, measured).alarms
    overall = measured.overall

    def fallen(p):
        rows = [
            m._replace(
                difference=m.difference._replace(estimate=-0.1, low=-0.2, high=0.01), p_value=p
            )
            if m.name == "pass@4"
            else m
            for m in overall.measures
        ]
        return measured._replace(overall=overall._replace(measures=tuple(rows)))

    assert build_page(run, fallen(0.01)).alarms[0][0] == "Pass@4 falls while Mean@4 does not"
    assert not build_page(run, fallen(0.05)).alarms


def test_stages_are_described_as_they_were_found():
    assert describe_stages(NO_STAGES, last_step=9).startswith("No stages are shaded")
    found = Stages(75.0, 25.0, 60.0, 200.0, 0.97)
    assert "ends at about step 75" in describe_stages(found, last_step=100)
    assert "still under way" in describe_stages(found, last_step=50)


DRIVE = """
  const text = (id) => document.getElementById(id).textContent;
  const seen = [text("where")], marks = [];
  document.getElementById("next").click(); seen.push(text("where"));
  document.getElementById("previous").click(); seen.push(text("where"));
  const filter = document.getElementById("filter");
  ["fixed", "broken"].forEach((value) => {
    filter.value = value; filter.dispatchEvent(new Event("change")); seen.push(text("where"));
  });
  filter.value = "all"; filter.dispatchEvent(new Event("change"));
  seen.push(document.querySelectorAll(".text")[0].textContent);
  seen.push(document.querySelector(".task").textContent);
  for (let moves = 0; moves < 36; moves++) {
    document.querySelectorAll(".side").forEach((side) => {
      const tokens = parseInt(side.querySelector(".length").textContent);
      marks.push([tokens, side.querySelectorAll(".mark").length]);
    });
    document.getElementById("next").click();
  }
  document.body.dataset.marks = JSON.stringify(marks);
  document.body.dataset.seen = JSON.stringify(seen);
"""


def test_a_browser_draws_the_charts_and_pages_through_traces(report, browse):
    dumped = browse(report, DRIVE)
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


def test_the_page_tells_the_alarms_of_training(run_folder, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    assert "Alarms were raised in training" not in write_report(folder).page.read_text()
    alarm = AlarmRecord(
        step=29,
        name="reasoning collapse",
        severity="error",
        evidence="accuracy 0.5 → 0.2",
        reason="hard prompts <b>",
        advice="train on easier prompts",
    )
    jsonl.write(folder / "alarms.jsonl", [alarm])
    text = write_report(folder).page.read_text(encoding="utf-8")
    assert "Alarms were raised in training" in text
    assert "reasoning collapse at step 30 (error): accuracy 0.5 → 0.2" in text
    assert "hard prompts &lt;b&gt;" in text
