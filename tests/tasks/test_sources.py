"""Each set from a small file of the same columns; counts, columns and answers are checked."""

import ast
import base64
import json
import pickle
import zlib
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tersely.core.errors import ConfigError, DataError
from tersely.core.types import Grade
from tersely.tasks import grading, gym
from tersely.tasks.benchmarks import ALL, livecodebench_parts
from tersely.tasks.sandbox import choice
from tersely.tasks.sources import load, load_benchmark

_PRIVATE = json.dumps([{"input": "3\n", "output": "6\n", "testtype": "stdin"}])
# Two rows of each set, with the columns that the set has on the hub.
ROWS: dict[str, list[dict[str, object]]] = {
    "aime24": [
        {"id": 60, "problem": "Every morning?", "solution": "..", "answer": "204"},
        {"id": 61, "problem": "Let ABC?", "solution": "..", "answer": "113"},
    ],
    "aime25": [
        {"problem": "Sum of bases?", "answer": "70"},
        {"problem": "Heptagon?", "answer": "588"},
    ],
    "amc23": [
        {"id": 0, "question": "Cities A and B?", "answer": 27.0},
        {"id": 1, "question": "Positive?", "answer": 36.0},
    ],
    "amc": [
        {"id": 0, "problem": "A?", "answer": 142.0},
        {"id": 0, "problem": "B?", "answer": 81.0},
    ],
    "math500": [
        {
            "problem": "Polar?",
            "solution": "..",
            "answer": r"\left( 3, \frac{\pi}{2} \right)",
            "subject": "Precalculus",
            "level": 2,
            "unique_id": "test/precalculus/807.json",
        },
        {
            "problem": "Who?",
            "solution": "..",
            "answer": r"\text{Evelyn}",
            "subject": "Algebra",
            "level": 3,
            "unique_id": "test/algebra/22.json",
        },
    ],
    "minerva": [
        {"question": "Wavelength?", "answer": "1.6"},
        {"question": "Energy?", "answer": "2.5e10"},
    ],
    "olympiadbench": [
        {"id": 1606, "question": "T?", "final_answer": ["2"]},
        {"id": 1610, "question": "K?", "final_answer": [r"\frac{1}{3}"]},
    ],
    "gsm8k": [
        {"question": "Janet's ducks?", "answer": "She sells 9 eggs.\n#### 18"},
        {"question": "A robe?", "answer": "It costs more.\n#### 1,103"},
    ],
    "gpqa-diamond": [
        {
            "Record ID": f"rec{n}",
            "Question": "Which?",
            "Correct Answer": "right",
            "Incorrect Answer 1": "a",
            "Incorrect Answer 2": "b",
            "Incorrect Answer 3": "c",
        }
        for n in (1, 2)
    ],
    "livecodebench": [
        {
            "question_id": f"abc{n}",
            "question_title": "Double",
            "question_content": "Read n and print 2n.",
            "platform": "atcoder",
            "contest_date": "2024-10-01T00:00:00",
            "difficulty": "easy",
            "starter_code": "",
            "public_test_cases": json.dumps(
                [{"input": "1\n", "output": "2\n", "testtype": "stdin"}]
            ),
            "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(_PRIVATE))).decode(),
            "metadata": "{}",
        }
        for n in (1, 2)
    ],
    "ifeval": [
        {
            "key": 1000 + n,
            "prompt": "Write without commas.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
        }
        for n in (0, 1)
    ],
    "deepscaler": [
        {"problem": "Doctor?", "answer": r"-\frac{2}{3}", "solution": ".."},
        {"problem": "Nurse?", "answer": "9", "solution": ".."},
    ],
    "dapo-math": [
        {"prompt": "In triangle?", "solution": "34", "data_source": "math_dapo"},
        {"prompt": "In square?", "solution": "5", "data_source": "math_dapo"},
    ],
    **{
        name: [
            {
                "data_source": name,
                "prompt": [{"role": "user", "content": f"{n}? Let's think."}],
                "ability": "math",
                "reward_model": {"style": "rule", "ground_truth": str(n)},
                "extra_info": {"index": n, "split": "train"},
            }
            for n in (4, 5)
        ]
        for name in ("laser-deepscaler", "deepscaler-easy")
    },
}
# What a completion must say to be right and to be wrong.
SAID = {
    "gpqa-diamond": None,
    "livecodebench": (
        "```python\nprint(2 * int(input()))\n```",
        "```python\nprint(3 * int(input()))\n```",
    ),
}


def written(name: str, folder: Path, rows: list[dict[str, object]] | None = None) -> Path:
    rows = ROWS[name] if rows is None else rows
    ending = Path(ALL[name].files[0]).suffix
    file = folder / f"data{ending}"
    if ending == ".parquet":
        pl.DataFrame(rows).write_parquet(file)
    elif ending == ".csv":
        pl.DataFrame(rows).write_csv(file)
    elif ending == ".json":
        file.write_text(json.dumps(rows))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def loaded(name: str, folder: Path, rows: list[dict[str, object]] | None = None):
    file = written(name, folder, rows)
    return load_benchmark(replace(ALL[name], rows=(2,)), {}, files=[file])


def test_every_set_is_in_this_table() -> None:
    assert set(ROWS) == set(ALL)


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_set_is_read_from_its_columns(name: str, tmp_path: Path) -> None:
    problems = loaded(name, tmp_path)
    assert len({problem.id for problem in problems}) == 2
    assert all(problem.source == name for problem in problems)
    assert all(problem.grader == ALL[name].grader for problem in problems)
    if ALL[name].suffix:
        assert all(problem.prompt.endswith(ALL[name].suffix) for problem in problems)


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"ifeval", "livecodebench"}))
def test_its_gold_answer_grades_as_right_and_another_one_as_wrong(
    name: str, tmp_path: Path
) -> None:
    problems = loaded(name, tmp_path)
    assert grading.check_gold(problems) == []
    for problem, other in (problems, problems[::-1]):
        right = grading.grade(problem, f"So \\boxed{{{problem.answer}}}.")
        assert right.grade is Grade.CORRECT
        answer = "BADC"["ABCD".index(problem.answer)] if name == "gpqa-diamond" else other.answer
        assert grading.grade(problem, f"So \\boxed{{{answer}}}.").grade is Grade.WRONG


@pytest.mark.filterwarnings("ignore:programs run with your own rights:RuntimeWarning")
def test_a_program_is_run_against_public_and_private_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The programs are harmless: they run bare where nothing isolates them.
    monkeypatch.setitem(choice._choice, "unsandboxed", bool(choice.fault()))
    problem, _ = loaded("livecodebench", tmp_path)
    right, wrong = SAID["livecodebench"]
    assert grading.grade(problem, right).grade is Grade.CORRECT
    assert grading.grade(problem, wrong).grade is Grade.WRONG


def test_choices_are_shuffled_by_the_problems_id_alone(tmp_path: Path) -> None:
    rows = [{**ROWS["gpqa-diamond"][0], "Record ID": f"rec{n}"} for n in range(40)]
    file = written("gpqa-diamond", tmp_path, rows)
    problems, again = (
        load_benchmark(replace(ALL["gpqa-diamond"], rows=(40,)), {}, files=[file]) for _ in "ab"
    )
    assert problems == again
    assert {problem.answer for problem in problems} == set("ABCD")
    for problem in problems:
        assert f"{problem.answer}) right" in problem.prompt


def test_another_number_of_rows_is_named_with_revision_and_fix(tmp_path: Path) -> None:
    file = written("aime24", tmp_path)
    expected = r"aime24: HuggingFaceH4/aime_2024 at 2fe88\w+ should have 30 rows and has 2;"
    with pytest.raises(DataError, match=expected):
        load_benchmark(ALL["aime24"], {}, files=[file])


def test_a_missing_column_lists_those_that_are_there(tmp_path: Path) -> None:
    rows = [{"question": row["problem"], "answer": row["answer"]} for row in ROWS["aime25"]]
    with pytest.raises(DataError, match="no column 'problem'; it has question, answer"):
        loaded("aime25", tmp_path, rows)


def test_rows_without_an_answer_are_left_out_as_far_as_they_are_known(tmp_path: Path) -> None:
    rows = [*ROWS["deepscaler"], {"problem": "Lost?", "answer": "", "solution": ""}]
    file = written("deepscaler", tmp_path, rows)
    known = replace(ALL["deepscaler"], rows=(3,), unanswered=1)
    assert len(load_benchmark(known, {}, files=[file])) == 2
    with pytest.raises(DataError, match="1 rows have no answer, 0 were known"):
        load_benchmark(replace(known, unanswered=0), {}, files=[file])


def test_a_set_is_found_in_the_cache_of_the_hub(tmp_path: Path, monkeypatch) -> None:
    record = ALL["aime24"]
    snapshot = tmp_path / f"datasets--{record.dataset.replace('/', '--')}" / "snapshots"
    (snapshot / str(record.revision) / "data").mkdir(parents=True)
    pl.DataFrame(15 * ROWS["aime24"]).with_columns(id=pl.int_range(30)).write_parquet(
        snapshot / str(record.revision) / record.files[0]
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(load("aime24")) == 30
    with pytest.raises(ConfigError, match=r"tersely benchmarks --out gpqa-diamond.*terms"):
        load("gpqa-diamond")


def test_releases_of_livecodebench() -> None:
    assert list(livecodebench_parts("release_v2")) == [1, 2]
    assert list(livecodebench_parts("v4_v6")) == [4, 5, 6]
    with pytest.raises(ConfigError, match="no release 'v9' of livecodebench"):
        load("livecodebench?release=v9")


def test_names_between_commas_are_mixed_and_settings_reach_their_generator() -> None:
    mixed = load("gym:chain_sum?size=3&min_terms=2&max_terms=2,gym:products?size=2&grader=number")
    assert [p.source for p in mixed] == ["chain_sum"] * 3 + ["products"] * 2
    assert [p.grader for p in mixed] == ["gym"] * 3 + ["number"] * 2
    assert grading.check_gold(mixed) == []
    answer = ast.literal_eval(json.loads(mixed[0].answer)["entry"])["answer"]
    assert grading.grade(mixed[0], f"<think>1</think> \\boxed{{{answer}}}").grade is Grade.CORRECT
    assert grading.grade(mixed[0], f"\\boxed{{{answer}1}}").grade is Grade.WRONG
    assert grading.grade(mixed[0], "<think>1").grade is Grade.UNPARSED
    assert load("gym:chain_sum?size=3&seed=1") == load("gym:chain_sum?size=3&seed=1")


def test_seeds_of_a_generator_share_no_problems() -> None:
    # reasoning-gym itself gives 199 of 200 again: its problem i is drawn from seed + i.
    first, second = ({p.prompt for p in load(f"gym:chain_sum?seed={seed}")} for seed in (0, 1))
    assert len(first) == len(second) == 200
    assert not first & second
    load("gym:chain_sum?size=2&seed=0,gym:chain_sum?size=2&seed=1")


# rearc keeps tuples, graph_color numbers as keys, knights_knaves numpy's texts; the last
# three name no answer.
@pytest.mark.parametrize(
    "task",
    [
        *("rearc", "knights_knaves", "codeio", "zebra_puzzles", "time_intervals"),
        *("graph_color", "propositional_logic", "rubiks_cube"),
    ],
)
def test_what_a_generator_drew_is_scored_as_it_was_drawn(task: str) -> None:
    [problem] = load(f"gym:{task}?size=1")
    assert grading.check_gold([problem]) == []
    entry = ast.literal_eval(json.loads(problem.answer)["entry"])
    known = entry["metadata"]
    right = {
        "graph_color": lambda: json.dumps(known["possible_answer"]),
        "propositional_logic": lambda: known["example_answer"],
        "rubiks_cube": lambda: known["example_correct_answer"],
    }.get(task, lambda: entry["answer"])()
    assert grading.grade(problem, f"\\boxed{{{right}}}").grade is Grade.CORRECT
    assert grading.grade(problem, "\\boxed{no idea}").grade is Grade.WRONG


def test_a_generator_that_draws_for_long_is_refused_unless_somebody_looks_on(monkeypatch) -> None:
    monkeypatch.setattr(gym, "JUDGED_S", 0.0)
    monkeypatch.setattr(gym, "UNSEEN_S", 0.0)
    with pytest.raises(ConfigError, match=r"gym:gcd\?size=3 takes .*--out gcd\.jsonl 'gym:gcd"):
        load("gym:gcd?size=3")
    seen: list[tuple[int, int]] = []
    load("gym:gcd?size=3", on_drawn=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_powers_of_ten_are_those_of_a_box(tmp_path: Path) -> None:
    given = {"4.5e33\n": r"4.5 \times 10^{33}", "3.89E-10": r"3.89 \times 10^{-10}", "e^2": "e^2"}
    rows = [{"question": f"{answer}?", "answer": answer} for answer in given]
    file = written("minerva", tmp_path, rows)
    problems = load_benchmark(replace(ALL["minerva"], rows=(3,)), {}, files=[file])
    assert [problem.answer for problem in problems] == list(given.values())
    said = r"\boxed{4.5\cdot 10^{33}}"
    assert grading.grade(problems[0], said).grade is Grade.CORRECT


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("aime26", ConfigError, "no set of problems 'aime26'.*aime24, aime25"),
        (
            "gym:chain_sums",
            ConfigError,
            "no task 'chain_sums' of reasoning-gym; did you mean 'chain_sum'",
        ),
        ("gym:chain_sum?terms=3", ConfigError, "gym:chain_sum cannot be drawn with"),
        ("gym:chain_sum?size=0", ConfigError, "size=0 must be a whole number from 1"),
        ("gym:chain_sum?seed=a", ConfigError, "seed=a must be a whole number from 0"),
        ("missing.jsonl", ConfigError, r"no problem file at missing\.jsonl"),
        ("aime24?seed=1", ConfigError, "aime24 takes no settings"),
        ("gym:chain_sum?size=2,gym:chain_sum?size=2", DataError, "stands twice"),
    ],
)
def test_what_cannot_be_loaded_says_what_there_is(name, error, message) -> None:
    with pytest.raises(error, match=message):
        load(name)


def test_columns_of_a_file_may_be_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.parquet"
    pl.DataFrame({"q": ["1+1?", "1+2?"], "meta": [{"gold": 2}, {"gold": 3}]}).write_parquet(file)
    found = load(f"{file}?prompt=q&answer=meta.gold")
    assert [(p.prompt, p.answer, p.source) for p in found] == [
        ("1+1?", "2", "mine"),
        ("1+2?", "3", "mine"),
    ]
    with pytest.raises(DataError, match="no column 'question'; it has q, meta"):
        load(f"{file}?prompt=question&answer=meta.gold")
    with pytest.raises(
        ConfigError, match="no field 'query' of a problem; choose one of prompt, answer"
    ):
        load(f"{file}?query=q")


def test_answers_of_several_types_are_refused_with_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    rows = [{"prompt": "a?", "answer": "7"}, {"prompt": "b?", "answer": 8}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"a str at .*mixed.jsonl:1, a number at .*mixed.jsonl:2"):
        load(str(file))


def test_rows_written_for_verl_and_for_trl_read_back(tmp_path: Path) -> None:
    from tersely.flows.curate.files import trl_frame, verl_frame

    problems = [
        replace(p, difficulty=0.5, reference_tokens=9.0, reference_accuracy=0.5)
        for p in load("gym:chain_sum?size=2&grader=number")
    ]
    for name, frame in (("verl", verl_frame(problems)), ("trl", trl_frame(problems))):
        frame.write_parquet(tmp_path / f"{name}.parquet")
        assert load(str(tmp_path / f"{name}.parquet")) == problems
