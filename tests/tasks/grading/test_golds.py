import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core.errors import DataError
from tersely.core.types import Grade, Problem
from tersely.tasks import grading
from tersely.tasks.sources import load

STRINGS = ("exact", "number", "math")


def a_problem(answer: str, grader: str = "exact", prompt: str = "?") -> Problem:
    return Problem(id="a", prompt=prompt, answer=answer, source="s", grader=grader)


def written(folder: Path, *rows: object, ending: str = "jsonl") -> Path:
    file = folder / f"mine.{ending}"
    if ending == "parquet":
        pl.DataFrame(list(rows)).write_parquet(file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def is_right(problem: Problem, text: str) -> bool:
    return grading.grade(problem, text).grade is Grade.CORRECT


@pytest.mark.parametrize("grader", STRINGS)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_number_that_a_format_made_a_float_is_the_number(
    grader: str, ending: str, tmp_path: Path
) -> None:
    rows = [{"prompt": f"{n}?", "answer": float(n), "grader": grader} for n in (54, 0, -3, 2024)]
    for problem, number in zip(
        load(str(written(tmp_path, *rows, ending=ending))), (54, 0, -3, 2024), strict=True
    ):
        assert problem.answer == str(number)
        assert is_right(problem, f"\\boxed{{{number}}}")
        assert not is_right(problem, f"\\boxed{{{number + 1}}}")
        assert grading.check_gold([problem]) == []


@pytest.mark.parametrize("grader", STRINGS)
def test_a_float_that_was_written_as_text_is_the_number_too(grader: str) -> None:
    assert is_right(a_problem("54.0", grader), r"\boxed{54}")
    assert is_right(a_problem("54", grader), r"\boxed{54.0}")
    assert not is_right(a_problem("54.0", grader), r"\boxed{540}")


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        *((0.1, "0.1"), (1e-05, "0.00001"), (2.50, "2.5"), (1e22, "1" + "0" * 22), (-0.0, "0")),
        *((6.5e30, r"6.5 \times 10^{30}"), (6.5e-20, r"6.5 \times 10^{-20}")),
    ],
)
def test_a_float_is_written_as_a_model_would_write_it(
    given: float, answer: str, tmp_path: Path
) -> None:
    [problem] = load(str(written(tmp_path, {"prompt": "?", "answer": given})))
    assert problem.answer == answer


def test_short_floats_and_decimals_of_parquet_keep_their_digits(tmp_path: Path) -> None:
    for name, column in {
        "short": pl.Series([0.1, 54.0], dtype=pl.Float32),
        "decimal": pl.Series(["0.10", "54.00"]).cast(pl.Decimal(10, 2)),
        "whole": pl.Series([1, 54], dtype=pl.Int8),
    }.items():
        file = tmp_path / f"{name}.parquet"
        pl.DataFrame({"prompt": ["a?", "b?"], "answer": column}).write_parquet(file)
        first, second = load(str(file))
        assert (first.answer, second.answer) == ("1" if name == "whole" else "0.1", "54")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("NaN", "no finite number"),
        ("Infinity", "no finite number"),
        ("null", "there is none"),
        ('""', "empty"),
        ('" \\n"', "empty"),
        ('["54"]', "is a list"),
        ('{"value": 54}', "is a dict"),
        ("true", "bool"),
    ],
)
def test_a_value_that_is_no_answer_is_refused_with_its_line(
    answer: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(f'{{"prompt": "a?", "answer": 5.0}}\n{{"prompt": "b?", "answer": {answer}}}\n')
    with pytest.raises(DataError, match=rf"mine\.jsonl:2 is not a problem: answer: .*{reason}"):
        load(str(file))


@pytest.mark.parametrize("grader", STRINGS)
@pytest.mark.parametrize(
    "answer",
    [
        *("", "  ", "nan", "NaN", "None", "null", "<NA>", "['54']", 'array(["54"])'),
        "She sold 30 and then 24 clips.\nThat is 30 + 24 = 54.\n#### 54",
        r"She sold 30 and then 24 clips, so \boxed{54}.",
    ],
)
def test_what_no_model_would_write_is_refused_although_it_equals_itself(
    grader: str, answer: str
) -> None:
    [(_, reason)] = grading.check_gold([a_problem(answer, grader)])
    assert reason
    with pytest.raises(DataError, match="1 of 1 gold answers") as error:
        grading.refuse_bad_gold([a_problem(answer, grader)])
    assert "\n" not in str(error.value)


def test_a_worked_solution_without_a_mark_is_no_answer_of_mathematics() -> None:
    solution = "She sold 30 clips in May and 24 in June. Together these are fifty-four clips sold."
    assert grading.check_gold([a_problem(solution, "math")])
    assert not grading.check_gold([a_problem(r"\text{all even integers } n", "math")])


@pytest.mark.parametrize("grader", STRINGS)
@pytest.mark.parametrize(
    "solution",
    [
        "She sold 30, then <<30-6=24>>24.\n#### 1,054",
        "30 and 1,024 more. #### 1054",
        r"We add, and so $30 + 1024 = \boxed{1054}$.",
        r"\boxed{1054}",
    ],
)
def test_a_worked_solution_gives_its_final_answer(
    grader: str, solution: str, tmp_path: Path
) -> None:
    row = {"question": "How many?", "answer": solution}
    name = f"{written(tmp_path, row)}?prompt=question&grader={grader}"
    [problem] = load(name)
    assert problem.answer == "1054"
    assert is_right(problem, r"\boxed{1054}")
    grading.refuse_bad_gold([problem])


def test_the_line_value_and_way_out_stand_in_one_line(tmp_path: Path) -> None:
    rows = [{"prompt": "a?", "answer": "7"}, {"prompt": "b?", "answer": "seven"}]
    name = f"{written(tmp_path, *rows)}?grader=number"
    result = CliRunner().invoke(app, ["benchmarks", name])
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    for part in ("1 of 2 gold answers", "'seven'", "mine.jsonl:2", "?grader=NAME"):
        assert part in said


HASHES = 'How many are 30 and 24? Give the final answer after "####".'


@pytest.mark.parametrize("grader", ["exact", "number", "choice", "ordered"])
def test_four_hashes_are_right_where_the_prompt_asks_for_them(grader: str) -> None:
    problem = a_problem("B" if grader == "choice" else "54", grader, HASHES)
    assert grading.check_gold([problem]) == []
    assert is_right(problem, f"30 and 24.\n#### {problem.answer}")
    assert not is_right(problem, "30 and 24.\n#### 55")


def test_a_grader_that_cannot_read_the_form_asked_for_is_refused_and_a_heading_asks_for_none() -> (
    None
):
    [(_, reason)] = grading.check_gold([a_problem("54", "math", HASHES)])
    assert "####" in reason
    for prompt in ("#### Problem\nHow many?", HASHES + r" Then put it within \boxed{}."):
        assert grading.check_gold([a_problem("54", "math", prompt)]) == []


def verl_row(source: str, answer: str) -> dict[str, object]:
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": HASHES}],
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {"index": 0, "split": "train"},
    }


def test_verls_gsm8k_is_graded_by_number_and_any_grader_can_be_named(tmp_path: Path) -> None:
    file = written(tmp_path, verl_row("openai/gsm8k", "1054"), ending="parquet")
    [problem] = load(str(file))
    assert problem.grader == "number"
    for grader in ("number", "exact"):
        [problem] = load(f"{file}?grader={grader}")
        assert problem.grader == grader
        for text in ("30 and 1,024.\n#### 1054", r"\boxed{1054}"):
            assert is_right(problem, text)
        assert not is_right(problem, "30 and 1,024.\n#### 1055")
    [problem] = load(str(written(tmp_path, verl_row("mine", "1054"), ending="parquet")))
    assert problem.grader == "exact"


def test_a_column_of_graders_is_still_named_by_its_column(tmp_path: Path) -> None:
    file = written(tmp_path, {"prompt": "a?", "answer": "7", "how": "number"})
    assert [p.grader for p in load(f"{file}?grader=how")] == ["number"]
    with pytest.raises(DataError, match="or one of choice, code, exact"):
        load(f"{file}?grader=nosuch")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_the_text_of_a_chats_parts_is_the_prompt(ending: str, tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "How many are"}, {"type": "text", "text": "30 and 24?"}]
    row = {"prompt": [{"role": "user", "content": parts}], "answer": "54"}
    [problem] = load(str(written(tmp_path, row, ending=ending)))
    assert problem.prompt == "How many are\n30 and 24?"


def test_a_part_that_is_no_text_is_refused_by_its_type(tmp_path: Path) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "a.png"}}]
    row = {"prompt": [{"role": "user", "content": parts}], "answer": "54"}
    with pytest.raises(DataError, match=r"mine\.jsonl:1 .* part of type image_url"):
        load(str(written(tmp_path, row)))


@pytest.mark.parametrize(
    ("gold", "text", "right"),
    [
        ("Paris", r"\boxed{\text{Paris}}", True),
        ("-7", r"\boxed{−7}", True),
        ("033", r"\boxed{33}", False),
        ("1.10", r"\boxed{1.1}", False),
    ],
)
def test_exact_reads_dressed_words_and_keeps_every_digit(gold: str, text: str, right: bool) -> None:
    assert is_right(a_problem(gold), text) is right


@pytest.mark.parametrize("grader", ["number", "math"])
def test_leading_zeros_of_a_gold_number_mean_nothing(grader: str) -> None:
    assert is_right(a_problem("033", grader), r"\boxed{33}")
    assert grading.check_gold([a_problem("033", grader)]) == []
