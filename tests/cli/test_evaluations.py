"""eval, report and compare as a user calls them: what is written, said and refused."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import EvalRecord, Finish, Grade

sys.path.insert(0, str(Path(__file__).parents[1] / "engines" / "http"))
from faulty_server import Server, choice, completion, reply, running

SMALL = ("--benchmark", "lab", "--limit", "12", "--samples", "4", "--cap-tokens", "160")
FIXTURES = Path(__file__).parents[1] / "readers" / "fixtures"


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def refused(result, *expected, code=2):
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, result.stderr
    for words in expected:
        assert words in lines[0]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evals")
    for name, seed in (("base", 0), ("other", 1)):
        done = call("eval", *SMALL, "--seed", seed, "--threads", 1, "--out", folder / name)
        assert done.exit_code == 0, done.output
    return folder


def copy_of(folder, to, *, change=lambda records: records):
    to.mkdir()
    records = jsonl.read(folder / "records.jsonl", EvalRecord)
    jsonl.write(to / "records.jsonl", change(records))
    (to / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    return to


def test_eval_prints_its_tables_names_the_protocol_and_writes_the_page(evaluated):
    done = call("eval", *SMALL, "--threads", 1, "--out", evaluated / "base")
    assert done.exit_code == 0
    assert "protocol finished" in done.stdout
    assert "n = 12 problems × 4 samples, cap 160" in done.stdout
    assert "Pass@4" in done.stdout
    assert (evaluated / "base" / "report.html").stat().st_size > 100_000


def test_the_cap_s_old_name_goes_on_with_the_same_folder(evaluated):
    words = ["--max-tokens" if word == "--cap-tokens" else word for word in SMALL]
    assert call("eval", *words, "--threads", 1, "--out", evaluated / "base").exit_code == 0
    words[-1] = "161"
    other = call("eval", *words, "--threads", 1, "--out", evaluated / "base")
    refused(other, "cap tokens is 161 here and 160")


def test_report_gives_the_same_figures_as_eval_and_exports_them(evaluated, tmp_path):
    out = ("--out", tmp_path, "--csv", tmp_path / "a.csv", "--md", tmp_path / "a.md")
    done = call("report", evaluated / "base", *out, "--png", tmp_path / "png", "--k", "1,4")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    accuracy = {
        r["budget_tokens"]: float(r["estimate"])
        for r in rows
        if r["name"] == "accuracy" and not r["source"]
    }
    records = jsonl.read(evaluated / "base" / "records.jsonl", EvalRecord)
    for budget, value in accuracy.items():
        right = [
            r.grade == "correct" and r.finish == "stop" and r.tokens <= int(budget) for r in records
        ]
        assert value == pytest.approx(sum(right) / len(right))
    assert (tmp_path / "a.md").read_text().startswith("# base")
    assert len(list((tmp_path / "png").glob("*.png"))) >= 2
    assert (tmp_path / "report.html").is_file()


def test_compare_says_what_may_be_concluded(evaluated):
    done = call("compare", evaluated / "base", evaluated / "other", "--k", "4")
    assert done.exit_code == 0, done.output
    assert "base → other" in done.stdout
    assert "Pass@4 beside Mean@4" in done.stdout
    assert (evaluated / "other" / "compare-base-other.html").is_file()


def test_a_lost_problem_is_announced_at_the_top(evaluated, tmp_path):
    def lose_one(records):
        """All tries at the problem with the fewest hits fail; another gains as many and one."""
        hits = {}
        for r in records:
            hits[r.problem] = hits.get(r.problem, 0) + (r.grade == "correct")
        some = [p for p, count in hits.items() if 0 < count < 4]
        lost, gained = min(some, key=hits.get), max(some, key=hits.get)
        gone = [replace(r, grade=Grade.WRONG) if r.problem == lost else r for r in records]
        return [
            replace(r, grade=Grade.CORRECT, finish=Finish.STOP) if r.problem == gained else r
            for r in gone
        ]

    lossy = copy_of(evaluated / "base", tmp_path / "lossy", change=lose_one)
    done = call("compare", evaluated / "base", lossy)
    assert done.exit_code == 0, done.output
    top = done.stdout[: done.stdout.index("Accuracy within each budget")]
    said = " ".join(top.split())
    assert "1 problem solved before by some sample is solved by none now" in said
    # One of twelve may be chance, and is not called a fall.
    assert "Pass@4 is not shown to fall" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--k", "8"), ("k = 8", "1 to 4", "--samples 8")),
        (("--k", "four"), ("--k 'four'", "whole number")),
        (("--budgets", "200"), ("200 exceeds sampled cap 160", "--cap-tokens 200")),
        (("--budgets", "0"), ("budget 0 is below 1",)),
        (("--protocol", "answered"), ("answered", "--protocol")),
        (("--protocol", "forced"), ("no forced answers", "--protocol forced")),
        (("--from", "nobody"), ("'nobody'", "lighteval")),
        (("--column", "tokens"), ("OURS=THEIRS",)),
        (("--tokenizer", "no/such"), ("no/such",)),
        (("--cap-tokens", "100"), ("--cap-tokens is for files of other tools",)),
        (("--column", "a=b"), ("--column is for files of other tools",)),
        (("--k", "0"), ("k = 0 is below 1",)),
        (("--budgets", "2,048"), ("'048' is no whole number",)),
        (("--out", "no/page.html"), ("no/page.html", "a folder, such as no/page")),
        (("--png", "curve.png"), ("curve.png", "a folder, such as curve")),
        (("--png", __file__), (__file__, "is no folder")),
        (("--csv", "/no/such/folder/a.csv"), ("/no/such/folder",)),
    ],
)
def test_a_report_that_cannot_be_made_is_refused(evaluated, words, expected):
    refused(call("report", evaluated / "base", *words), *expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: [*r, r[0]], ("sample", "twice")),
        (lambda r: [replace(r[0], model="m2"), *r[1:]], ("2 models", "m2")),
        (lambda r: [replace(r[0], tokens=-1), *r[1:]], ("-1 tokens",)),
        (lambda r: [replace(r[0], tokens=10**9), *r[1:]], ("1000000000 tokens", "cap 160")),
        (lambda r: [], ("no evaluation records",)),
    ],
)
def test_records_that_cannot_be_are_refused(evaluated, tmp_path, change, expected):
    refused(call("report", copy_of(evaluated / "base", tmp_path / "bad", change=change)), *expected)


def test_runs_under_two_protocols_are_not_mixed(evaluated, tmp_path):
    out = tmp_path / "answered"
    done = call("eval", *SMALL, "--threads", 1, "--protocol", "answered", "--out", out)
    assert done.exit_code == 0, done.output
    assert "protocol answered" in done.stdout
    refused(call("compare", evaluated / "base", out), "protocol finished", "--protocol")
    assert call("compare", evaluated / "base", out, "--protocol", "finished").exit_code == 0


def test_eval_refuses_bad_input_and_writes_nothing(evaluated, tmp_path):
    out = tmp_path / "new"
    problems = tmp_path / "empty.jsonl"
    problems.write_text("\n")
    ends = ("--out", out)
    refused(call("eval", "--benchmark", "nothing.jsonl", *ends), "nothing.jsonl")
    refused(call("eval", "--benchmark", problems, *ends), "holds no problem")
    refused(call("eval", *SMALL, "--budgets", "500", *ends), "500", "160", "--cap-tokens")
    refused(call("eval", *SMALL, "--model", "no/such", *ends), "no/such")
    refused(call("eval", *SMALL, "--endpoint", "http://x/v1", *ends), "--model NAME")
    extra = ("--endpoint", "http://x/v1", "--model", "m", "--extra-body", "[1]")
    refused(call("eval", *SMALL, *extra, *ends), "--extra-body", "no JSON object")
    other = ("--seed", "5", "--out", evaluated / "base")
    refused(call("eval", *SMALL, *other), "seed is 5 here and 0 there")
    assert not out.exists()


def test_an_unreachable_server_is_said_at_once_and_leaves_nothing(tmp_path):
    server = ("--endpoint", "http://127.0.0.1:9/v1", "--model", "m")
    done = call("eval", *SMALL, *server, "--out", tmp_path / "new")
    refused(done, "no server answers at http://127.0.0.1:9/v1/models", code=1)
    assert not (tmp_path / "new").exists()


def test_eval_through_a_server_keeps_what_it_has_and_goes_on(tmp_path):
    """The server answers right, then breaks for good; a second one takes the rest."""
    problems = tmp_path / "sums.jsonl"
    lines = [{"id": f"p{n}", "prompt": f"{n}+1?", "answer": str(n + 1)} for n in range(10)]
    problems.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = []

    def answer(body):
        asked.append(body["messages"][0]["content"])
        number = int(asked[-1].split("+")[0])
        said = choice(f"{number + 1}", reasoning_content="hm")
        return reply(completion(said, tokens=3))

    def break_after_twelve(body):
        return answer(body) if len(asked) < 12 else reply({"error": "no credit"}, status=401)

    words = ("eval", "--benchmark", problems, "--samples", 3, "--cap-tokens", 64, "--model", "m")
    out = ("--out", tmp_path / "run", "--concurrency", 1)
    with running(Server(answer=break_after_twelve)) as server:
        refused(call(*words, "--endpoint", server.url, *out), "401", "16 requests in a row", code=1)
    kept = jsonl.read(tmp_path / "run" / "records.jsonl", EvalRecord)
    assert len(kept) == 12
    with running(Server(answer=answer)) as server:
        done = call(*words, "--endpoint", server.url, *out)
    assert done.exit_code == 0, done.output
    records = jsonl.read(tmp_path / "run" / "records.jsonl", EvalRecord)
    assert records[:12] == kept
    assert len({(r.problem, r.sample) for r in records}) == len(records) == 30
    assert {(r.grade, r.tokens, r.text[:16]) for r in records} == {
        ("correct", 3, "<think>hm</think")
    }


def test_reports_read_what_peers_wrote(tmp_path):
    details = FIXTURES / "lighteval" / "details_lab.parquet"
    refused(call("report", details, "--from", "lighteval", "--out", tmp_path), "--column grader")
    words = ("--from", "lighteval", "--column", "grader=exact", "--out", tmp_path)
    done = call("report", details, *words)
    assert done.exit_code == 0, done.output
    assert "n = 10 problems × 4 samples" in done.stdout
    samples = next((FIXTURES / "lm_eval").glob("samples_lab_2*.jsonl"))
    refused(call("report", samples, "--from", "lm_eval", "--out", tmp_path), "--tokenizer")


def test_a_training_run_is_reported_as_one(tmp_path):
    recipe = Path(__file__).parents[1] / "flows" / "tiny.toml"
    run = tmp_path / "run"
    assert call("train", recipe, "--out", run, "--set", "learner.steps=2").exit_code == 0
    (run / "report.html").unlink()
    done = call("report", run)
    assert done.exit_code == 0, done.output
    assert "All problems (protocol finished)" in done.stdout
    assert (run / "report.html").is_file()
    refused(call("report", tmp_path / "nothing"), "there is no")


def test_two_models_in_a_file_can_be_told_apart(evaluated, tmp_path):
    def two(records):
        half = len(records) // 2
        return [replace(r, model=("a", "b")[n >= half]) for n, r in enumerate(records)]

    both = copy_of(evaluated / "base", tmp_path / "both", change=two)
    refused(call("report", both), "2 models ('a', 'b')", "--only-model")
    done = call("report", both, "--only-model", "a")
    assert done.exit_code == 0, done.output


def test_problems_that_only_share_their_ids_are_not_compared(tmp_path):
    for name, answer in (("one", "3"), ("two", "4")):
        file = tmp_path / name / "test.jsonl"
        file.parent.mkdir()
        file.write_text(json.dumps({"id": "0", "prompt": "1+2?", "answer": answer}) + "\n")
        out = ("--out", tmp_path / f"ev-{name}", "--samples", 2, "--cap-tokens", 40)
        assert call("eval", "--benchmark", file, *out, "--threads", 1).exit_code == 0
    refused(
        call("compare", tmp_path / "ev-one", tmp_path / "ev-two"), "'0' of test is not the same"
    )


def test_settings_that_differ_are_said_under_a_comparison(evaluated, tmp_path):
    out = ("--temperature", "0.5", "--threads", 1, "--out", tmp_path / "cold")
    assert call("eval", *SMALL, *out).exit_code == 0
    done = call("compare", evaluated / "base", tmp_path / "cold")
    assert "Temperature differs: 1 in base, 0.5 in cold" in " ".join(done.stdout.split())


def test_figures_over_fewer_problems_say_so(evaluated, tmp_path):
    def fewer(records):
        """Two thirds of the problems lose their last sample."""
        names = sorted({r.problem for r in records})
        return [r for r in records if r.sample < 3 or names.index(r.problem) % 3 == 0]

    ragged = copy_of(evaluated / "base", tmp_path / "ragged", change=fewer)
    words = " ".join(call("report", ragged).stdout.split())
    assert "over 4 of 12 problems only, the others have too few graded samples" in words
    words = " ".join(call("compare", evaluated / "base", ragged).stdout.split())
    assert "over 4 of 12 problems only" in words


def test_problems_without_a_grade_are_not_counted(evaluated, tmp_path):
    def ungrade(records):
        first = sorted({r.problem for r in records})[0]
        return [replace(r, grade=Grade.UNGRADED) if r.problem == first else r for r in records]

    ragged = copy_of(evaluated / "base", tmp_path / "ragged", change=ungrade)
    assert "11 problems ×" in " ".join(call("report", ragged).stdout.split())
    words = " ".join(call("compare", evaluated / "base", ragged).stdout.split())
    assert "11 problems ×" in words
    assert "12 problems ×" not in words


def test_scores_at_the_cap_do_not_depend_on_the_budgets_shown(evaluated, tmp_path):
    rows = []
    for budgets in ("160", "20"):
        path = tmp_path / f"{budgets}.csv"
        call("report", evaluated / "base", "--budgets", budgets, "--csv", path)
        lines = csv.DictReader(path.read_text().splitlines())
        rows.append({r["name"]: r["estimate"] for r in lines if not r["budget_tokens"]})
    for name in ("OckScore", "accuracy at the cap", "AUC-OAA", "tokens per correct answer"):
        assert rows[0][name] == rows[1][name]


@pytest.mark.parametrize("content", [b"[1]", b"\xff\xfe", b'{"schema": 1}', b'{"schema"'])
def test_a_manifest_that_is_none_is_refused_in_a_line(evaluated, tmp_path, content):
    broken = copy_of(evaluated / "base", tmp_path / "broken")
    (broken / "manifest.json").write_bytes(content)
    refused(call("report", broken), "manifest.json")


def test_a_file_of_something_else_is_refused_with_a_way_on(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<html>\n</html>\n")
    refused(call("report", page), "holds no evaluation records", "--from")
    refused(call("report", page, "--from", "table", "--protocol", "forced"), "forced")
