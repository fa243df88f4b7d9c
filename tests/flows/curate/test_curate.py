"""From sampled prompts to the sets to train on."""

import json
from dataclasses import replace

import polars as pl
import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.types import EvalRecord, Finish, Grade, Problem
from tersely.flows.curate.choice import Choice, Select, check_choice
from tersely.flows.curate.files import write_curated
from tersely.flows.curate.session import Dropped, choose
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
        "half": "outside the rule",
        "never": "outside the rule",
        "dark": "ungraded",
        "first": "outside the rule",
        "twin": "duplicate",
        "known": "benchmark",
    }
    details = {each.problem: each.details for each in found.dropped}
    assert details["known"] == (
        "repeats q7 of bench, 100% of the shorter one's word n-grams: of the benchmark"
    )
    assert details["half"] == "pass rate 0.5, 2 of 4; kept: pass rate > 0.5"
    assert details["twin"].startswith("repeats first of b, 100%")
    assert details["dark"] == "none of 4 could be graded"


def test_hard_prompts_were_solved_once(records):
    found = choose(POOL, records, Choice(select=Select.HARD)).sets["hard"]
    assert ids(found) == ["half", "first"]


def test_a_prompt_of_unknown_rate_hides_no_duplicate(records):
    pool = [
        replace(problem, prompt="2 + 2 is?") if problem.id == "dark" else problem
        for problem in POOL
    ]
    found = choose(pool, records, Choice(select=Select.FULL)).sets["full"]
    assert reasons(found) == {"dark": "ungraded", "twin": "duplicate"}


def test_sets_of_one_size_hold_what_their_rules_say(records):
    # easy: easy and known; hard: half and first; full: these and never
    sets = choose(POOL, records, Choice(select=Select.MIXES)).sets
    assert {name: len(found.problems) for name, found in sets.items()} == {
        "easy": 2,
        "hard": 2,
        "full": 2,
    }
    assert set(ids(sets["hard"])) == {"half", "first"}
    assert reasons(sets["easy"])["half"] == "outside the rule"
    assert list(reasons(sets["full"]).values()).count("not drawn") == 3


def test_quantiles_are_of_the_prompts_that_are_left(records):
    # rates 0, .5, .5, .75, 1 without the twin
    found = choose(POOL, records, Choice(quantiles=(0.25, 0.75))).sets["quantiles"]
    assert ids(found) == ["easy", "half", "first"]
    assert found.rule == "pass rate 0.5 to 0.75, its quantiles 0.25 to 0.75"


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
    choice = Choice(density=0.65, target_tokens=9, keep_duplicates=True)
    found = choose(POOL, records, choice).sets["density"]
    # 1, 1, .5, .5 have mean .75; with .25 it is .65; with 0 .54
    assert set(ids(found)) == {"twin", "known", "easy", "first", "half"}
    assert "as near to 0.65 as a cut brings it: 0.65, of prompts of 0.25 to 1" in found.rule
    details = {each.problem: each.details for each in found.dropped}
    assert details["never"].startswith("positive density 0, n = 4; kept: mean positive density")


def test_a_target_alone_gives_densities_and_chooses_nothing(records):
    curated = choose(POOL, records, Choice(select=Select.EASY, target_tokens=5))
    assert {r.problem: r.density for r in curated.rates}["easy"] == 0.25
    assert ids(curated.sets["easy"]) == ["easy", "known"]


def test_a_set_of_limited_size_is_drawn_by_the_seed(records):
    drawn = {
        tuple(ids(choose(POOL, records, Choice(select=Select.FULL, limit=2, seed=s)).sets["full"]))
        for s in range(6)
    }
    assert all(len(names) == 2 for names in drawn)
    assert len(drawn) > 1


def test_who_was_not_drawn_is_told_from_who_does_not_fit(records):
    found = choose(POOL, records, Choice(select=Select.HARD, limit=1)).sets["hard"]
    (other,) = {"half", "first"} - set(ids(found))
    assert reasons(found)[other] == "not drawn"
    (details,) = (each.details for each in found.dropped if each.problem == other)
    assert details == "fits, but seed 0 drew 1 of 2 without it"


def test_nothing_to_keep_says_where_the_prompts_lie(records):
    message = (
        r"band \(pass rate 0\.9 to 1\) keeps no prompt: of 4 prompts 1 have the pass rate 0, "
        r"0 in \(0, 0\.25\], 2 in \(0\.25, 0\.5\], 1 in \(0\.5, 0\.75\], 0 in \(0\.75, 1\]"
    )
    with pytest.raises(ConfigError, match=message):
        choose(POOL, records, Choice(band=(0.9, 1.0), against=BENCHMARK))


def test_a_pool_of_repeats_says_so(records):
    pool = [problem for problem in POOL if problem.id in ("known", "dark")]
    message = "no prompt is left to choose from: 1 ungraded, 1 benchmark"
    with pytest.raises(ConfigError, match=message):
        choose(pool, records, Choice(select=Select.FULL, against=BENCHMARK))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(), "choose one of --select"),
        (Choice(select=Select.EASY, band=(0.0, 1.0)), "choose one of --select"),
        (Choice(band=(0.8, 0.2)), "--band 0.8,0.2 must rise"),
        (Choice(quantiles=(0.2, 1.2)), "--quantiles 0.2,1.2 must rise within 0 to 1"),
        (Choice(density=0.5), "give both"),
        (Choice(band=(float("nan"), 1.0)), "--band nan,1 must rise"),
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
    out = tmp_path / "out"
    out.mkdir()
    write_curated(out, curated, cards={"full": "# card"})
    folder = out / "full"
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
    lines = (out / "prompts.jsonl").read_text().splitlines()
    assert [json.loads(line)["problem"] for line in lines] == [p.id for p in POOL]
    assert json.loads(lines[3])["rate"] is None
    assert (folder / "README.md").read_text() == "# card"
