"""``tersely curate`` as a user types it."""

import json
import re
import shutil

import polars as pl
import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import EvalRecord
from tersely.tasks.problems import read_problems

FIXED = ["curate", "--model", "lab-v1", "--problems", "lab", "--limit", "6", "--samples", "2"]
FIXED += ["--cap-tokens", "40"]


def run(out, *words):
    return CliRunner().invoke(app, [*FIXED, "--threads", "1", "--out", str(out), *words])


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    out = tmp_path_factory.mktemp("curated") / "out"
    done = run(out, "--select", "full", "--target-tokens", "20")
    assert done.exit_code == 0, done.output
    return out, done.stdout


def test_every_file_is_there_and_the_card_says_how(curated):
    out, shown = curated
    assert "full: 6 prompts kept; any pass rate" in shown
    assert "positive density" in shown
    names = {file.name for file in (out / "full").iterdir()}
    assert names == {
        "problems.jsonl",
        "verl.parquet",
        "trl.parquet",
        "dropped.jsonl",
        "README.md",
    }
    assert len(read_problems(out / "full" / "problems.jsonl")) == 6
    assert pl.read_parquet(out / "full" / "verl.parquet").height == 6
    card = (out / "full" / "README.md").read_text()
    for fact in ("model digest", "problems digest", "samples a prompt | 2", "sampling started"):
        assert f"| {fact}" in card
    rates = [json.loads(line) for line in (out / "prompts.jsonl").read_text().splitlines()]
    assert all(0 <= each["low"] <= each["rate"] <= each["high"] <= 1 for each in rates)


def test_another_choice_samples_nothing_again(curated):
    out, _ = curated
    records = out / "samples" / "records.jsonl"
    before = records.read_bytes()
    again = run(out, "--band", "0,1", "--set-size", "3")
    assert again.exit_code == 0, again.output
    assert "band: 3 prompts kept" in again.stdout
    assert re.search(r"not drawn\s.*3", again.stdout)
    assert records.read_bytes() == before


def test_a_torn_folder_goes_on_and_ends_as_an_undisturbed_one(curated, tmp_path):
    out, _ = curated
    done = run(tmp_path / "out", "--select", "full")
    assert done.exit_code == 0, done.output
    file = tmp_path / "out" / "samples" / "records.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    again = run(tmp_path / "out", "--select", "full")
    assert again.exit_code == 0, again.output
    assert "5 of 12 are there already" in again.stderr
    whole = jsonl.read(out / "samples" / "records.jsonl", EvalRecord)
    resumed = jsonl.read(file, EvalRecord)
    assert file.read_bytes().startswith(b"".join(lines[:5]))

    def key(record):
        return record.problem, record.sample, record.text, record.tokens

    assert sorted(map(key, resumed)) == sorted(map(key, whole))


def test_answers_are_written_and_told_and_again_they_are_the_same(curated, tmp_path):
    out, _ = curated
    words = ["--select", "full", "--write", "sft", "--write", "pairs", "--gap", "0"]
    done = run(out, *words)
    assert done.exit_code == 0, done.output
    files = ("sft.trl.jsonl", "sft.verl.parquet", "pairs.trl.jsonl")
    before = [(out / "full" / name).read_bytes() for name in files]
    rows = before[0].decode().count("\n")
    assert f"full: sft: {rows} shortest right answers; " in done.stdout
    assert f"- full: sft: {rows} shortest" in (out / "full" / "README.md").read_text()
    # From a folder of tersely eval, whose records stand in another order or not, they are equal.
    records = out / "samples" / "records.jsonl"
    from_folder = CliRunner().invoke(
        app,
        [
            "curate",
            "--records",
            str(out / "samples"),
            "--out",
            str(tmp_path / "b"),
            *words,
            "--json",
        ],
    )
    assert from_folder.exit_code == 0, from_folder.output
    assert [(tmp_path / "b" / "full" / name).read_bytes() for name in files] == before
    told = json.loads(from_folder.stdout)["answers"]["full"]
    assert (told["sft"]["rows"], told["pairs"]["cut"]) == (rows, told["sft"]["cut"])
    graded = [r for r in jsonl.read(records, EvalRecord) if r.finish == "length"]
    assert told["sft"]["cut"] == len(graded)
    assert run(out, "--select", "full").exit_code == 0
    assert not any((out / "full" / name).exists() for name in files)


def test_repeats_are_named_on_the_screen(curated, tmp_path):
    out, _ = curated
    benchmark = tmp_path / "bench.jsonl"
    first = read_problems(out / "full" / "problems.jsonl")[0]
    benchmark.write_text(json.dumps({"id": "q1", "prompt": first.prompt, "answer": first.answer}))
    done = run(out, "--select", "full", "--against", str(benchmark))
    assert done.exit_code == 0, done.output
    assert f"benchmark: {first.id} repeats q1 of bench, 100%" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--select", "soft"], "there is no choice 'soft'; choose one of easy, hard, full, mixes"),
        (["--band", "0.8,0.2"], "--band 0.8,0.2 must rise within 0 to 1"),
        (["--band", "0.8"], "--band '0.8' is not LOW,HIGH"),
        (["--select", "easy", "--band", "0,1"], "choose one of --select"),
        (["--samples", "0"], "samples"),
        (["--density", "0.5"], "--density is counted within --target-tokens"),
        (["--target-tokens", "41"], "--target-tokens 41 is outside 1 to the cap 40"),
        (["--limit", "0"], "--limit 0 is below 1"),
        (["--write", "sft", "--gap", "1"], "--gap 1 is outside [0, 1)"),
        (["--gap", "0.2"], "--gap 0.2 is of --write, which is not given; add --write pairs"),
        (["--drop-system-prompt"], "--drop-system-prompt is of --write, which is not given"),
        (["--write", "sft", "--pairs", "2"], "--pairs 2 is of --write pairs"),
        (["--write", "sft", "--rejected", "wrong"], "--rejected wrong is of --write pairs"),
        (["--write", "sfd"], "'sfd' is not one of"),
        (["--records", "nowhere"], "nowhere has no manifest.json"),
        (["--threads", "-1"], "--threads -1 is below 0"),
        (["--problems", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--endpoint", "http://localhost:1/v1"], "--endpoint needs --model NAME"),
        (["--extra-body", "[]", "--endpoint", "http://localhost:1/v1"], "no JSON object"),
    ],
)
def test_bad_input_ends_before_sampling(words, message, tmp_path):
    done = run(tmp_path / "out", *words)
    assert done.exit_code == 2, done.output
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.output
    assert not (tmp_path / "out" / "samples" / "records.jsonl").exists()


def test_a_problem_without_an_answer_is_named(tmp_path):
    file = tmp_path / "pool.jsonl"
    file.write_text('{"prompt": "1 + 1?", "answer": "2"}\n{"prompt": "2 + 2?"}\n')
    done = run(tmp_path / "out", "--problems", str(file))
    assert done.exit_code == 2
    assert "pool.jsonl" in done.stderr
    assert "answer" in done.stderr


def test_a_pool_that_is_refused_leaves_nothing_and_its_correction_is_taken(tmp_path):
    file, out = tmp_path / "mine.jsonl", tmp_path / "new" / "out"
    line = {"prompt": "3+4=", "answer": "7"}
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3+4="}]
    # The lab's template leaves system messages out.
    file.write_text(json.dumps({**line, "prompt": system}))
    done = run(out, "--problems", str(file), "--select", "full")
    assert done.exit_code == 2
    assert "role 'system'" in done.stderr
    assert not out.parent.exists()
    file.write_text(json.dumps({**line, "answer": "seven or so", "grader": "number"}))
    assert run(out, "--problems", str(file), "--select", "full").exit_code == 2
    assert not out.parent.exists()
    file.write_text(json.dumps(line))
    assert run(out, "--problems", str(file), "--select", "full").exit_code == 0


def test_an_empty_choice_says_where_the_prompts_lie(curated):
    out, _ = curated
    done = run(out, "--band", "0.01,0.02")
    assert done.exit_code == 2
    assert "keeps no prompt: of 6 prompts" in done.stderr


def test_another_pool_is_refused(curated):
    out, _ = curated
    done = run(out, "--limit", "7")
    assert done.exit_code == 2
    assert "was curated from other problems" in done.stderr.replace("\n", " ")


def test_a_limit_without_a_set_size_says_what_it_limits(tmp_path):
    plain = CliRunner().invoke(app, [*FIXED, "--out", str(tmp_path / "a")])
    assert "notice: --limit samples only the first prompts" in plain.stderr
    assert "--set-size" in plain.stderr
    sized = CliRunner().invoke(app, [*FIXED, "--set-size", "3", "--out", str(tmp_path / "b")])
    quiet = CliRunner().invoke(app, [*FIXED, "--quiet", "--out", str(tmp_path / "c")])
    assert "notice:" not in sized.stderr + quiet.stderr


def evaluated(folder, other):
    """A copy of the samples of a curated folder."""
    shutil.copytree(folder / "samples", other)
    return other


def test_a_sample_that_stands_twice_is_refused(curated, tmp_path):
    there = evaluated(curated[0], tmp_path / "there")
    lines = (there / "records.jsonl").read_text().splitlines(keepends=True)
    (there / "records.jsonl").write_text("".join([*lines, lines[0]]))
    words = ["curate", "--records", str(there), "--out", str(tmp_path / "out"), "--select", "full"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    first = json.loads(lines[0])
    said = f"problem '{first['problem']}' has sample {first['sample']} twice; leave one"
    assert said in done.stderr.replace("\n", " ")


def test_answers_that_cannot_be_made_leave_the_set_as_it_was(curated, tmp_path):
    """Pairs save at least the gap: with so large a gap there is none, though sft has its rows."""
    out = tmp_path / "out"
    words = ["curate", "--records", str(curated[0] / "samples"), "--out", str(out)]
    words += ["--select", "full", "--write", "sft"]
    assert CliRunner().invoke(app, words).exit_code == 0
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    more = ["--write", "pairs", "--gap", "0.99", "--set-size", "5"]
    done = CliRunner().invoke(app, [*words, *more])
    assert done.exit_code == 2, done.output
    assert "--write pairs: none of 5 problems has such answers" in done.stderr.replace("\n", " ")
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    "words",
    [
        ["--samples", "4"],
        ["--cap-tokens", "9"],
        ["--temperature", "0.5"],
        ["--model", "lab-v1"],
        ["--rows", "8"],
        ["--system-prompt", "be brief"],
        ["--retry-failed"],
    ],
)
def test_what_only_sampling_looks_at_is_refused_where_samples_are_there(words, curated, tmp_path):
    there = ["--records", str(curated[0] / "samples"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["curate", *there, "--select", "full", *words])
    assert done.exit_code == 2, done.output
    said = f"{' '.join(words)} is of sampling, and --records has samples; leave it out"
    assert said in done.stderr.replace("\n", " ")
