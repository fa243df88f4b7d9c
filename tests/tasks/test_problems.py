import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError, TerselyWarning
from tersely.core.types import Grade, Problem
from tersely.tasks.grading import grade
from tersely.tasks.problems import digest, in_band, of_sources, read_problems


def written(tmp_path: Path, *lines: object) -> Path:
    file = tmp_path / "sums.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return file


def a_problem(**changes: object) -> Problem:
    fields = {"id": "a", "prompt": "1+1?", "answer": "2", "source": "sums"} | changes
    return Problem(**fields)


def test_a_line_is_read_field_by_field(tmp_path: Path) -> None:
    line = {
        "id": "sum/1",
        "prompt": "1+1?",
        "answer": "2",
        "source": "book",
        "grader": "number",
        "difficulty": 3,
        "url": "other keys are ignored",
    }
    [problem] = read_problems(written(tmp_path, line))
    assert problem == Problem(
        id="sum/1", prompt="1+1?", answer="2", source="book", grader="number", difficulty=3.0
    )


def test_prompt_and_answer_are_enough(tmp_path: Path) -> None:
    [problem] = read_problems(written(tmp_path, {"prompt": "1+1?", "answer": "2"}))
    assert (problem.source, problem.grader, problem.difficulty) == ("sums", "exact", None)


def test_a_missing_id_is_made_from_the_prompt_alone(tmp_path: Path) -> None:
    first, second = read_problems(
        written(tmp_path, {"prompt": "1+1?", "answer": "2"}, {"prompt": "1+2?", "answer": "3"})
    )
    [again] = read_problems(written(tmp_path, {"prompt": "1+2?", "answer": "three"}))
    assert first.id != second.id == again.id


@pytest.mark.parametrize(("given", "read"), [(2, "2"), (-0.5, "-0.5"), (10**30, f"{10**30}")])
def test_a_number_is_an_answer(tmp_path: Path, given: object, read: str) -> None:
    [problem] = read_problems(written(tmp_path, {"prompt": "1+1?", "answer": given}))
    assert problem.answer == read


def test_blank_lines_are_skipped_and_still_counted(tmp_path: Path) -> None:
    file = written(tmp_path, "", {"prompt": "1+1?", "answer": "2"}, "  ", "oops")
    with pytest.raises(DataError, match=r"sums\.jsonl:4 is not a problem"):
        read_problems(file)


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\x0c"])
def test_only_a_newline_ends_a_line(tmp_path: Path, separator: str) -> None:
    prompt = f"1{separator}+1?"
    text = json.dumps({"prompt": prompt, "answer": "2"}, ensure_ascii=separator == "\x0c")
    [problem] = read_problems(written(tmp_path, text))
    assert problem.prompt == prompt


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"answer": "2"}, "prompt"),
        ({"prompt": "1+2?"}, "answer"),
        ({"prompt": "", "answer": "2"}, "prompt"),
        ({"prompt": "1+2?", "answer": ""}, "answer"),
        ({"prompt": "1+2?", "answer": None}, "answer"),
        ({"prompt": "1+2?", "answer": True}, "answer"),
        ({"prompt": "1+2?", "answer": ["3"]}, "answer"),
        ({"prompt": "1+2?", "answer": "3", "difficulty": "hard"}, "difficulty"),
        ('{"prompt": "1+2?", "answer": "3", "difficulty": NaN}', "difficulty"),
        ('{"prompt": "1+2?", "answer": "3"', "delimiter"),
        ('{"prompt": "\\ud800", "answer": "3"}', "prompt"),
        (f'{{"prompt": "1+2?", "answer": {"1" * 5000}}}', "digits"),
        ("[1, 2]", "dictionary"),
        ("3", "dictionary"),
    ],
)
def test_a_bad_line_is_named_with_its_file_number_and_key(
    tmp_path: Path, bad: object, named: str
) -> None:
    file = written(tmp_path, {"prompt": "1+1?", "answer": "2"}, bad)
    with pytest.raises(DataError) as error:
        read_problems(file)
    where, _, reason = str(error.value).partition(" is not a problem: ")
    assert where == f"{file}:2"
    assert named in reason.lower()
    assert "\n" not in reason


def test_a_line_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "sums.jsonl"
    file.write_bytes(b'{"prompt": "1+1?", "answer": "2"}\n{"prompt": "\xe9", "answer": "2"}\n')
    with pytest.raises(DataError, match=r"sums\.jsonl:2 is not a problem"):
        read_problems(file)


def test_a_windows_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "sums.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "1+1?", "answer": "2"}\r\n\r\n')
    assert [problem.prompt for problem in read_problems(file)] == ["1+1?"]


@pytest.mark.parametrize("key", ["id", "prompt"])
def test_an_id_that_stands_twice_is_named_with_its_second_line(tmp_path: Path, key: str) -> None:
    line = {"prompt": "1+1?", "answer": "2"} | ({"id": "one"} if key == "id" else {})
    other = {**line, "prompt": "1+2?"} if key == "id" else line
    with pytest.raises(DataError, match=r"sums\.jsonl:2.*twice"):
        read_problems(written(tmp_path, line, other))


def test_a_prompt_that_stands_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    line = {"prompt": "1+1?", "answer": "2"}
    with pytest.raises(DataError, match=r"jsonl:3: the prompt '1\+1\?' .*first at .*jsonl:1"):
        read_problems(written(tmp_path, line, {**line, "prompt": "1+2?"}, line))


def test_an_id_of_two_questions_is_named_with_both_lines(tmp_path: Path) -> None:
    line = {"id": "a", "prompt": "1+1?", "answer": "2"}
    with pytest.raises(DataError, match=r"jsonl:2: problem id 'a' .*first at .*jsonl:1"):
        read_problems(written(tmp_path, line, {**line, "prompt": "1+2?"}))


SYSTEM = {"role": "system", "content": "Be short."}
ASKED = {"role": "user", "content": [{"type": "text", "text": "1+1?"}]}


def test_the_messages_before_the_question_keep_their_roles(tmp_path: Path) -> None:
    file = written(tmp_path, {"prompt": [SYSTEM, ASKED], "answer": "2"})
    [problem] = read_problems(file)
    assert problem.prompt == "1+1?"
    assert problem.chat == [SYSTEM, {"role": "user", "content": "1+1?"}]
    [plain] = read_problems(written(tmp_path, {"prompt": "1+1?", "answer": "2"}))
    assert plain.id != problem.id
    assert digest([plain]) != digest([replace(problem, id=plain.id)])


def test_a_chat_is_read_again_from_the_file_that_it_was_written_to(tmp_path: Path) -> None:
    problems = read_problems(written(tmp_path, {"prompt": [SYSTEM, ASKED], "answer": "2"}))
    jsonl.write(tmp_path / "again.jsonl", problems)
    assert read_problems(tmp_path / "again.jsonl") == problems


@pytest.mark.parametrize("role", ["tool", "assistant", None])
def test_a_chat_that_does_not_end_in_a_question_is_refused(tmp_path: Path, role: object) -> None:
    last = {"role": role, "content": "2"}
    with pytest.raises(DataError, match="the last one user"):
        read_problems(written(tmp_path, {"prompt": [ASKED, last], "answer": "2"}))


LINE = b'{"prompt": "1+1?", "answer": "2"}\n'
SPELLINGS = {
    "a.jsonl.gz": gzip.compress(LINE),
    "utf16.jsonl": LINE.decode().encode("utf-16"),
    "list.jsonl": b"[" + LINE + b"]",
    "a.tsv": b"prompt\tanswer\r\n1+1?\t2\r\n",
    "a.csv.gz": gzip.compress(b"prompt,answer\n1+1?,2\n"),
    "utf16.csv": "prompt,answer\r\n1+1?,2,\r\n".encode("utf-16"),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_packed_utf_16_listed_and_tabbed_files_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(SPELLINGS[name])
    assert [(p.prompt, p.answer) for p in read_problems(tmp_path / name)] == [("1+1?", "2")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", LINE + LINE.rstrip() + b",\n", "a.jsonl:2 is not a problem: a comma ends it"),
        ("a.json", b"[\n" + LINE + b",\n]", "a.json:4 is not JSON"),
        ("a.csv", b"prompt,answer\n1, 2 or 3?,2\n", "a.csv:2 has more cells than the 2"),
        ("a.jsonl.gz", gzip.compress(LINE, mtime=0)[:-9], "a.jsonl.gz is damaged"),
        ("a.txt", b"1+1?\n", "others end in .jsonl, .json, .parquet, .csv, .tsv"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(said)):
        read_problems(tmp_path / name)


def test_a_missing_file_is_answered_with_the_nearest_name_and_how_to_make_one(
    tmp_path: Path,
) -> None:
    file = written(tmp_path, {"prompt": "1+1?", "answer": "2"})
    with pytest.raises(ConfigError) as error:
        read_problems(tmp_path / "sum.jsonl")
    assert f"(is it {file}?)" in str(error.value)
    assert "tersely curate" in str(error.value)
    assert "docs/real-models.md" in str(error.value)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_problems_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "sums.jsonl"
    file.write_text(content)
    with pytest.raises(DataError, match=r"sums\.jsonl holds no problem"):
        read_problems(file)


def test_a_missing_file_is_a_mistake_of_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no problem file at .*missing\.jsonl"):
        read_problems(tmp_path / "missing.jsonl")


def graded(*difficulties: float | None) -> list[Problem]:
    return [a_problem(id=str(number), difficulty=d) for number, d in enumerate(difficulties)]


def test_both_ends_belong_to_the_band_and_order_is_kept() -> None:
    kept = in_band(graded(4.0, 1.0, 2.0, 3.0, 5.0, 2.5), low=2.0, high=4.0)
    assert [problem.difficulty for problem in kept] == [4.0, 2.0, 3.0, 2.5]


def test_an_empty_band_names_the_range_there_is() -> None:
    with pytest.raises(ConfigError, match=r"\[9, 12\] is empty: .* from 1 to 8; widen"):
        in_band(graded(8.0, 1.0, 3.0), low=9.0, high=12.0)


def test_a_problem_without_difficulty_cannot_be_in_a_band() -> None:
    with pytest.raises(ConfigError, match=r"^2 of 3 problems have no difficulty"):
        in_band(graded(None, 3.0, None), low=1.0, high=8.0)


def test_sources_keep_their_problems_in_order() -> None:
    problems = [a_problem(id=str(number), source=s) for number, s in enumerate("abcab")]
    assert [problem.id for problem in of_sources(problems, ["b", "a"])] == ["0", "1", "3", "4"]


def test_an_unknown_source_is_named_with_the_known_ones() -> None:
    problems = [a_problem(id="1", source="sums"), a_problem(id="2", source="rows")]
    with pytest.raises(
        ConfigError, match=r"no source 'chess' of these problems; choose one of rows, sums"
    ):
        of_sources(problems, ["sums", "chess"])


@pytest.mark.parametrize("field", ["id", "prompt", "answer", "grader"])
def test_the_digest_changes_with_every_field_that_matters(field: str) -> None:
    assert digest([a_problem()]) != digest([a_problem(**{field: "other"})])


def test_the_digest_changes_with_order_and_number() -> None:
    first, second = a_problem(id="1"), a_problem(id="2")
    assert len({digest(p) for p in ([first, second], [second, first], [first], [second], [])}) == 5


def test_text_cannot_move_between_fields_unseen_by_the_digest() -> None:
    one, other = a_problem(prompt="1+1?2", answer="2"), a_problem(prompt="1+1?", answer="22")
    assert digest([one]) != digest([other])


def test_the_digest_is_the_same_in_every_process() -> None:
    # blake2b(b"a\x1f1+1?\x1f2\x1fexact\x1e", digest_size=8), computed apart from this code.
    assert digest([a_problem()]) == "3eaf2cd958f5ed0c"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "1+2?", "answer": "3"}, "the row has question, answer; .*?prompt=question)"),
        ({"prompt": None, "query": "1+2?", "answer": "3"}, "?prompt=query)"),
        ({"q": "1+2?", "answer": "3"}, "?prompt=COLUMN)"),
        ({"prompt": {"en": "1+2?"}, "answer": "3"}, "?prompt=COLUMN.en)"),
        ({"prompt": "", "answer": "3"}, "prompt: '' is empty; correct it"),
        ({"prompt": "1+2?", "gold": "3"}, "the row has prompt, gold; .*?answer=gold)"),
    ],
)
def test_a_row_without_a_prompt_or_answer_says_which_column_to_name(tmp_path, row, said) -> None:
    with pytest.raises(DataError) as error:
        read_problems(written(tmp_path, row))
    for part in said.split(".*"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"grader": "nmber"}, "ordered; did you mean the grader 'number'?"),
        ({"answer": "anwser"}, "it has prompt, answer; did you mean 'answer'?"),
        ({"id": "key"}, "it has prompt, answer; name the one that holds the id"),
        ({"source": "prompt", "prompt": "promt"}, "did you mean 'prompt'?"),
    ],
)
def test_a_column_or_grader_that_is_misspelled_is_answered_with_the_nearest(
    tmp_path, columns, said
) -> None:
    file = written(tmp_path, {"prompt": "1+2?", "answer": "3"})
    with pytest.raises(DataError, match=re.escape(said)):
        read_problems(file, columns=columns)


def test_a_named_column_that_is_empty_in_a_row_is_said_to_be_so(tmp_path) -> None:
    file = written(tmp_path, {"prompt": "1+2?", "final": None, "answer": "3"})
    with pytest.raises(DataError, match="has nothing under 'final', which holds the answer"):
        read_problems(file, columns={"answer": "final"})


SOLVED = "She has 2 and 2 more.\n#### 1,004"


def test_worked_solutions_with_a_number_are_graded_by_number_unless_another_is_named(
    tmp_path,
) -> None:
    file = written(tmp_path, {"prompt": "How many?", "answer": SOLVED})
    with pytest.warns(TerselyWarning, match="1 answers end in #### and a number.*grader=NAME"):
        (problem,) = read_problems(file)
    assert (problem.grader, problem.answer) == ("number", "1004")
    assert grade(problem, "So there are 1004 of them.").grade is Grade.CORRECT
    (problem,) = read_problems(file, columns={"grader": "exact"})
    assert problem.grader == "exact"
    for row in (
        {"prompt": "How many?", "answer": SOLVED, "grader": "math"},
        {"prompt": "Where?", "answer": "They went north.\n#### Oslo"},
        {"prompt": "How many?", "answer": "1004"},
    ):
        (problem,) = read_problems(written(tmp_path, row))
        assert problem.grader == row.get("grader", "exact")
