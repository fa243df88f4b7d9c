"""``report`` and ``compare`` on files of other tools, as a user calls them."""

import bz2
import csv
import gzip
import io
import json
import lzma
import math
from pathlib import Path

import polars as pl
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

import tersely.lab
from tersely.cli import app


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def refused(result, *expected):
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, result.stderr
    for words in expected:
        assert words in lines[0]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A tokenizer whose tokens are words."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def report(tmp_path):
    """Runs a report and gives what it printed with each figure that it wrote, at the cap."""

    def run(path, *options):
        sheet = tmp_path / "figures.csv"
        done = call("report", path, *options, "--out", tmp_path / "page", "--csv", sheet)
        assert done.exit_code == 0, done.output
        rows = list(csv.DictReader(sheet.read_text().splitlines()))
        figures = {r["name"]: float(r["estimate"] or "nan") for r in rows}
        return " ".join(done.stdout.split()), figures

    return run


def lines(path, rows, *, end="\n"):
    path.write_bytes(b"".join((json.dumps(row) + end).encode() for row in rows))
    return path


# Lists as Qwen2.5-Math's evaluator writes them: two problems with two samples each, right, wrong,
# right, right.
TWO_AND_FIVE = [
    {
        "idx": 0,
        "question": "1+1?",
        "gt": "2",
        "answer": "2",
        "code": ["it is clearly \\boxed{2}", "is it \\boxed{3}"],
        "pred": ["2", "3"],
        "report": [None, None],
        "score": [True, False],
    },
    {
        "idx": 1,
        "question": "2+3?",
        "gt": "5",
        "answer": "5",
        "code": ["so \\boxed{5} now and for ever", "\\boxed{5}"],
        "pred": ["5", "5"],
        "report": [None, None],
        "score": [True, True],
    },
]
LIST_COLUMNS = ("problem=idx", "prompt=question", "gold=gt", "text=code", "correct=score")
OF_LISTS = ("--from", "table", *(w for pair in LIST_COLUMNS for w in ("--column", pair)))
LISTS = (*OF_LISTS, "--column", "extracted=pred", "--cap-tokens", "64")


def without(row, *keys):
    return {key: value for key, value in row.items() if key not in keys}


def test_entries_of_a_rows_lists_are_samples_of_its_problem(tmp_path, report, words):
    path = lines(tmp_path / "aime.jsonl", TWO_AND_FIVE)
    said, figures = report(path, *LISTS, "--tokenizer", words)
    # Words: 4, 3, 6 and 1; right are the first and the last two.
    assert "n = 2 problems × 2 samples" in said
    assert figures["accuracy"] == pytest.approx(0.75)
    assert figures["mean tokens"] == pytest.approx(14 / 4)
    assert figures["mean tokens given correct"] == pytest.approx(11 / 3)
    assert figures["mean tokens given wrong"] == pytest.approx(3)


def as_words(row):
    return row | {"score": ["True" if right else "False" for right in row["score"]]}


def as_numbers(row):
    return row | {"score": [float(right) for right in row["score"]]}


def bare(row):
    return without(row, "answer", "report") | {"extra": {"a": [1]}}


@pytest.mark.parametrize("shape", [as_words, as_numbers, bare])
def test_a_table_reads_every_shape_of_its_lists(tmp_path, report, words, shape):
    path = lines(tmp_path / "aime.jsonl", [shape(row) for row in TWO_AND_FIVE])
    _, figures = report(path, *LISTS, "--tokenizer", words)
    assert figures["accuracy"] == pytest.approx(0.75)


def zstandard(content):
    packed = io.BytesIO()
    pl.DataFrame({"line": content.decode().splitlines()}).write_csv(
        packed, include_header=False, quote_style="never", separator="\x01", compression="zstd"
    )
    return packed.getvalue()


PACKED = {
    ".xz": lzma.compress,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard,
    ".plain": bytes,
}


@pytest.mark.parametrize("ending", PACKED)
def test_a_packed_file_is_read_as_it_is(tmp_path, report, words, ending):
    content = lines(tmp_path / "a.jsonl", TWO_AND_FIVE).read_bytes()
    path = tmp_path / f"aime.jsonl{ending}"
    path.write_bytes(PACKED[ending](content))
    _, figures = report(path, *LISTS, "--tokenizer", words)
    assert figures["accuracy"] == pytest.approx(0.75)


def test_packed_parts_that_were_joined_are_read_to_the_end(tmp_path, report, words):
    parts = [lzma.compress(json.dumps(row).encode() + b"\n") for row in TWO_AND_FIVE]
    (path := tmp_path / "a.jsonl.xz").write_bytes(b"".join(parts))
    said, _ = report(path, *LISTS, "--tokenizer", words)
    assert "n = 2 problems" in said


def test_a_damaged_packed_file_is_refused(tmp_path, words):
    content = lzma.compress(json.dumps(TWO_AND_FIVE[0]).encode())
    (path := tmp_path / "a.jsonl.xz").write_bytes(content[:-20])
    refused(call("report", path, *LISTS, "--tokenizer", words), "packed with xz and damaged")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"score": [0.5, 0]}, ("line 1", "score 0.5", "--column correct=NAME")),
        ({"score": [True]}, ("line 1 has 2 entries under code but 1 under score",)),
        ({"score": []}, ("line 1 has 2 entries under code but 0 under score",)),
    ],
)
def test_lists_that_cannot_be_read_are_refused(tmp_path, words, change, expected):
    path = lines(tmp_path / "a.jsonl", [TWO_AND_FIVE[0] | change, TWO_AND_FIVE[1]])
    refused(call("report", path, *LISTS, "--tokenizer", words), *expected)


def test_a_removed_reader_names_the_columns_that_read_its_files(tmp_path, report, words):
    path = lines(tmp_path / "a.jsonl", TWO_AND_FIVE)
    told = call("report", path, "--from", "qwen_math")
    refused(told, "the reader qwen_math was removed", "--from table --column problem=idx")
    columns = told.stderr.partition("with --from table ")[2].split()
    rest = ("--tokenizer", words, "--cap-tokens", "64")
    _, figures = report(path, "--from", "table", *columns, *rest)
    assert figures["accuracy"] == pytest.approx(0.75)


def test_rows_of_several_runs_are_samples_of_their_problems(tmp_path, report, words):
    path = lines(tmp_path / "three.jsonl", [*TWO_AND_FIVE, *TWO_AND_FIVE, *TWO_AND_FIVE])
    said, figures = report(path, *LISTS, "--tokenizer", words)
    assert "n = 2 problems × 6 samples" in said
    assert figures["accuracy"] == pytest.approx(0.75)


def test_two_files_that_name_no_benchmark_are_compared(tmp_path, words):
    one = lines(tmp_path / "long.jsonl", TWO_AND_FIVE)
    two = lines(tmp_path / "short.jsonl", [as_numbers(row) for row in TWO_AND_FIVE])
    done = call("compare", one, two, *LISTS, "--tokenizer", words, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "n = 2 problems" in " ".join(done.stdout.split())


def test_comparing_files_of_different_questions_under_one_number_is_refused(tmp_path, words):
    one = lines(tmp_path / "long.jsonl", TWO_AND_FIVE)
    two = lines(tmp_path / "other.jsonl", [row | {"gt": "9"} for row in TWO_AND_FIVE])
    done = call("compare", one, two, *LISTS, "--tokenizer", words, "--out", tmp_path)
    refused(done, "is not the same in both")


# A table: the file has two verdicts wrong, the second and the third.
GRADED = [
    {"problem": "a", "gold": "7", "correct": 1, "text": "\\boxed{7}"},
    {"problem": "b", "gold": "\\frac12", "correct": 0, "text": "so it must be \\boxed{0.5}"},
    {"problem": "c", "gold": "4", "correct": 1, "text": "\\boxed{4} or rather \\boxed{5}"},
    {"problem": "d", "gold": "4", "correct": 0, "text": "no idea"},
]
STOPPED = [row | {"tokens": len(row["text"].split()), "finish": "stop"} for row in GRADED]


def test_regrade_replaces_the_files_verdicts_and_says_where_they_differ(tmp_path, report):
    path = lines(tmp_path / "t.jsonl", STOPPED)
    assert report(path, "--from", "table")[1]["accuracy"] == pytest.approx(0.5)
    wrong = lines(tmp_path / "u.jsonl", [row | {"correct": 0} for row in STOPPED])
    said, figures = report(wrong, "--from", "table", "--regrade", "math")
    assert figures["accuracy"] == pytest.approx(0.5)
    assert "graded again by math: 2 of 4 verdicts are the file's" in said
    assert "2 right here and wrong in the file: problem a sample 0: '7' for '7'" in said
    said, _ = report(path, "--from", "table", "--regrade", "math")
    assert "2 of 4 verdicts are the file's" in said
    assert "1 right here and wrong in the file: problem b sample 0: '0.5' for '\\\\frac12'" in said
    assert "1 wrong here and right in the file: problem c sample 0: '5' for '4'" in said


def test_regrade_says_what_has_no_answer(tmp_path, report):
    path = lines(tmp_path / "t.jsonl", STOPPED)
    _, figures = report(path, "--from", "table", "--regrade", "math")
    assert figures["share without an answer"] == pytest.approx(0.25)


def test_regrade_with_a_tokenizer_finds_the_first_right_answer_and_grades_prefixes(
    tmp_path, report, words
):
    # Right after 2 of 8 words, and after 4 of 4; nobody is after 1.
    rows = [
        {
            "problem": "a",
            "gold": "7",
            "correct": 1,
            "text": "perhaps \\boxed{7} let me check again: \\boxed{7}",
        },
        {"problem": "b", "gold": "5", "correct": 1, "text": "it must be \\boxed{5}"},
    ]
    path = lines(tmp_path / "t.jsonl", [row | {"finish": "stop"} for row in rows])
    told = ("--from", "table", "--tokenizer", words, "--regrade", "math", "--budgets", "1,2,4,7")
    _, figures = report(path, *told)
    assert figures["outcome efficiency"] == pytest.approx((2 / 7 + 1) / 2)
    sheet = tmp_path / "answered.csv"
    done = call("report", path, *told, "--protocol", "answered", "--out", tmp_path, "--csv", sheet)
    assert done.exit_code == 0, done.output
    rows = csv.DictReader(sheet.read_text().splitlines())
    within = {r["budget_tokens"]: float(r["estimate"]) for r in rows if r["name"] == "accuracy"}
    assert within == {"1": 0.0, "2": 0.5, "4": 1.0, "7": 1.0}


def test_answered_on_another_tools_file_needs_a_grader_and_a_tokenizer(tmp_path):
    path = lines(tmp_path / "t.jsonl", STOPPED)
    for more in ((), ("--regrade", "math")):
        done = call("report", path, "--from", "table", "--protocol", "answered", *more)
        refused(done, "--regrade GRADER and --tokenizer")


@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        ([without(r, "gold") for r in STOPPED], ("math",), ("no right answer", "--column gold=")),
        ([without(r, "text") for r in STOPPED], ("math",), ("holds no texts to grade",)),
        (STOPPED, ("maths",), ("no grader 'maths'", "math")),
        (
            [*STOPPED, STOPPED[0] | {"gold": "8"}],
            ("math",),
            ("line 5 has the right answer '8'", "line 1 '7'", "problem 'a'"),
        ),
    ],
)
def test_regrade_refuses_what_cannot_be_graded(tmp_path, rows, options, expected):
    path = lines(tmp_path / "t.jsonl", rows)
    refused(call("report", path, "--from", "table", "--regrade", *options), *expected)


def test_regrade_is_for_files_of_other_tools(tmp_path):
    path = lines(tmp_path / "records.jsonl", STOPPED)
    refused(call("report", path, "--regrade", "math"), "--regrade is for files of other tools")


def test_a_tokenizer_of_another_model_is_refused_for_prefixes(tmp_path, words):
    path = lines(tmp_path / "t.jsonl", [row | {"tokens": 900} for row in STOPPED])
    told = ("--from", "table", "--regrade", "math", "--tokenizer", words)
    refused(call("report", path, *told), "by --tokenizer and 3,600 by its own counts")


def test_compare_grades_both_files_again(tmp_path):
    one = lines(tmp_path / "one.jsonl", STOPPED)
    two = lines(tmp_path / "two.jsonl", STOPPED)
    told = ("--from", "table", "--regrade", "math", "--out", tmp_path)
    done = call("compare", one, two, *told)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "one: graded again by math: 2 of 4" in said
    assert "two: graded again by math: 2 of 4" in said


def test_a_table_without_verdicts_is_graded_by_ours_alone(tmp_path, report):
    path = lines(tmp_path / "t.jsonl", [without(row, "correct") for row in STOPPED])
    refused(call("report", path, "--from", "table"), "no column 'correct'")
    said, figures = report(path, "--from", "table", "--regrade", "math")
    assert figures["accuracy"] == pytest.approx(0.5)
    assert "graded by math: the file holds no verdicts of its own to compare with" in said


def test_shaped_rewards_do_not_stand_in_the_way_of_grading_again(tmp_path, report):
    path = lines(tmp_path / "t.jsonl", [row | {"correct": 0.37} for row in STOPPED])
    refused(call("report", path, "--from", "table"), "score 0.37")
    _, figures = report(path, "--from", "table", "--regrade", "math")
    assert figures["accuracy"] == pytest.approx(0.5)


FIXTURES = Path(__file__).parents[1] / "readers" / "fixtures"
LAB = Path(tersely.lab.__file__).parent / "checkpoint"
PEERS = {
    "lm_eval": (next((FIXTURES / "lm_eval").glob("samples_lab_2*")), ("--cap-tokens", "96"), 40),
    "lighteval": (FIXTURES / "lighteval" / "details_lab.parquet", (), 40),
    "verl": (FIXTURES / "verl" / "10.jsonl", ("--cap-tokens", "96"), 24),
    "inspect_ai": (FIXTURES / "inspect_ai" / "lab.eval", (), 24),
}


@pytest.mark.parametrize("name", PEERS)
def test_our_grader_agrees_with_what_each_peer_wrote(report, name):
    path, options, samples = PEERS[name]
    told = ("--from", name, *options, "--tokenizer", LAB, "--regrade", "exact")
    said, figures = report(path, *told)
    assert f"graded again by exact: {samples} of {samples} verdicts are the file's" in said
    assert 0 < figures["outcome efficiency"] < 1


def test_trl_is_graded_again_by_a_logged_column(tmp_path, report):
    rows = [
        {"step": 1, "prompt": "1+1?", "completion": "\\boxed{2}", "advantage": 0.0, "a": 0.1}
        | {"b": 0.2, "answer": "2"}
    ]
    pl.DataFrame(rows).write_parquet(path := tmp_path / "completions_1.parquet")
    told = ("--from", "trl", "--tokenizer", LAB, "--cap-tokens", "64", "--regrade", "math")
    refused(call("report", path, *told), "no right answer to grade against", "--column gold=NAME")
    _, figures = report(path, *told, "--column", "gold=answer")
    assert figures["accuracy"] == 1.0


def cut_in_a_window(tmp_path):
    """A window of 60 words that held prompts of 10 and of 13: four samples were cut, at 50 and 47,
    and two ended."""
    rows = []
    for number, (lengths, prompt) in enumerate([((50, 50, 9), 10), ((47, 47, 12), 13)]):
        texts = ["word " * (n - 1) + ("\\boxed{2}" if n < 20 else "word") for n in lengths]
        scores = [n < 20 for n in lengths]
        rows.append({"idx": number, "question": "word " * prompt, "code": texts, "score": scores})
        rows[-1] |= {"gt": "2", "pred": ["2" if right else "7" for right in scores]}
    return lines(tmp_path / "window.jsonl", rows)


def test_samples_of_a_window_that_held_their_prompts_are_cut_each_at_its_own_cap(
    tmp_path, report, words
):
    told = (*OF_LISTS, "--tokenizer", words, "--cap-tokens", "47")
    said, figures = report(cut_in_a_window(tmp_path), *told)
    assert figures["truncated share"] == pytest.approx(4 / 6)
    assert figures["mean tokens given truncated"] == pytest.approx((50 + 50 + 47 + 47) / 4)
    assert "2 of the samples that are taken as cut are above the stated cap" in said


def test_a_count_far_above_the_stated_cap_is_refused(tmp_path, words):
    told = (*OF_LISTS, "--tokenizer", words, "--cap-tokens", "40")
    refused(call("report", cut_in_a_window(tmp_path), *told), "has 50 tokens, above the cap of 40")


@pytest.mark.parametrize(("short_of", "cut"), [(0, 1.0), (1, 1.0), (3, 0.0)])
def test_a_cut_sample_whose_special_tokens_were_dropped_is_still_cut(
    tmp_path, report, words, short_of, cut
):
    # Sampled at 32; the file's text lacks <think>, which decoding dropped.
    row = {"problem": "a", "correct": 0, "text": "word " * (32 - short_of), "cap_tokens": 32}
    path = lines(tmp_path / "t.jsonl", [row])
    assert report(path, "--from", "table", "--tokenizer", words)[1]["truncated share"] == cut
    right = lines(tmp_path / "u.jsonl", [row | {"correct": 1}])
    figures = report(right, "--from", "table", "--tokenizer", words)[1]
    assert figures["truncated share"] == (cut if short_of == 0 else 0.0)


def test_a_file_of_verdicts_alone_says_nothing_of_answers(tmp_path, report):
    rows = [{"problem": n, "correct": n % 2, "tokens": 5, "finish": "stop"} for n in range(6)]
    _, figures = report(lines(tmp_path / "t.jsonl", rows), "--from", "table")
    assert math.isnan(figures["share without an answer"])


def window_below(tmp_path, *, n_cut=12, own_cap=None):
    """A table with counts: samples cut at 32,100 to 32,399 tokens, and as many right ones."""
    rows = [
        {"problem": i % 6, "tokens": 32_100 + 27 * (i % 12), "correct": False} for i in range(n_cut)
    ]
    rows += [{"problem": i % 6, "tokens": 900 + 1_500 * i, "correct": True} for i in range(12)]
    if own_cap is not None:
        rows = [row | {"cap_tokens": own_cap} for row in rows]
    return lines(tmp_path / "window.jsonl", rows)


@pytest.mark.parametrize("where", ["option", "column"])
def test_a_stated_cap_that_held_the_prompt_is_doubted_with_the_way_to_state_it(
    tmp_path, report, where
):
    if where == "option":
        path, told = window_below(tmp_path), ("--cap-tokens", "32768")
    else:
        path, told = window_below(tmp_path, own_cap=32768), ()
    said, figures = report(path, "--from", "table", *told)
    said = " ".join(said.replace("┃", " ").split())
    assert figures["truncated share"] == 0
    assert "12 of 24 samples end at 32,100 to 32,397 tokens" in said
    assert "The stated cap is 32,768 tokens: if it held prompt and completion together" in said
    assert "--column cap_tokens=NAME" in said
    assert "--cap-tokens 32100" in said


def test_the_lower_cap_that_the_warning_names_is_taken_for_counts_of_the_files_own(
    tmp_path, report
):
    said, figures = report(window_below(tmp_path), "--from", "table", "--cap-tokens", "32100")
    assert figures["truncated share"] == 12 / 24
    assert "Samples look cut" not in said
    assert "each has its own count for a cap" in said


def test_a_right_sample_above_the_stated_cap_contradicts_it(tmp_path):
    path = lines(tmp_path / "t.jsonl", [{"problem": 1, "tokens": 105, "correct": True}])
    told = ("--from", "table", "--cap-tokens", "100")
    refused(call("report", path, *told), "line 1 has 105 tokens, above the cap of 100")


@pytest.mark.parametrize("command", ["report", "compare"])
@pytest.mark.parametrize("columns", [80, 100])
def test_output_into_a_pipe_is_as_wide_as_columns_says(tmp_path, monkeypatch, command, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    path = window_below(tmp_path)
    paths = [path] if command == "report" else [path, path]
    done = call(command, *paths, "--from", "table", "--out", tmp_path / "page")
    assert done.exit_code == 0, done.output
    drawn = [line for line in done.stdout.splitlines() if not line.startswith("report: ")]
    assert max(map(len, drawn)) <= columns


@pytest.mark.parametrize(
    ("field", "value"),
    [("tokens", 10**25), ("tokens", 10**10), ("tokens", "9" * 5000), ("cap_tokens", 1e30)],
)
def test_a_count_or_cap_beyond_all_measure_is_refused_in_a_line(tmp_path, field, value):
    row = {"problem": 1, "tokens": 10, "correct": True} | {field: value}
    path = lines(tmp_path / "t.jsonl", [row])
    refused(call("report", path, "--from", "table"), "line 1", "1,000,000,000")
