"""Each trainer's reader on a file of its rollouts that the trainer wrote."""

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from tokenizers import Tokenizer

import tersely.lab
from tersely.core.errors import ConfigError, DataError
from tersely.core.types import EvalRecord, Finish, Grade
from tersely.readers.formats import Options, Reading, read

FIXTURES = Path(__file__).parent / "fixtures"
TRL = FIXTURES / "trl" / "completions_00002.parquet"
VERL = FIXTURES / "verl" / "10.jsonl"
VERDICT = {"correct": "accuracy_reward"}
TOKENIZER = Tokenizer.from_file(
    str(Path(tersely.lab.__file__).parent / "checkpoint" / "tokenizer.json")
)


def count_tokens(text: str) -> int:
    return len(TOKENIZER.encode(text).ids)


def reading(path: Path, name: str, **options: object) -> Reading:
    return read(path, name, Options(run="run", **options))  # type: ignore[arg-type]


def refusal(path: Path, name: str, **options: object) -> str:
    with pytest.raises((DataError, ConfigError)) as error:
        reading(path, name, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def grades(records: list[EvalRecord]) -> Counter[Grade]:
    return Counter(record.grade for record in records)


def finishes(records: list[EvalRecord]) -> Counter[Finish]:
    return Counter(record.finish for record in records)


def problems(records: list[EvalRecord]) -> Counter[str]:
    return Counter(record.problem for record in records)


# TRL: 16 completions of 4 prompts; its reward function logged 767 tokens.


def test_trl_names_its_rewards_and_keeps_the_one_that_is_the_verdict() -> None:
    assert "accuracy_reward, length_reward, completion_tokens" in refusal(TRL, "trl")
    told = {"columns": VERDICT | {"tokens": "completion_tokens"}, "cap_tokens": 64}
    result = reading(TRL, "trl", **told)
    assert sum(record.tokens for record in result.records) == 767
    assert sum(record.grade is Grade.CORRECT for record in result.records) == int(
        pl.read_parquet(TRL)["accuracy_reward"].sum()
    )
    assert list(problems(result.records).values()) == [4, 4, 4, 4]


def test_trl_counts_re_made_leave_out_the_stop_token() -> None:
    # 9 of the 16 ended by themselves: 767 - 9.
    result = reading(TRL, "trl", columns=VERDICT, count_tokens=count_tokens, cap_tokens=64)
    assert sum(record.tokens for record in result.records) == 758
    assert finishes(result.records) == {Finish.STOP: 9, Finish.LENGTH: 7}


def test_trl_shaped_rewards_are_refused_with_their_value() -> None:
    columns = {"correct": "length_reward", "tokens": "completion_tokens"}
    message = refusal(TRL, "trl", columns=columns, cap_tokens=64)
    assert "row 1: score -0.63999" in message
    assert "--column correct=NAME" in message


# verl: 24 samples of the lab model, 5 right. DAPO's reward manager puts the reward function's own
# score, 1 or -1, in the place of the shaped one.


def test_verl_takes_acc_for_the_verdict_and_refuses_a_score_that_is_none() -> None:
    told = {"count_tokens": count_tokens, "cap_tokens": 64}
    result = reading(VERL, "verl", **told)
    assert grades(result.records) == {Grade.CORRECT: 5, Grade.WRONG: 19}
    assert set(problems(result.records).values()) == {3}
    message = refusal(VERL, "verl", columns={"correct": "score"}, **told)
    assert "line 4: score -1.0" in message
    assert "acc" in message


def test_verl_files_of_several_steps_are_refused(tmp_path: Path) -> None:
    text = VERL.read_text(encoding="utf-8")
    path = tmp_path / "all.jsonl"
    path.write_text(text + text.replace('"step": 10', '"step": 20'), encoding="utf-8")
    assert "holds the steps 10, 20" in refusal(path, "verl")


def dump(tmp_path: Path, *scores: object, **rest: object) -> Path:
    """A dump of verl with these scores and nothing that was graded besides."""
    rows = [
        {"input": f"{n}?", "output": "So 7.", "gts": "7", "score": score, "step": 1} | rest
        for n, score in enumerate(scores)
    ]
    path = tmp_path / "1.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


COUNTED = {"count_tokens": count_tokens, "cap_tokens": 64}


def test_verl_scores_of_1_and_minus_1_alone_are_right_and_wrong(tmp_path: Path) -> None:
    result = reading(dump(tmp_path, 1.0, -1.0, "1"), "verl", **COUNTED)
    assert grades(result.records) == {Grade.CORRECT: 2, Grade.WRONG: 1}
    assert "scores are 1 and -1 alone: -1 is taken as wrong" in result.notes


@pytest.mark.parametrize("scores", [(0.1, 0.9), (1, -1, 0.5), (-1, -1), (1, 0, -1)])
def test_verl_scores_that_are_no_verdicts_are_answered_with_what_is_one(tmp_path, scores) -> None:
    message = refusal(dump(tmp_path, *scores, length=0.5), "verl", **COUNTED)
    assert "no other column holds verdicts" in message
    assert "grade the texts with --regrade GRADER" in message
    for name in ("output", "length", "input"):
        assert name not in message
    message = refusal(dump(tmp_path, *scores, length=0.5, judge=1), "verl", **COUNTED)
    assert "--column correct=NAME, one of judge, or grade" in message


def test_verdicts_that_a_file_lacks_are_not_said_to_be_its(tmp_path: Path) -> None:
    told = COUNTED | {"grader": "number"}
    assert "verdicts" not in " ".join(reading(dump(tmp_path, 0.1, 0.9), "verl", **told).notes)
    notes = reading(dump(tmp_path, 0, 1), "verl", **told).notes
    assert notes[0] == "the file's verdicts are verl's score"
