"""Logs as strangers have them: clocks of their own, downloads, packed files, and what is none."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest

from tersely.core.errors import ConfigError
from tersely.dynamics.log import StepLog
from tersely.readers.logged import LoggedRun
from tersely.readers.steplogs import Writer, read_steps, recognise


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(tmp_path: Path, content: str, name: str = "log.jsonl", **named: Any) -> StepLog:
    (file := tmp_path / name).write_text(content)
    return read_steps(file, columns=named.pop("columns", {}), **named)


def slime(
    rollouts: int, updates: int, *, ahead: int = 0, in_updates: bool = False, eval_step: bool = True
) -> list[dict[str, Any]]:
    """What slime logs (its rollout_metrics.py and model.py, 0.1 to 0.3.1).

    Args:
        ahead: rollouts that are sampled before their updates, as asynchronous training does.
        in_updates: ``--wandb-always-use-train-step``.
        eval_step: whether evaluations say their step.
    """
    rows: list[dict[str, Any]] = []
    for turn in range(rollouts + ahead):
        if turn < rollouts:
            step = turn * updates if in_updates else turn
            rows.append({"rollout/response_len/mean": 900.0 - turn, "rollout/step": step})
            rows.append({"rollout/raw_reward": turn / rollouts, "rollout/step": step})
        trained = turn - ahead
        for update in range(updates if trained >= 0 else 0):
            at = trained * updates + update
            rows.append({"train/loss": 100.0 * trained + update, "train/step": at})
        if turn % 4 == 3 and turn < rollouts:
            own = {"eval/step": step} if eval_step else {}
            rows.append({"eval/aime": turn / 100, "eval/aime-truncated_ratio": 0.0, **own})
    return [{"_step": at, **row} for at, row in enumerate(rows)]


@pytest.mark.parametrize("updates", [1, 2, 4])
@pytest.mark.parametrize("ahead", [0, 1, 2])
@pytest.mark.parametrize("in_updates", [True, False])
def test_updates_and_evaluations_are_joined_to_their_rollouts(
    tmp_path: Path, updates: int, ahead: int, in_updates: bool
) -> None:
    rows = slime(20, updates, ahead=ahead, in_updates=in_updates)
    log = read(tmp_path, lines(rows))
    unit = updates if in_updates else 1
    assert log.step_N.tolist() == [turn * unit for turn in range(20)]
    assert log.columns["tokens_mean"].tolist() == [900.0 - turn for turn in range(20)]
    # The mean of 100 n, 100 n + 1, ...
    mean = (updates - 1) / 2
    assert log.columns["loss"].tolist() == [100.0 * turn + mean for turn in range(20)]
    held = [turn / 100 if turn % 4 == 3 else np.nan for turn in range(20)]
    np.testing.assert_array_equal(log.columns["eval_accuracy"], held)
    assert log.staleness == updates
    assert log.repeated_steps == 0
    assert any(f"{updates} updates a batch" in note for note in log.notes) == (updates > 1)


def test_an_evaluation_without_a_step_is_of_the_last_rollouts_before_it(tmp_path: Path) -> None:
    log = read(tmp_path, lines(slime(12, 3, eval_step=False)))
    held = [turn / 100 if turn % 4 == 3 else np.nan for turn in range(12)]
    np.testing.assert_array_equal(log.columns["eval_accuracy"], held)


def test_an_evaluation_without_a_step_is_joined_in_any_tools_log(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for step in range(1, 7):
        rows.append({"_step": 2 * step, "train/global_step": step, "loss": 0.5})
        if step % 2 == 0:
            rows.append({"_step": 2 * step + 1, "eval/accuracy": step / 10})
    log = read(tmp_path, lines(rows))
    assert log.step_N.tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(
        log.columns["eval_accuracy"], [np.nan, 0.2, np.nan, 0.4, np.nan, 0.6]
    )


def test_a_log_of_updates_and_evaluations_alone_is_joined_by_its_order(tmp_path: Path) -> None:
    rows = [row for row in slime(8, 2) if "rollout/step" not in row]
    log = read(tmp_path, lines(rows))
    assert log.step_N.tolist() == list(range(16))
    assert np.flatnonzero(np.isfinite(log.columns["eval_accuracy"])).tolist() == [7, 15]
    assert np.isnan(log.staleness)


def test_a_restart_of_rollouts_and_updates_supersedes_both(tmp_path: Path) -> None:
    before, after = slime(10, 2), slime(12, 2)
    again = [row for row in after if row.get("rollout/step", row.get("train/step", 0) // 2) >= 5]
    for row in again:
        if "train/loss" in row:
            row["train/loss"] += 0.25
    log = read(tmp_path, lines(before + again))
    assert log.step_N.tolist() == list(range(12))
    assert log.columns["loss"].tolist() == [100.0 * n + 0.5 + 0.25 * (n >= 5) for n in range(12)]
    assert log.repeated_steps == 5


def test_two_runs_with_clocks_are_chosen_with_their_updates(tmp_path: Path) -> None:
    other = [{**row, "train/loss": 7.0} if "train/loss" in row else row for row in slime(10, 2)]
    rows = lines(slime(10, 2) + other)
    assert read(tmp_path, rows).columns["loss"].tolist() == [7.0] * 10
    first = read(tmp_path, rows, run="1")
    assert first.columns["loss"].tolist() == [100.0 * turn + 0.5 for turn in range(10)]


def test_nan_of_one_update_is_not_hidden_in_the_mean(tmp_path: Path) -> None:
    rows = slime(6, 2)
    next(row for row in rows if row.get("train/step") == 5)["train/loss"] = float("nan")
    assert np.isnan(read(tmp_path, lines(rows)).columns["loss"]).tolist() == [
        turn == 2 for turn in range(6)
    ]


def by_tags(rows: list[dict[str, Any]]) -> LoggedRun:
    """As slime's TensorBoard logger leaves it: without the names of its clocks."""
    told: dict[int, dict[str, Any]] = {}
    for row in rows:
        step = next(value for name, value in row.items() if name.endswith("/step"))
        values = {k: v for k, v in row.items() if k != "_step" and not k.endswith("/step")}
        told.setdefault(step, {"step": step}).update(values)
    return LoggedRun("events", [told[step] for step in sorted(told)])


def test_clocks_are_told_by_the_tags_where_they_have_no_names(tmp_path: Path) -> None:
    log = read(tmp_path, json.dumps(list(by_tags(slime(20, 4)).rows)), "a.json")
    assert log.step_N.tolist() == list(range(20))
    assert log.columns["loss"].tolist() == [100.0 * turn + 1.5 for turn in range(20)]
    assert np.flatnonzero(np.isfinite(log.columns["eval_accuracy"])).tolist() == [3, 7, 11, 15, 19]


def test_what_slimes_console_prints_is_read(tmp_path: Path) -> None:
    kinds = (("rollout/step", "perf"), ("train/step", "(Actor pid=3) step"), ("eval/step", "eval"))
    said = ["loading"]
    for row in slime(8, 2):
        del row["_step"]
        said += [f"x.py:1 - {word} {row[clock]}: {row}" for clock, word in kinds if clock in row]
    log = read(tmp_path, "\n".join(said), "slime.log")
    assert recognise(tmp_path / "slime.log") is Writer.SLIME
    assert log.step_N.tolist() == list(range(8))
    assert log.columns["loss"].tolist() == [100.0 * turn + 0.5 for turn in range(8)]
    assert np.isfinite(log.columns["eval_accuracy"]).sum() == 2


def test_processes_that_log_at_their_own_pace_are_joined_by_their_steps(tmp_path: Path) -> None:
    # prime-rl's orchestrator is ahead of its trainer; both write to one run of W&B.
    rows: list[dict[str, Any]] = []
    for step in range(20):
        if step % 5 == 0:
            rows.append({"step": step, "eval/math/all/solver/avg@8": step / 20})
        rows.append({"step": step, "reward/all/mean": 0.5, "decode_len/all/mean": 90.0 + step})
        if step >= 2:
            rows.append({"step": step - 2, "loss/mean": step - 2, "optim/grad_norm": 0.1})
    log = read(tmp_path, lines(rows))
    assert log.step_N.tolist() == list(range(20))
    assert log.columns["tokens_mean"].tolist() == [90.0 + step for step in range(20)]
    assert log.columns["loss"][:18].tolist() == list(range(18))
    assert np.flatnonzero(np.isfinite(log.columns["eval_accuracy"])).tolist() == [0, 5, 10, 15]
    assert log.repeated_steps == 0


@pytest.mark.parametrize("tool", ["wandb", "mlflow", "tensorboard", "trackio"])
def test_csv_of_a_tracker_is_read_where_the_tracker_is_named(tmp_path: Path, tool: str) -> None:
    table = "step,completions/mean_length\n1,9\n2,8\n"
    log = read(tmp_path, table, "export.csv", writer=Writer(tool))
    assert log.columns["tokens_mean"].tolist() == [9, 8]


# Names of older and newer versions: each of these rows is one tool's.
NAMES = [
    ("actor/entropy_loss", "entropy_mean"),  # verl 0.1 to 0.4
    ("actor/ppo_kl", "kl_mean"),
    ("actor/reward_kl_penalty", "kl_mean"),
    ("critic/rewards/mean", "reward_mean"),
    ("critic/score/mean", "reward_mean"),
    ("val/test_score/openai/gsm8k", "eval_accuracy"),  # verl 0.3
    ("mismatch/mismatch_k3_kl", "sampler_mismatch"),  # verl 0.6
    ("mismatch/mismatch_kl", "sampler_mismatch"),
    ("mismatch/mismatch_log_ppl_abs_diff", "sampler_mismatch"),
    ("mismatch/mismatch_log_ppl_diff", "sampler_mismatch"),
    ("rollout_corr/kl", "sampler_mismatch"),  # verl from 0.7 on
    ("rollout_corr/log_ppl_abs_diff", "sampler_mismatch"),
    ("rollout_corr/log_ppl_diff", "sampler_mismatch"),
    ("rollout_correction/log_ppl_abs_diff", "sampler_mismatch"),  # ms-swift
    ("reward/all/mean", "reward_mean"),  # prime-rl 0.5
    ("decode_len/all/mean", "tokens_mean"),
    ("is_truncated/all/mean", "truncated_share"),
    ("seq_len/mean", "tokens_mean"),  # prime-rl 0.2
    ("entropy/mean", "entropy_mean"),
    ("train/agg/effective/solver/is_truncated/mean", "truncated_share"),  # prime-rl of August 2026
    ("train/agg/all/solver/reward/mean", "reward_mean"),
    ("rollout/response_lengths", "tokens_mean"),  # slime 0.1
    ("generate/avg_num_tokens", "tokens_mean"),  # SkyRL
    ("reward/avg_pass_at_8", "solved_share"),
    ("eval/aime24/avg_score", "eval_accuracy"),
    ("val/sequence_lengths", "tokens_mean"),  # open-instruct
    ("objective/verifiable_correct_rate", "accuracy"),
    ("token/response_length/mean", "tokens_mean"),  # ROLL
    ("critic/correct/mean", "accuracy"),
    ("ppo_actor/update/entropy/avg", "entropy_mean"),  # AReaL
    ("eval-rollout/reward", "eval_accuracy"),
    ("response_clip_ratio", "truncated_share"),  # ms-swift 3.2, OpenRLHF
    ("vllm_kl", "sampler_mismatch"),  # OpenRLHF 0.9
    ("zero_var_group_frac", "zero_signal_share"),  # rl-doctor
    ("policy/entropy", "entropy_mean"),
]


@pytest.mark.parametrize(("their", "our"), NAMES)
def test_a_name_of_any_version_needs_no_column(tmp_path: Path, their: str, our: str) -> None:
    value = 9.0 if our == "tokens_mean" else 0.25
    table = f"step,{their}\n1,{value}\n2,{value}\n"
    for name, content in (
        ("a.csv", table),
        ("a.jsonl", lines([{"step": s, their: value} for s in (1, 2)])),
    ):
        assert read(tmp_path, content, name).columns[our].tolist() == [value, value]


def test_names_of_ours_are_known_in_capitals(tmp_path: Path) -> None:
    log = read(tmp_path, "Step,Tokens_mean,ACCURACY\n1,9,0.5\n", "a.csv")
    assert (log.columns["tokens_mean"][0], log.columns["accuracy"][0]) == (9, 0.5)


def test_every_orient_of_pandas_is_read(tmp_path: Path) -> None:
    split = {"columns": ["step", "loss"], "index": [0, 1], "data": [[1, 0.5], [2, 0.25]]}
    log = read(tmp_path, json.dumps(split), "a.json")
    assert (log.step_N.tolist(), log.columns["loss"].tolist()) == ([1, 2], [0.5, 0.25])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"actor/ppo_kl": 0.1, "actor/kl_loss": 0.2}, None),
        ({"actor/ppo_kl": 0.1}, "the divergence from the policy that sampled"),
        ({"seq_len/all/mean": 9.0, "decode_len/all/mean": 5.0}, None),
        ({"seq_len/all/mean": 9.0}, "counts the tokens of the prompt as well"),
    ],
)
def test_what_a_name_stands_for_is_said_where_it_is_read(
    tmp_path: Path, row: dict[str, float], told: str | None
) -> None:
    log = read(tmp_path, lines([{"step": 1, **row}]))
    assert any(told in note for note in log.notes) if told else len(log.notes) <= 2
    assert all(
        log.columns[our][0] in row.values()
        for our in ("kl_mean", "tokens_mean")
        if our in log.columns
    )


@pytest.mark.parametrize("prefix", ["rollout_corr/", "mismatch/mismatch_"])
def test_of_several_mismatches_the_one_that_hides_least_is_read_and_said(
    tmp_path: Path, prefix: str
) -> None:
    best_first = ("k3_kl", "log_ppl_abs_diff", "kl", "log_ppl_diff")
    for left in range(len(best_first)):
        there = {f"{prefix}{name}": 0.1 * (at + 1) for at, name in enumerate(best_first)}
        row = dict(list(there.items())[left:][::-1])
        # Of probabilities, and no mean: these are none.
        row |= {"training/rollout_probs_diff_mean": 7.0, f"{prefix}log_ppl_diff_max": 8.0}
        log = read(tmp_path, lines([{"step": s, "data": row} for s in (1, 2)]), "steps.jsonl")
        name, value = list(there.items())[left]
        assert log.columns["sampler_mismatch"].tolist() == [value, value]
        assert sum(f"sampler_mismatch is read from {name}: " in note for note in log.notes) == 1


ONE = "step,tokens_mean\n" + "".join(f"{step},9\n" for step in range(9))


@pytest.mark.parametrize("run", ["7", "0", "mine"])
def test_a_run_that_is_not_there_is_refused_where_there_is_one(tmp_path: Path, run: str) -> None:
    with pytest.raises(ConfigError, match=rf"holds one run, 'log.csv'; leave out --run {run}$"):
        read(tmp_path, ONE, "log.csv", run=run)
    assert read(tmp_path, ONE, "log.csv", run="log.csv").step_N.size == 9


def test_a_folder_of_ours_holds_one_run(tmp_path: Path) -> None:
    (tmp_path / "steps.jsonl").touch()
    with pytest.raises(ConfigError, match="holds one run; leave out --run 7"):
        read_steps(tmp_path, columns={}, run="7")


def test_one_of_several_runs_may_itself_have_begun_anew(tmp_path: Path) -> None:
    steps = [*range(9), *range(9)]
    table = "run,step,loss\n" + "".join(f"{r},{s},0.5\n" for r in "ab" for s in steps)
    log = read(tmp_path, table, "log.csv", run="a")
    assert log.step_N.tolist() == list(range(9))
    (said,) = [note for note in log.notes if "runs stand in this log" in note]
    assert "--run" not in said


def test_a_column_of_text_is_left_out_and_said(tmp_path: Path) -> None:
    log = read(tmp_path, "step,loss,difficulty\n1,0.5,hard\n2,oops,easy\n", "a.csv")
    assert set(log.columns) == {"loss"}
    told = " ".join(log.notes)
    assert "difficulty, which holds 'hard' in row 1" in told
    assert "loss holds 'oops' in row 2, no number: a cell of it left out" in told


def test_a_length_in_characters_is_not_offered_as_one_of_tokens(tmp_path: Path) -> None:
    log = read(tmp_path, "step,accuracy,response_length_chars\n1,0.5,3000\n", "a.csv")
    assert "--column tokens_mean" not in " ".join(log.notes)


@pytest.mark.parametrize(
    "row",
    [
        {"metrics": {"reward": 0.5, "kl": 0.1}},
        {"data": {"train": {"reward": 0.5}, "kl": 0.1}},
        {"train": {"reward": 0.5, "kl": 0.1}, "samples": {"_type": "table-file", "size": 3}},
    ],
)
def test_what_stands_in_an_object_is_read(tmp_path: Path, row: dict[str, Any]) -> None:
    log = read(tmp_path, json.dumps([{"step": step, **row} for step in (1, 2)]), "a.json")
    assert log.columns["reward_mean"].tolist() == [0.5, 0.5]
    assert log.columns["kl_mean"].tolist() == [0.1, 0.1]


def test_one_scalar_that_tensorboard_downloads_is_named_by_its_file(tmp_path: Path) -> None:
    name = "run-mine-tag-train_completions_mean_length"
    log = read(tmp_path, "Wall time,Step,Value\n1.5,1,9\n2.5,2,8\n", f"{name}.csv")
    assert log.columns["tokens_mean"].tolist() == [9, 8]
    log = read(tmp_path, "[[1.5, 1, 9.0], [2.5, 2, 8.0]]", f"{name}.json")
    assert log.columns["tokens_mean"].tolist() == [9, 8]


def test_a_console_in_colours_is_read(tmp_path: Path) -> None:
    said = "".join(
        f"\x1b[36m(TaskRunner pid=9)\x1b[0m \x1b[32mstep:{step} - actor/entropy:0.5 - "
        "response_length/mean:np.float64(90.0)\x1b[0m\n"
        for step in (1, 2)
    )
    log = read(tmp_path, said, "verl.log")
    assert log.columns["tokens_mean"].tolist() == [90, 90]
    assert log.columns["entropy_mean"].tolist() == [0.5, 0.5]


def test_json_lines_are_read_packed_and_in_utf_16(tmp_path: Path) -> None:
    rows = lines([{"step": step, "loss": 0.5} for step in range(9)])
    packed, wide = tmp_path / "a.jsonl.gz", tmp_path / "a.jsonl"
    packed.write_bytes(gzip.compress(rows.encode()))
    wide.write_text(rows, encoding="utf-16")
    for file in (packed, wide):
        assert read_steps(file, columns={}).step_N.size == 9


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_of_json_may_hold_other_ends_of_lines(tmp_path: Path, end: str) -> None:
    rows = [{"step": step, "loss": 0.5, "note": "a\u2028b\x85c"} for step in range(9)]
    said = "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)
    assert read(tmp_path, said).step_N.size == 9


def test_a_long_log_is_read_in_a_few_times_what_its_text_takes(tmp_path: Path) -> None:
    row = {"completions/mean_length": 9.5, **{f"extra/{n}": n / 7 for n in range(19)}}
    (file := tmp_path / "a.jsonl").write_text(lines([{"step": s, **row} for s in range(10_000)]))

    def seconds(act: Callable[[], object]) -> float:
        began = process_time()
        act()
        return process_time() - began

    text = min(
        seconds(lambda: [json.loads(line) for line in file.read_text().splitlines()])
        for _ in range(3)
    )
    assert min(seconds(lambda: read_steps(file, columns={})) for _ in range(3)) < 4.5 * text
