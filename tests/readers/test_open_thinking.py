"""Templates that end in ``<think>``: a sample that never closes its thinking has no answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from tersely.core.types import Grade
from tersely.readers.evaluations import load
from tersely.readers.formats import Options, read

CLOSED = "it is \\boxed{7}, or 8?</think>\\boxed{7}"
ENDLESS = "it is \\boxed{7}, wait, or \\boxed{7}"
WHOLE = f"<think>{CLOSED}"


def sample(text: str, *, prompt: str | None = None, problem: str = "a") -> dict[str, object]:
    row = {"problem": problem, "correct": 1, "tokens": 5, "finish": "stop", "gold": "7"}
    return row | {"text": text} | ({} if prompt is None else {"prompt": prompt})


def written(tmp_path: Path, *rows: dict[str, object]) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def open_ones(path: Path) -> list[bool]:
    return [r.thinking_open for r in read(path, "table", Options(run="run")).records]


def regraded(path: Path) -> list[bool]:
    loaded = load(path, reader="table", options=Options(run="run", grader="math"))
    return loaded.table.correct_PS[0].tolist()


@pytest.mark.parametrize("prompt", ["7?<think>", "7?<think>\n", "<|Assistant|><think>\n\n"])
def test_a_prompt_that_ends_in_the_mark_opened_the_thinking(tmp_path: Path, prompt: str) -> None:
    path = written(tmp_path, sample(ENDLESS, prompt=prompt), sample(CLOSED, prompt=prompt))
    assert open_ones(path) == [True, True]
    assert regraded(path) == [False, True]


@pytest.mark.parametrize("prompt", ["7?", "7?<think>\n\n</think>", "what does <think> mean?"])
def test_other_prompts_did_not(tmp_path: Path, prompt: str) -> None:
    path = written(tmp_path, sample(ENDLESS, prompt=prompt))
    assert open_ones(path) == [False]
    assert regraded(path) == [True]


def test_texts_that_close_what_they_did_not_open_tell_of_the_template(tmp_path: Path) -> None:
    path = written(tmp_path, sample(CLOSED), sample(ENDLESS), sample("\\boxed{7}"))
    assert open_ones(path) == [True, True, True]
    assert regraded(path) == [True, False, False]
    notes = read(path, "table", Options(run="run")).notes
    assert any("2 of 3 samples never end a thinking that the template opened" in n for n in notes)


def test_texts_that_open_their_own_thinking_say_nothing_of_the_template(tmp_path: Path) -> None:
    path = written(tmp_path, sample(WHOLE), sample("\\boxed{7}"), sample("<think>\\boxed{7}"))
    assert open_ones(path) == [False, False, False]
    assert regraded(path) == [True, True, False]


def test_one_stray_mark_among_many_says_nothing(tmp_path: Path) -> None:
    rows = [sample("\\boxed{7}") for _ in range(30)]
    assert not any(open_ones(written(tmp_path, *rows, sample(CLOSED))))


def test_without_regrading_the_files_verdicts_stand(tmp_path: Path) -> None:
    path = written(tmp_path, sample(CLOSED), sample(ENDLESS))
    grades = [r.grade for r in read(path, "table", Options(run="run")).records]
    assert grades == [Grade.CORRECT, Grade.CORRECT]


def test_each_prompt_speaks_for_its_own_sample(tmp_path: Path) -> None:
    path = written(tmp_path, sample(ENDLESS, prompt="a<think>"), sample(ENDLESS, prompt="a"))
    assert open_ones(path) == [True, False]


def thinking(tmp_path: Path, *rows: dict[str, object], **options: Any) -> list[int | None]:
    found = read(written(tmp_path, *rows), "table", Options(run="run", **options))
    assert all((r.thinking_tokens or 0) <= r.tokens for r in found.records)
    return [r.thinking_tokens for r in found.records]


def words(text: str) -> int:
    return len(text.split())


def test_a_table_may_hold_the_tokens_of_thinking(tmp_path: Path) -> None:
    row = sample("<think> so 7 </think> 7") | {"tokens": 6}
    assert thinking(tmp_path, row | {"thinking_tokens": 4}, row) == [4, None]
    bare = {name: value for name, value in row.items() if name != "text"}
    assert thinking(tmp_path, bare | {"thinking_tokens": 3}) == [3]


def test_a_count_of_thinking_above_all_tokens_is_not_used_and_said(tmp_path: Path) -> None:
    row = sample("<think> so 7 </think> 7") | {"tokens": 6, "thinking_tokens": 60}
    found = read(written(tmp_path, row), "table", Options(run="run"))
    assert found.records[0].thinking_tokens is None
    assert any("thinking of 1 of 1 samples do not fit" in note for note in found.notes)


def test_thinking_is_counted_with_the_tokenizer_where_the_text_holds_it(tmp_path: Path) -> None:
    texts = "<think> so 7 </think> 7", "7 it is", "<think> so 7"
    uncounted = [
        {name: value for name, value in sample(text).items() if name != "tokens"} for text in texts
    ]
    # Of 5, 3 and 3 words; the last never ends.
    assert thinking(tmp_path, *uncounted, count_tokens=words) == [4, 0, 3]


def test_a_sample_that_never_ends_what_its_prompt_opened_is_all_thinking(tmp_path: Path) -> None:
    prompt = "7?<think>"
    rows = sample(ENDLESS, prompt=prompt), sample(CLOSED, prompt=prompt)
    assert thinking(tmp_path, *rows) == [5, None]
