"""TRL's steps as older versions, consoles and ms-swift leave them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tersely.core.errors import DataError
from tersely.dynamics.log import StepLog
from tersely.flows.diagnose import diagnose
from tersely.readers.logs.trl import COUNTED
from tersely.readers.steplogs import Writer, read_steps

# As TRL 0.14 to 0.16 printed a step (open-r1 issue 255, trl issue 3452).
OLD = (
    "{'loss': 0.0045, 'grad_norm': 1.89, 'learning_rate': 4.6e-06, "
    "'rewards/accuracy_reward': 0.0625, 'rewards/format_reward': 0.85, 'reward': 0.88, "
    "'reward_std': 0.34, 'completion_length': 190.5, 'kl': 0.001, 'clip_ratio': 0.02, "
    "'epoch': 0.02}"
)
# As transformers 5 prints it: every number in quotes.
NEW = (
    "{'loss': '0.0045', 'grad_norm': '1.89', 'completions/mean_length': '190.5', "
    "'reward': '0.88', 'kl': '0.001', 'clip_ratio/region_mean': '0.02', 'epoch': '0.02'}"
)
# A line of ms-swift's logging.jsonl, shortened (ms-swift issue 9261).
SWIFT = {
    "loss": 0.0045,
    "grad_norm": 1.89,
    "completions/mean_length": 190.5,
    "completions/clipped_ratio": 0.5,
    "reward": 0.88,
    "entropy/mean": 0.82,
    "kl": 0.001,
    "clip_ratio/region_mean": 0.02,
    "global_step/max_steps": "5/100",
    "elapsed_time": "36s",
}


def read(tmp_path: Path, content: str, **columns: str) -> StepLog:
    (file := tmp_path / "log.txt").write_text(content)
    return read_steps(file, writer=Writer.TRL, columns=columns)


def check(log: StepLog) -> None:
    expected = {
        "loss": 0.0045,
        "grad_norm": 1.89,
        "tokens_mean": 190.5,
        "reward_mean": 0.88,
        "kl_mean": 0.001,
        "clip_share": 0.02,
    }
    for name, value in expected.items():
        assert log.columns[name].tolist() == [value] * log.step_N.size


def test_the_names_of_older_versions_are_known(tmp_path: Path) -> None:
    row = {key.strip("{}'"): float(v) for key, v in (p.split("': ") for p in OLD[1:-1].split(", "))}
    history = [{"step": step, **row} for step in (1, 2)]
    check(read(tmp_path, json.dumps({"log_history": history})))
    renamed = {"step": 1, "mean_completion_length": 9.0, "clipped_completions_ratio": 0.25}
    log = read(tmp_path, json.dumps({"log_history": [renamed]}))
    assert (log.columns["tokens_mean"][0], log.columns["truncated_share"][0]) == (9, 0.25)


@pytest.mark.parametrize("line", [OLD, NEW])
@pytest.mark.parametrize("before", ["", "  3%|███▎  | 1/30 [00:02<00:40, 2.0s/it]", "\r 7%|#| "])
def test_printed_lines_are_steps_in_order(tmp_path: Path, line: str, before: str) -> None:
    summary = "{'train_runtime': 9.1, 'train_loss': 0.2, 'loss': 1, 'epoch': 1.0}\n"
    evaluation = "{'eval_loss': 0.5, 'eval_reward': 0.1, 'reward': 5}\n"
    own = "config {'learning_rate': 1e-6, 'seed': 1}"
    shown = f"{own}\n{before}{line}\n{evaluation}\n{before}{line}\n{summary}"
    log = read(tmp_path, shown)
    check(log)
    assert log.step_N.tolist() == [1, 2]
    assert COUNTED in diagnose(log).unknown


def test_what_is_printed_as_nan_is_none_and_not_a_missing_line(tmp_path: Path) -> None:
    bad = OLD.replace("0.0045", "nan").replace("1.89", "inf")
    log = read(tmp_path, f"{OLD}\n{bad}\n")
    assert log.step_N.tolist() == [1, 2]
    for name in ("loss", "grad_norm"):
        assert np.isfinite(log.columns[name]).tolist() == [True, False]
    assert log.columns["kl_mean"].tolist() == [0.001, 0.001]


def test_ms_swifts_lines_have_their_step(tmp_path: Path) -> None:
    other = {**SWIFT, "global_step/max_steps": "10/100"}
    tail = {"last_model_checkpoint": "x", "log_history": [SWIFT], "global_step": 10}
    lines = "".join(json.dumps(row) + "\n" for row in (SWIFT, other, tail))
    log = read(tmp_path, lines)
    check(log)
    assert log.step_N.tolist() == [5, 10]
    assert log.columns["truncated_share"].tolist() == [0.5, 0.5]
    assert log.columns["entropy_mean"].tolist() == [0.82, 0.82]
    assert COUNTED not in log.notes
    # One that is being written, one alone, and the same as they are printed.
    assert read(tmp_path, lines + json.dumps(SWIFT)[:30]).step_N.tolist() == [5, 10]
    assert read(tmp_path, json.dumps(SWIFT)).step_N.tolist() == [5]
    assert read(tmp_path, f"{SWIFT}\n{other}\n").step_N.tolist() == [5, 10]


def test_a_reward_that_may_be_accuracy_is_named_and_not_taken_for_it(tmp_path: Path) -> None:
    log = read(tmp_path, OLD)
    assert "accuracy" not in log.columns
    (said,) = [note for note in diagnose(log).unknown if note.startswith("Not read")]
    assert "--column accuracy=rewards/accuracy_reward" in said
    assert "num_tokens" not in said
    named = read(tmp_path, OLD, accuracy="rewards/accuracy_reward")
    assert named.columns["accuracy"].tolist() == [0.0625]


def test_what_we_log_beside_trls_names_is_taken(tmp_path: Path) -> None:
    history = [{"step": 1, "loss": 0.1, "tersely/accuracy": 0.5}]
    log = read(tmp_path, json.dumps({"log_history": history}))
    assert log.columns["accuracy"].tolist() == [0.5]


def test_a_row_of_unknown_names_is_listed_with_how_to_name_them(tmp_path: Path) -> None:
    history = [{"step": 1, "my/length": 3}, {"step": 2, "my/reward": 4}]
    with pytest.raises(DataError, match=r"it has step, my/length, my/reward; name them with --col"):
        read(tmp_path, json.dumps({"log_history": history}))


@pytest.mark.parametrize("content", ["Training has begun.\n", "", "[1, 2]", '{"a": 1}'])
def test_what_is_no_log_of_trls_is_told_what_to_give(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"give trainer_state.json of a checkpoint") as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)
