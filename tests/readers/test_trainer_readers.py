"""Each trainer's reader on a file of its rollouts that the trainer wrote."""

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
