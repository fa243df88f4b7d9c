"""What two runs come to where one names no cap, both do not, or caps differ by sample."""

import csv
import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core import jsonl
from tersely.core.types import EvalRecord, Finish, Grade
from tersely.readers.evaluations import load

PROBLEMS, SAMPLES = 40, 4


def make_run(path, *, seed, scale, cap_of, named=True):
    """Records of long-tailed lengths; ``cap_of`` gives a problem's cap, None for no cap."""
    rng, records = np.random.default_rng(seed), []
    for problem in range(PROBLEMS):
        for sample in range(SAMPLES):
            wanted = int(np.exp(rng.normal(np.log(scale), 0.9))) + 1
            cap = cap_of(problem)
            cut = cap is not None and wanted > cap
            right = rng.random() < 0.6
            grade = Grade.UNPARSED if cut else Grade.CORRECT if right else Grade.WRONG
            records.append(
                EvalRecord(
                    run=path.stem,
                    benchmark="b",
                    problem=f"q{problem}",
                    sample=sample,
                    grade=grade,
                    tokens=cap if cut else wanted,
                    finish=Finish.LENGTH if cut else Finish.STOP,
                    cap_tokens=cap if named else None,
                    seed=0,
                    extracted=None if cut else "7",
                )
            )
    jsonl.write(path, records)
    return records


def by_hand(records, *, budget, bound):
    """Accuracy within a budget and mean tokens, in the plainest way; lengths end at ``bound``."""
    shares, lengths = [], []
    for problem in {r.problem for r in records}:
        mine = [r for r in records if r.problem == problem]
        hits = [
            r.grade is Grade.CORRECT and r.finish is Finish.STOP and r.tokens <= budget
            for r in mine
        ]
        shares.append(sum(hits) / len(hits))
        lengths.append(sum(min(r.tokens, bound) for r in mine) / len(mine))
    return sum(shares) / len(shares), sum(lengths) / len(lengths)


def compare(tmp_path, *options):
    table = tmp_path / "figures.csv"
    paths = [str(tmp_path / f"{name}.jsonl") for name in ("left", "right")]
    result = CliRunner().invoke(app, ["compare", *paths, "--csv", str(table), *options])
    assert result.exit_code == 0, result.output
    with table.open() as file:
        rows = list(csv.DictReader(file))
    return {
        (r["name"], r["side"], r["budget_tokens"]): float(r["estimate"] or "nan") for r in rows
    }, (" ".join(result.stdout.split()))


@pytest.mark.parametrize(
    ("caps", "bound"),
    [
        ((lambda _: 2000, lambda _: None), 2000),
        ((lambda _: None, lambda _: 2000), 2000),
        ((lambda _: None, lambda _: None), math.inf),
        ((lambda p: 2000 - 10 * p, lambda _: None), 2000),
        ((lambda p: 2000 - 10 * p, lambda p: 1500 + 5 * p), 1695),
    ],
)
def test_compare_gives_the_figures_of_brute_force_whatever_the_caps(tmp_path, caps, bound):
    left = make_run(tmp_path / "left.jsonl", seed=0, scale=900, cap_of=caps[0])
    right = make_run(tmp_path / "right.jsonl", seed=1, scale=1500, cap_of=caps[1])
    figures, _ = compare(tmp_path)
    budgets = {int(b) for name, _, b in figures if name == "accuracy"}
    longest = max(r.tokens for r in (*left, *right))
    assert max(budgets) == min(bound, longest)
    for budget in budgets:
        sides = [by_hand(r, budget=budget, bound=bound) for r in (left, right)]
        for name, value in (("before", sides[0][0]), ("after", sides[1][0])):
            assert figures["accuracy", name, str(budget)] == pytest.approx(value)
    assert figures["token ratio", "ratio", ""] == pytest.approx(sides[1][1] / sides[0][1])
    assert figures["accuracy at the cap", "difference", ""] == pytest.approx(
        by_hand(right, budget=bound, bound=bound)[0] - by_hand(left, budget=bound, bound=bound)[0]
    )


def test_a_run_that_names_no_cap_is_never_the_one_that_cuts(tmp_path):
    make_run(tmp_path / "left.jsonl", seed=0, scale=200, cap_of=lambda _: None)
    right = make_run(tmp_path / "right.jsonl", seed=1, scale=3000, cap_of=lambda _: 8000)
    figures, text = compare(tmp_path)
    assert figures["accuracy", "after", "8000"] == pytest.approx(
        by_hand(right, budget=8000, bound=8000)[0]
    )
    assert "Sampled at different caps, none before and 8,000 after" in text


def test_two_runs_without_a_cap_say_so_and_are_not_cut(tmp_path):
    for name, seed in (("left", 0), ("right", 1)):
        make_run(tmp_path / f"{name}.jsonl", seed=seed, scale=900, cap_of=lambda _: None)
    _, text = compare(tmp_path)
    assert "no cap. Brackets" in text
    assert "cut" not in text.replace("truncated", "")


def test_a_budget_above_every_sample_is_exact_where_there_is_no_cap(tmp_path):
    left = make_run(tmp_path / "left.jsonl", seed=0, scale=900, cap_of=lambda _: None)
    make_run(tmp_path / "right.jsonl", seed=1, scale=900, cap_of=lambda _: None)
    figures, _ = compare(tmp_path, "--budgets", "1000,1000000")
    assert figures["accuracy", "before", "1000000"] == pytest.approx(
        by_hand(left, budget=10**9, bound=10**9)[0]
    )


def test_samples_cut_by_caps_of_their_own_are_said_with_count_and_budget(tmp_path):
    left = make_run(tmp_path / "left.jsonl", seed=0, scale=1500, cap_of=lambda p: 2000 - 10 * p)
    make_run(tmp_path / "right.jsonl", seed=1, scale=900, cap_of=lambda _: None)
    short = [r for r in left if r.finish is Finish.LENGTH and r.tokens < 2000]
    first = min(r.tokens for r in short)
    said = (
        f"{len(short)} of 160 samples were cut by a lower cap of their own, from {first:,} tokens"
    )
    _, text = compare(tmp_path)
    assert f"left: {said}" in text
    shown = CliRunner().invoke(app, ["report", str(tmp_path / "left.jsonl")]).stdout
    assert said in " ".join(shown.split())
    assert "cap 2,000 tokens" in " ".join(shown.split())


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def shown(path, *options):
    table = path.parent / "figures.csv"
    asked = ["report", str(path), "--from", "table", "--csv", str(table), *options]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    with table.open() as file:
        return {r["name"]: r["estimate"] for r in csv.DictReader(file)}, " ".join(
            result.stdout.split()
        )


def test_without_reasons_or_a_cap_the_truncated_share_is_a_dash_and_a_note_says_why(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"problem": p, "correct": p % 2, "tokens": 10 * p + 5} for p in range(8)])
    figures, text = shown(path)
    assert figures["truncated share"] == ""
    assert "of 8 of 8 samples it is not known whether they were cut" in text
    assert float(shown(path, "--cap-tokens", "75")[0]["truncated share"]) == 1 / 8


def test_verdicts_alone_do_not_tell_how_many_samples_hold_no_answer(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"problem": p, "correct": p % 2, "tokens": 9, "finish": "stop"} for p in range(8)]
    write_rows(path, rows)
    assert shown(path)[0]["share without an answer"] == ""
    write_rows(path, [*rows[:7], rows[7] | {"correct": "unparsed"}])
    assert float(shown(path)[0]["share without an answer"]) == 1 / 8
    write_rows(path, [row | {"correct": 1} for row in rows])
    assert float(shown(path)[0]["share without an answer"]) == 0.0


def test_problems_are_listed_as_numbers(tmp_path):
    path = tmp_path / "rows.jsonl"
    names = ["aime24/10", "aime24/2", "q10", "q9", "007", "7", "10", "2"]
    write_rows(path, [{"problem": n, "correct": 1, "tokens": 9, "finish": "stop"} for n in names])
    listed = load(path, reader="table").table.keys
    in_order = ["2", "007", "7", "10", "aime24/2", "aime24/10", "q9", "q10"]
    assert [problem for _, problem in listed] == in_order


def test_a_limit_that_nobody_named_is_warned_of_on_top(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "rows.jsonl"
    rows = []
    for problem in range(30):
        limit = 16_000 - int(rng.integers(0, 300))
        for _ in range(4):
            wanted = int(np.exp(rng.normal(9.3, 0.9)))
            right = int(wanted < limit and rng.random() < 0.7)
            rows.append({"problem": problem, "correct": right, "tokens": min(wanted, limit)})
    write_rows(path, rows)
    _, text = shown(path)
    assert text.index("Samples look cut although nothing says so") < text.index("Accuracy")
    page = (tmp_path / "rows-report.html").read_text()
    assert "Samples look cut although nothing says so" in page


def test_the_longest_sample_of_a_file_without_a_cap_does_not_cut_the_other_run(tmp_path):
    # Short answers, none cut, against long ones cut at 2,000: at 2,000 nothing is lost of either.
    makes = [("left", 900, 2000), ("right", 60, 10**9)]
    sides = []
    for seed, (name, scale, cap) in enumerate(makes):
        records = make_run(tmp_path / "made", seed=seed, scale=scale, cap_of=lambda _, cap=cap: cap)
        rows = [
            {"problem": r.problem, "correct": r.grade == "correct", "tokens": r.tokens}
            | {"finish": r.finish.value}
            for r in records
        ]
        write_rows(tmp_path / f"{name}.jsonl", rows)
        sides.append(by_hand(records, budget=2000, bound=2000))
    assert max(r.tokens for r in records) < 1000
    figures, _ = compare(tmp_path, "--from", "table", "--benchmark", "b")
    assert figures["accuracy at the cap", "difference", ""] == pytest.approx(
        sides[1][0] - sides[0][0]
    )
    assert figures["token ratio", "ratio", ""] == pytest.approx(sides[1][1] / sides[0][1])
