"""``tersely advise``, as a user calls it."""

import csv
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tersely.lab
from tersely.cli import app

FIXTURES = Path(__file__).parents[1] / "readers" / "fixtures"
LM_EVAL = FIXTURES / "lm_eval" / "samples_lab_2026-11-22T16-47-07.051039.jsonl"
LIGHTEVAL = FIXTURES / "lighteval" / "details_lab.parquet"
INSPECT = FIXTURES / "inspect_ai" / "lab.eval"
LAB = Path(tersely.lab.__file__).parent / "checkpoint"
BEFORE = Path(__file__).parents[1] / "fixtures" / "before_h"
TABLE = ("--from", "table")


def call(*words):
    return CliRunner().invoke(app, ["advise", *map(str, words)], env={"COLUMNS": "80"})


def told(result):
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def refused(result, *expected):
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    for words in expected:
        assert words in line


def rows_of(seed, *, right=0.6, longest=1000, problems=60, samples=4, names="p"):
    draw = random.Random(seed)
    rows = []
    for p in range(problems):
        chance = right * (0.4 + 1.2 * (p / problems))
        for _ in range(samples):
            tokens = min(1024, draw.randint(longest // 4, longest))
            correct = draw.random() < chance and tokens < 1024
            rows.append(
                {
                    "problem": f"{names}{p}",
                    "correct": correct,
                    "tokens": tokens,
                    "finish": "stop" if tokens < 1024 else "length",
                    "extracted": "7" if correct else str(draw.randint(1, 3)),
                    "cap_tokens": 1024,
                }
            )
    return rows


def save(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    long = save(folder / "long.jsonl", rows_of(1, longest=1200))
    short = save(folder / "short.jsonl", rows_of(2, longest=500))
    return long, short


def test_two_models_give_sentences_a_frontier_and_the_cheapest_way_to_an_accuracy(files):
    said = told(call(*files, *TABLE, "--accuracy", "50%", "--accuracy", "99%"))
    assert "What to serve · long, short" in said
    assert "For 50.0% accuracy the cheapest is short" in said
    assert "of long, cap" in said
    assert "99.0% is not reached: the most is" in said
    assert "a router that knew each problem's budget would save" in said
    assert "instead of one" not in said
    for heading in ("Frontier: accuracy against tokens", "The cheapest way", "Where the tokens go"):
        assert heading in said


def test_no_line_is_wider_than_the_terminal(files):
    shown = call(*files, *TABLE).stdout.splitlines()
    assert max(len(line.rstrip()) for line in shown if not line.startswith("report:")) <= 80


def test_the_page_the_csv_and_the_document_say_the_same(files, tmp_path):
    out = tmp_path / "a.csv"
    result = call(*files, *TABLE, "--out", tmp_path, "--csv", out, "--json", "--quiet")
    document = json.loads(result.stdout)
    assert document["kind"] == "advice"
    assert result.stderr == ""
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(document["settings"])
    for row, setting in zip(rows, document["settings"], strict=True):
        assert float(row["accuracy"]) == setting["accuracy"]
        assert setting["accuracy_low"] <= setting["accuracy"] <= setting["accuracy_high"]
    page = (tmp_path / "advice.html").read_text()
    assert document["page"] == str(tmp_path / "advice.html")
    for line in document["conclusions"]:
        assert line.replace("'", "&#39;") in page


def test_the_cap_with_one_vote_has_the_accuracy_that_report_gives(files):
    document = json.loads(call(files[0], *TABLE, "--json", "--quiet").stdout)
    words = ["report", str(files[0]), *TABLE, "--json", "--quiet"]
    figures = json.loads(CliRunner().invoke(app, words).stdout)["figures"]
    reported = {f["budget_tokens"]: f["estimate"] for f in figures if f["name"] == "accuracy"}
    (full,) = [s for s in document["settings"] if (s["cap_tokens"], s["votes"]) == (1024, 1)]
    assert full["accuracy"] == pytest.approx(reported[1024])
    assert full["change"] is None
    (half,) = [s for s in document["settings"] if (s["cap_tokens"], s["votes"]) == (512, 1)]
    assert half["accuracy"] == pytest.approx(reported[512])


def test_prices_scale_costs_and_leave_the_choice(files):
    made = [
        json.loads(
            call(
                *(*files, *TABLE, "--price-out", price, "--json", "--quiet"),
                *("--price-in", "0.1", "--prompt-tokens", "0"),
            ).stdout
        )
        for price in ("1", "10")
    ]
    cheap, dear = made
    assert cheap["cost_in"] == "money"
    assert cheap["conclusions"] != dear["conclusions"]
    for one, other in zip(cheap["targets"], dear["targets"], strict=True):
        assert one["best"] == other["best"]
        assert other["judged_cost"]["estimate"] == pytest.approx(
            10 * one["judged_cost"]["estimate"]
        )


def test_a_price_a_side_decides_which_is_cheaper(files):
    options = ("--accuracy", "40%", *TABLE)
    assert "the cheapest is short" in told(call(*files, *options))
    assert "the cheapest is long" in told(
        call(*files, *options, "--price-out", "1:0.1", *("--price-out", "2:5"))
    )


def test_seconds_are_another_cost(files):
    said = told(call(*files, *TABLE, "--seconds-per-token", "0.02", "--by", "seconds"))
    assert "Frontier: accuracy against seconds" in said
    assert "of the time" in said


def test_a_folder_of_evaluations_stands_for_all_of_them(tmp_path):
    for level in ("low", "high"):
        shutil.copytree(BEFORE / "evaluation", tmp_path / "sweep" / level)
    assert "What to serve · high, low" in told(call(tmp_path / "sweep", "--votes", "1"))


@pytest.mark.parametrize(
    ("reader", "file", "options"),
    [
        ("lm_eval", LM_EVAL, ("--tokenizer", LAB)),
        ("lighteval", LIGHTEVAL, ("--column", "grader=exact")),
        ("inspect_ai", INSPECT, ()),
    ],
)
def test_files_of_other_tools_are_advised_on_too(reader, file, options, tmp_path):
    words = (file, "--from", reader, *options, "--out", tmp_path, "--json", "--quiet")
    result = call(*words)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["settings"][-1]["accuracy"] is not None
    assert document["evaluations"]


def test_a_file_without_token_counts_is_refused_with_how_to_count_them():
    refused(call(LM_EVAL, "--from", "lm_eval"), "keeps no token counts", "--tokenizer")


def test_answers_that_are_not_known_leave_a_dash_and_the_reason(tmp_path):
    rows = [{k: v for k, v in row.items() if k != "extracted"} for row in rows_of(3)]
    said = told(call(save(tmp_path / "blind.jsonl", rows), *TABLE))
    assert "blind: – for 2, 4 votes: answers of wrong samples are not known" in said


def test_bad_input_is_one_line_that_names_value_bound_and_fix(files, tmp_path):
    long, short = files
    other = save(tmp_path / "other.jsonl", rows_of(4, names="q"))
    for words, expected in (
        (["--price-out", "-1"], ("--price-out -1 is below 0", "from 0 on")),
        (["--price-out", "2:x"], ("--price-out x is no number",)),
        (["--price-out", "2:1"], ("--price-out is not given for evaluation 1 of 2",)),
        (["--price-in", "1", "--price-out", "1"], ("--price-in 1 needs", "--prompt-tokens")),
        (["--price-in", "1", "--prompt-tokens", "9"], ("give --price-out",)),
        (["--price-out", "3:1"], ("there are 2 evaluations",)),
        (["--price-out", "0"], ("--price-out 0 makes evaluation 1 cost nothing",)),
        (["--price-out", "1:2", "--price-out", "2:0"], ("makes evaluation 2 cost nothing",)),
        (["--by", "money"], ("--by money needs --price-out",)),
        (["--votes", "5"], ("--votes 5 is more than the 4 samples", "--samples")),
        (["--votes", "0"], ("--votes 0 is below 1",)),
        (["--caps", "2048"], ("--caps 2048 exceeds the sampled cap 1024", "--cap-tokens 2048")),
        (["--caps", "0"], ("--caps 0 is below 1 token",)),
        (["--accuracy", "60"], ("--accuracy 60", "write --accuracy 60%")),
        (["--accuracy", "0%"], ("--accuracy 0% is no accuracy above 0%",)),
        (["--accuracy", "many"], ("--accuracy many is no accuracy",)),
    ):
        refused(call(long, short, *TABLE, *words), *expected)
    refused(call(long, other, *TABLE), "share no problem", "evaluate both on the same set")
    refused(call(tmp_path / "nowhere"), "there is no")


def test_what_one_side_alone_cannot_give_is_a_note(files, tmp_path):
    few = save(tmp_path / "few.jsonl", rows_of(5, samples=2, problems=50))
    said = told(call(files[0], few, *TABLE, "--votes", "4"))
    assert "few: – for 4 votes: some problem has 2 graded samples, fewer than 4." in said
    assert "long: 10 of 60 problems left out" in said


def test_a_sample_is_told_once_as_failed_or_as_without_a_grade(tmp_path):
    rows = rows_of(3, problems=30)
    for row in rows[:5]:
        row["finish"] = "error"
    for row in rows[8:11]:
        row["correct"] = None
    said = told(call(save(tmp_path / "f.jsonl", rows), *TABLE))
    assert "5 of 120 samples failed" in said
    assert "3 of 120 samples have no grade" in said
    assert "ungraded" not in said


def test_a_failed_sample_of_ours_is_not_told_as_ungraded_too(tmp_path):
    made = tmp_path / "made"
    words = (
        "--benchmark",
        "lab",
        "--model",
        "lab",
        "--limit",
        "10",
        "--samples",
        "2",
        "--cap-tokens",
        "40",
    )
    assert CliRunner().invoke(app, ["eval", *words, "--out", str(made)]).exit_code == 0
    file = made / "records.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    lost = {"grade": "ungraded", "finish": "error", "tokens": 0, "failure": "HTTP 500"}
    records[0] |= lost
    records[3] |= {"grade": "ungraded"}
    save(file, records)
    (made / "digests.json").unlink()
    said = told(call(made))
    assert "1 of 20 samples failed" in said
    assert "1 ungraded sample left out" in said


def test_fewer_than_ten_problems_have_no_interval_anywhere_and_a_reason(tmp_path):
    few = [save(tmp_path / f"{n}.jsonl", rows_of(n, problems=9)) for n in (1, 2)]
    words = (*few, *TABLE, "--accuracy", "40%")
    said = told(call(*words))
    assert "9 problems cannot tell settings apart: intervals need 10 or more" in said
    assert said.count("intervals need 10 or more") == 1
    document = json.loads(call(*words, "--json", "--quiet").stdout)
    needed = [n for side in document["evaluations"].values() for n in side["needed"]]
    (target,) = document["targets"]
    for interval in (target["ratio"], *(n[key] for n in needed for key in ("cap", "cost"))):
        assert (interval["low"], interval["high"]) == (None, None)


def test_where_no_cap_is_stated_the_longest_sample_is_not_called_one(tmp_path):
    unstated = ("finish", "cap_tokens")
    rows = [{k: v for k, v in row.items() if k not in unstated} for row in rows_of(6, longest=900)]
    longest = max(row["tokens"] for row in rows)
    said = told(call(save(tmp_path / "open.jsonl", rows), *TABLE))
    assert f"instead of the longest sample ({longest})" in said
    assert f"cap {longest}" not in said
    assert f"longest {longest} ×1" in said


def test_samples_right_but_cut_are_wrong_here_and_in_report_and_both_say_so(tmp_path):
    rows = rows_of(1, longest=1200)
    cut = [row for row in rows if row["finish"] == "length"]
    for row in cut:
        row["correct"] = True
    file = save(tmp_path / "both.jsonl", rows)
    right = sum(row["correct"] for row in rows) - len(cut)
    document = json.loads(call(file, *TABLE, "--json", "--quiet").stdout)
    (full,) = [s for s in document["settings"] if (s["cap_tokens"], s["votes"]) == (1024, 1)]
    assert full["accuracy"] == pytest.approx(right / len(rows))
    reported = CliRunner().invoke(app, ["report", str(file), *TABLE], env={"COLUMNS": "80"})
    compared = CliRunner().invoke(
        app, ["compare", str(file), str(file), *TABLE], env={"COLUMNS": "80"}
    )
    outputs = [" ".join(each.stdout.split()) for each in (reported, compared)]
    for output in (told(call(file, *TABLE)), *outputs):
        assert (
            f"{len(cut)} samples are marked right, but cut: not right within any budget" in output
        )


def test_nothing_right_is_one_plain_sentence(tmp_path):
    rows = [{**row, "correct": False, "extracted": "1"} for row in rows_of(1, longest=900)]
    said = told(call(save(tmp_path / "wrong.jsonl", rows), *TABLE, "--accuracy", "50%"))
    assert "no setting reaches any accuracy: none of 240 graded samples is right." in said
    assert "router" not in said
    assert "cannot tell" not in said
    cut = [{**row, "tokens": 1024, "finish": "length"} for row in rows]
    said = told(call(save(tmp_path / "cut.jsonl", cut), *TABLE))
    assert "no setting reaches any accuracy: every sample was cut at 1,024 tokens; raise" in said


def test_a_router_between_evaluations_is_judged_by_the_other_half_of_samples(files):
    words = (*files, *TABLE)
    assert "Between evaluations, at their caps with one vote, a router" in told(call(*words))
    between = json.loads(call(*words, "--json", "--quiet").stdout)["router_between"]
    assert between["against"] == "short"
    same, others = between["same_samples"], between["other_samples"]
    assert same["accuracy"]["estimate"] > others["accuracy"]["estimate"]
    assert sum(between["share_of_problems"].values()) == pytest.approx(1.0)


def test_it_starts_without_torch(files):
    code = (
        "import sys; from tersely.cli import app; "
        f"app(['advise', {str(files[0])!r}, '--from', 'table', '--quiet'], standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
