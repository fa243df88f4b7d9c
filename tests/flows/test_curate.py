"""From sampled prompts to the sets to train on."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.types import EvalRecord, Finish, Grade, Problem
from tersely.flows.curate import Choice, Dropped, Select, check_choice, choose
from tersely.flows.curated_files import write_curated
from tersely.tasks.problems import read_problems

GRADES = {
    "c": (Grade.CORRECT, Finish.STOP),
    "w": (Grade.WRONG, Finish.STOP),
    "t": (Grade.CORRECT, Finish.LENGTH),
    "u": (Grade.UNGRADED, Finish.STOP),
}
# grade and tokens of each sample
SAMPLES = {
    "easy": "c5 c9 c30 w4",
    "half": "c5 c30 w4 w6",
    "never": "w5 w5 w5 t40",
    "dark": "u5 u5 u5 u5",
    "twin": "c5 c5 c5 c5",
    "known": "c5 c5 c5 c5",
}
PROMPTS = {"twin": "2 + 2 is ?", "known": "of the benchmark"}
POOL = [
    Problem(id=name, prompt=PROMPTS.get(name, f"prompt {name}"), answer="4", source=source)
    for name, source in zip(SAMPLES, ["a", "a", "a", "b", "b", "b"], strict=True)
]
POOL.insert(4, Problem(id="first", prompt="2 + 2 is?", answer="4", source="b"))
SAMPLES["first"] = "c5 c5 w5 w5"
BENCHMARK = (Problem(id="q7", prompt="Of the benchmark", answer="5", source="bench"),)


@pytest.fixture
def records(tmp_path):
    file = tmp_path / "records.jsonl"
    jsonl.write(
        file,
        [
            EvalRecord(
                run="r",
                benchmark=problem.source,
                problem=problem.id,
                sample=place,
                grade=GRADES[word[0]][0],
                tokens=int(word[1:]),
                finish=GRADES[word[0]][1],
                cap_tokens=40,
                seed=0,
            )
            for problem in POOL
            for place, word in enumerate(SAMPLES[problem.id].split())
        ],
    )
    return file


def ids(found):
    return [problem.id for problem in found.problems]


def reasons(found):
    return {each.problem: each.reason for each in found.dropped}


def test_easy_prompts_are_kept_and_every_other_one_has_its_reason(records):
    curated = choose(POOL, records, Choice(select=Select.EASY, against=BENCHMARK))
    (found,) = curated.sets.values()
    assert ids(found) == ["easy"]
    assert reasons(found) == {
        "half": "not chosen",
        "never": "not chosen",
        "dark": "ungraded",
        "first": "not chosen",
        "twin": "duplicate",
        "known": "benchmark",
    }
    details = {each.problem: each.details for each in found.dropped}
    assert details["known"] == "shares 100% of its words with q7 of bench: of the benchmark"
    assert details["half"] == "pass rate 0.500, n = 4"
    assert "first of b" in details["twin"]


def test_a_kept_problem_says_what_was_learned_of_it(records):
    curated = choose(POOL, records, Choice(band=(0.75, 1.0), keep_duplicates=True))
    easy, twin, known = curated.sets["band"].problems
    # 3 of 4 right; (5 + 9 + 30 + 4) / 4 tokens
    assert (easy.difficulty, easy.reference_accuracy, easy.reference_tokens) == (0.25, 0.75, 12.0)
    assert (twin.id, known.id) == ("twin", "known")


def test_a_cut_right_answer_passes_nothing(records):
    rates = {r.problem: r for r in choose(POOL, records, Choice(select=Select.FULL)).rates}
    assert (rates["never"].rate, rates["never"].truncated_share) == (0.0, 0.25)


def test_density_counts_what_is_right_within_the_target(records):
    # within 9 tokens: easy 2/4, half 1/4, never 0, first 2/4, twin and known 1
    choice = Choice(density=0.6, target_tokens=9, keep_duplicates=True)
    found = choose(POOL, records, choice).sets["density"]
    # 1, 1, .5, .5 have mean .75; with .25 it is .65; with 0 .54
    assert set(ids(found)) == {"twin", "known", "easy", "first", "half"}


def test_a_set_of_limited_size_is_drawn_by_the_seed(records):
    drawn = {
        tuple(ids(choose(POOL, records, Choice(select=Select.FULL, limit=2, seed=s)).sets["full"]))
        for s in range(6)
    }
    assert all(len(names) == 2 for names in drawn)
    assert len(drawn) > 1


def test_nothing_to_keep_says_where_the_prompts_lie(records):
    with pytest.raises(ConfigError, match=r"of 4 prompts 1 have a pass rate above 0\.5, 3 up to"):
        choose(POOL, records, Choice(band=(0.9, 1.0), against=BENCHMARK))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(), "choose one of --select"),
        (Choice(select=Select.EASY, band=(0.0, 1.0)), "choose one of --select"),
        (Choice(band=(0.8, 0.2)), "--band 0.8,0.2 must rise"),
        (Choice(quantiles=(0.2, 1.2)), "--quantiles 0.2,1.2 must rise within 0 to 1"),
        (Choice(density=0.5), "give both"),
        (Choice(select=Select.EASY, target_tokens=9), "give both"),
        (Choice(density=1.5, target_tokens=9), r"--density 1.5 is outside \(0, 1\]"),
        (Choice(density=0.5, target_tokens=41), "--target-tokens 41 is outside 1 to the cap 40"),
        (Choice(select=Select.EASY, limit=0), "--limit 0 is below 1"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused_before_sampling(choice, message):
    with pytest.raises(ConfigError, match=message):
        check_choice(choice, cap_tokens=40)


def test_every_format_reads_back_as_the_same_problems(records, tmp_path):
    curated = choose(POOL, records, Choice(select=Select.FULL, against=BENCHMARK))
    (tmp_path / "out").mkdir()
    write_curated(tmp_path / "out", curated, facts={"model": "a | b"})
    folder = tmp_path / "out" / "full"
    problems = read_problems(folder / "problems.jsonl")
    assert problems == curated.sets["full"].problems
    verl = pl.read_parquet(folder / "verl.parquet").to_dicts()
    trl = pl.read_parquet(folder / "trl.parquet").to_dicts()
    for ours, theirs, other in zip(problems, verl, trl, strict=True):
        message = [{"role": "user", "content": ours.prompt}]
        assert theirs["prompt"] == other["prompt"] == message
        assert theirs["reward_model"] == {"style": "rule", "ground_truth": ours.answer}
        assert (theirs["data_source"], other["source"]) == (ours.source, ours.source)
        assert theirs["extra_info"]["id"] == other["id"] == ours.id
        assert other["answer"] == ours.answer
    assert jsonl.read(folder / "dropped.jsonl", Dropped) == curated.sets["full"].dropped
    lines = (tmp_path / "out" / "prompts.jsonl").read_text().splitlines()
    assert [json.loads(line)["problem"] for line in lines] == [p.id for p in POOL]
    assert json.loads(lines[3])["rate"] is None
    card = (folder / "README.md").read_text()
    assert "| model | a \\| b |" in card
    assert "| duplicate | 1 |" in card


def test_the_lab_is_curated_and_chosen_again_without_sampling(tmp_path):
    def run(*words):
        fixed = ["curate", "--problems", "lab", "--pool", "6", "--samples", "2"]
        fixed += ["--max-tokens", "40", "--threads", "1", "--out", str(tmp_path / "out")]
        return CliRunner().invoke(app, [*fixed, *words])

    done = run("--select", "full")
    assert done.exit_code == 0, done.output
    assert "full: 6 prompts kept" in done.stdout
    records = tmp_path / "out" / "samples" / "records.jsonl"
    before = records.read_bytes()
    again = run("--band", "0,1", "--limit", "3")
    assert again.exit_code == 0, again.output
    assert "band: 3 prompts kept; left out: not chosen 3" in again.stdout
    assert records.read_bytes() == before
    other = run("--select", "full", "--pool", "7")
    assert other.exit_code == 2
    assert "was curated from other problems" in other.stderr.replace("\n", " ")
