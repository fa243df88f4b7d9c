"""Training logs where they are: every tool's own files, its names, and one run among several."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tersely.core.errors import ConfigError, DataError
from tersely.dynamics.log import COLUMNS, StepLog
from tersely.readers.logs import tools
from tersely.readers.steplogs import Writer, read_steps, recognise

LOGS = Path(__file__).parent / "fixtures" / "logs"
PACKAGES = {"wandb": "wandb", "tensorboard": "tensorboard"}
# What a tracker's own client wrote (make_fixtures/for_trackers.py): two runs of four steps.
TRACKED = ["wandb", "tensorboard", "trackio", "mlflow/mlruns", "mlflow/mlflow.db", "trackio/p.db"]


def read(tmp_path: Path, content: str, name: str = "log.csv", **named) -> StepLog:
    (file := tmp_path / name).write_text(content)
    return read_steps(file, columns=named.pop("columns", {}), **named)


def lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def need(place: str) -> None:
    if package := PACKAGES.get(place.partition("/")[0]):
        pytest.importorskip(package)


@pytest.mark.parametrize("place", TRACKED)
def test_what_a_tracker_wrote_is_read_by_its_run(place: str) -> None:
    need(place)
    log = read_steps(LOGS / place, columns={}, run="short")
    assert log.step_N.tolist() == [1, 2, 3, 4]
    assert log.columns["tokens_mean"].tolist() == [49.0, 48.0, 47.0, 46.0]
    assert log.columns["accuracy"].tolist() == pytest.approx([0.25, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(log.columns["entropy_mean"], [0.25, np.nan, 0.25, 0.25])
    np.testing.assert_array_equal(log.columns["eval_accuracy"], [np.nan] * 3 + [0.75])
    assert log.repeated_steps == 0
    tool = place.partition("/")[0]
    assert log.notes[0] == f"Read as --from {tool}."


@pytest.mark.parametrize("place", TRACKED)
def test_several_runs_are_named_and_none_is_taken(place: str) -> None:
    need(place)
    with pytest.raises(ConfigError, match=r"holds 2 runs \(.*\); choose one with --run '"):
        read_steps(LOGS / place, columns={})
    with pytest.raises(ConfigError, match="no run 'x'"):
        read_steps(LOGS / place, columns={}, run="x")


def test_one_runs_folder_needs_no_name() -> None:
    pytest.importorskip("wandb")
    (folder,) = (LOGS / "wandb" / "wandb").glob("*-long")
    assert read_steps(folder, columns={}).columns["tokens_mean"][0] == 99.0


def test_event_files_without_scalars_are_refused() -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(DataError, match="1 event files and no scalar"):
        read_steps(LOGS / "tensorboard-empty", columns={})


@pytest.mark.parametrize("tool", PACKAGES)
def test_a_tracker_without_its_package_says_what_to_install(
    tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tersely.core.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"needs {tool}, which is not installed: .*\[track\]"):
        read_steps(LOGS / tool, columns={})


class Written(NamedTuple):
    """A row as a trainer writes it, and what is read from it."""

    tool: str
    row: dict[str, float]
    read: dict[str, float]


# Names as the tools' sources have them (OpenRLHF ppo_trainer.py, NeMo-RL grpo.py, prime-rl
# orchestrator/metrics.py and trainer/rl/train.py, slime's metrics): July and August 2026.
ROWS = [
    Written(
        "openrlhf",
        {
            "train/global_step": 5,
            "train/rollout/response_length_mean": 90,
            "train/rollout/truncated_rate": 0.1,
            "train/entropy_loss": 0.4,
            "train/actor_grad_norm": 0.2,
            "eval/eval_math_pass1": 0.6,
        },
        {"tokens_mean": 90, "truncated_share": 0.1, "entropy_mean": 0.4, "eval_accuracy": 0.6},
    ),
    Written(
        "nemo_rl",
        {
            "step": 5,
            "train/mean_gen_tokens_per_sample": 90,
            "train/approx_entropy": 0.4,
            "train/gen_kl_error": 0.01,
            "validation/accuracy": 0.6,
        },
        {"tokens_mean": 90, "entropy_mean": 0.4, "sampler_mismatch": 0.01, "eval_accuracy": 0.6},
    ),
    Written(
        "prime_rl",
        {
            "step": 5,
            "train/effective/num_output_tokens/mean": 90,
            "entropy/all/mean": 0.4,
            "optim/grad_norm": 0.2,
            "progress/rollouts": 64,
            "eval/math/effective/solver/avg@8": 0.6,
        },
        {"tokens_mean": 90, "entropy_mean": 0.4, "rollouts": 64, "eval_accuracy": 0.6},
    ),
    Written(
        "slime",
        {
            "rollout/step": 5,
            "rollout/response_len/mean": 90,
            "rollout/truncated_ratio": 0.1,
            "rollout/repetition_frac": 0.02,
            "train/entropy_loss": 0.4,
            "eval/aime": 0.6,
        },
        {"tokens_mean": 90, "truncated_share": 0.1, "looping_share": 0.02, "eval_accuracy": 0.6},
    ),
    Written(
        "verl",
        {
            "step": 5,
            "response_length/mean": 90,
            "actor/entropy": 0.4,
            "val-core/gsm8k/acc/mean@4": 0.6,
            "val-core/gsm8k/acc/best@4/mean": 0.9,
        },
        {"tokens_mean": 90, "entropy_mean": 0.4, "eval_accuracy": 0.6},
    ),
]


@pytest.mark.parametrize("written", ROWS, ids=lambda written: written.tool)
@pytest.mark.parametrize("named", [True, False])
def test_names_of_any_trainer_are_known_in_any_file(
    tmp_path: Path, written: Written, named: bool
) -> None:
    writer = Writer(written.tool) if named and written.tool != "verl" else None
    table = ",".join(written.row) + "\n" + ",".join(map(str, written.row.values())) + "\n"
    for name, content in (("a.jsonl", lines([written.row])), ("a.csv", table)):
        log = read(tmp_path, content, name, writer=writer)
        assert log.step_N.tolist() == [5]
        assert {our: log.columns[our][0] for our in written.read} == written.read


def test_every_name_of_every_tool_is_one_of_ours() -> None:
    for tool in tools().values():
        assert set(tool.names.values()) <= set(COLUMNS), tool.name
    assert set(tools()) <= set(Writer)


CHART = (
    '"train/global_step","a - b - train/reward","a - b - train/reward__MIN",'
    '"c - train/reward","c - train/reward__MIN"\n"1","0.5","0","0.1","0"\n"2","0.75","0","",""\n'
)


def test_a_chart_of_wandb_is_read_by_its_run(tmp_path: Path) -> None:
    log = read(tmp_path, CHART, run="a - b")
    assert log.columns["reward_mean"].tolist() == [0.5, 0.75]
    assert set(log.columns) == {"reward_mean"}
    assert read(tmp_path, CHART, run="c").step_N.tolist() == [1]
    with pytest.raises(ConfigError, match=r"holds 2 runs \(a - b, c\)"):
        read(tmp_path, CHART)


def test_a_dash_in_a_name_makes_no_chart_of_a_table(tmp_path: Path) -> None:
    log = read(tmp_path, "step,tokens_mean,seconds - wall\n1,9,0.5\n")
    assert log.columns["tokens_mean"].tolist() == [9]


@pytest.mark.parametrize(
    "content",
    [
        lines([{"_step": s, "_timestamp": 1.5, "reward": s / 4} for s in (1, 2)]),
        json.dumps([{"_step": s, "reward": s / 4} for s in (1, 2)]),
        json.dumps([json.dumps({"_step": s, "reward": s / 4}) for s in (1, 2)]),
        json.dumps({"_step": {"0": 1, "1": 2}, "reward": {"0": 0.25, "1": 0.5}}),
        json.dumps({"_step": [1, 2], "reward": [0.25, 0.5]}),
    ],
)
def test_a_history_as_json_is_read_in_every_shape(tmp_path: Path, content: str) -> None:
    log = read(tmp_path, content, "history.json")
    assert log.step_N.tolist() == [1, 2]
    assert log.columns["reward_mean"].tolist() == [0.25, 0.5]


def test_a_step_of_the_trainer_stands_before_the_loggers_calls(tmp_path: Path) -> None:
    rows = [{"_step": 7, "train/global_step": 1, "loss": 0.5}, {"_step": 8, "loss": 9.0}]
    log = read(tmp_path, lines(rows), "a.jsonl")
    assert (log.step_N.tolist(), log.columns["loss"].tolist()) == ([1], [0.5])


def test_a_long_table_of_values_is_made_wide_and_split_by_run(tmp_path: Path) -> None:
    rows = ["Run ID,key,value,step,timestamp"]
    rows += [
        f"{run},{key},{step},{step},1" for run in "ab" for key in ("kl", "loss") for step in (1, 2)
    ]
    log = read(tmp_path, "\n".join(rows), run="b")
    assert log.step_N.tolist() == log.columns["kl_mean"].tolist() == log.columns["loss"].tolist()


def test_rows_of_one_step_that_say_different_things_are_one(tmp_path: Path) -> None:
    rows = [{"step": 1, "loss": 0.5}, {"step": 1, "kl": 0.1}, {"step": 2, "loss": 0.25}]
    log = read(tmp_path, lines(rows), "a.jsonl")
    assert log.step_N.tolist() == [1, 2]
    assert log.columns["kl_mean"][0] == 0.1
    assert log.repeated_steps == 0


def test_an_evaluation_that_comes_late_is_no_restart(tmp_path: Path) -> None:
    rows = [{"step": s, "loss": 0.5} for s in range(1, 6)]
    rows.insert(4, {"step": 2, "eval/accuracy": 0.75})
    log = read(tmp_path, lines(rows), "a.jsonl")
    assert log.repeated_steps == 0
    np.testing.assert_array_equal(log.columns["eval_accuracy"], [np.nan, 0.75] + [np.nan] * 3)


def test_of_several_that_may_be_the_accuracy_the_likeliest_is_taken_and_said(
    tmp_path: Path,
) -> None:
    row = {"step": 1, "rewards/format_reward/mean": 1.0, "rewards/math_verify/mean": 0.5}
    row |= {"rewards/accuracy_reward/mean": 0.25, "rewards/cosine_scaled/mean": -0.5}
    log = read(tmp_path, lines([row]), "a.jsonl", writer=Writer.JSON)
    assert log.columns["accuracy"].tolist() == [0.25]
    (said,) = [note for note in log.notes if note.startswith("accuracy is read")]
    assert said == (
        "accuracy is read from rewards/accuracy_reward/mean; it could as well be "
        "rewards/math_verify/mean: say --column accuracy=rewards/math_verify/mean."
    )
    scaled = {**row, "rewards/accuracy_reward/mean": 2.0}
    assert read(tmp_path, lines([scaled]), "a.jsonl").columns["accuracy"].tolist() == [0.5]


def test_verls_share_of_cut_rollouts_comes_with_a_warning(tmp_path: Path) -> None:
    row = {"response_length/mean": 9.0, "response_length/clip_ratio": 0.5}
    log = read(tmp_path, lines([{"step": 1, "data": row}]), "a.jsonl")
    assert recognise(tmp_path / "a.jsonl") is Writer.VERL
    assert any("verl issue 7817" in note for note in log.notes)


def test_a_learning_rate_that_a_console_rounded_to_zero_is_not_known(tmp_path: Path) -> None:
    rows = "\n".join(f"step:{n} - actor/lr:0.000 - actor/grad_norm:0.412" for n in range(1, 4))
    assert "learning_rate" not in read(tmp_path, rows, "old.log").columns
    exact = rows.replace("lr:0.000", "lr:0.0")
    assert read(tmp_path, exact, "new.log").columns["learning_rate"].tolist() == [0.0] * 3


def test_a_length_in_characters_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="counts characters; name a column of tokens"):
        read(tmp_path, "step,n_chars\n1,9\n", columns={"tokens_mean": "n_chars"})


def test_shares_whose_name_says_percent_are_noticed(tmp_path: Path) -> None:
    log = read(tmp_path, "step,acc_pct\n1,0.5\n", columns={"accuracy": "acc_pct"})
    assert any("its name says percent" in note for note in log.notes)


def test_a_single_row_that_holds_a_list_is_a_row(tmp_path: Path) -> None:
    log = read(tmp_path, '{"step": 1, "reward": 0.5, "lengths": [1, 2]}', "a.json")
    assert log.columns["reward_mean"].tolist() == [0.5]


def test_two_runs_one_after_another_are_said_and_chosen(tmp_path: Path) -> None:
    rows = [(s, 100 * n + s) for n in (1, 2) for s in range(1, 6)]
    table = "step,tokens_mean\n" + "".join(f"{s},{v}\n" for s, v in rows)
    log = read(tmp_path, table)
    assert log.columns["tokens_mean"][0] == 201
    assert any("2 runs stand in this log" in note and "--run 1" in note for note in log.notes)
    assert read(tmp_path, table, run="1").columns["tokens_mean"][0] == 101
    with pytest.raises(ConfigError, match="holds runs 1, 2"):
        read(tmp_path, table, run="3")


def test_a_folder_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is empty"):
        read_steps(tmp_path, columns={})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "steps.jsonl").touch()
    with pytest.raises(DataError, match=r"holds 2 run folders \(one, two\); give one of them"):
        read_steps(tmp_path, columns={})


def test_of_a_folder_of_checkpoints_the_last_is_read(tmp_path: Path) -> None:
    for last in (9, 10):
        folder = tmp_path / f"checkpoint-{last}"
        folder.mkdir()
        history = [{"step": s, "reward": 0.5} for s in range(1, last + 1)]
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    assert read_steps(tmp_path, columns={}).step_N[-1] == 10


SCORED = [{"step": 1, "critic/score/mean": 0.5, "response_length/mean": 90.0}]


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({}, "critic/score/mean"),
        ({"rewards/format_reward/mean": 0.9, "my-truncated_score": 0.1}, "critic/score/mean"),
        ({"my_acc": 0.4}, "my_acc"),
    ],
)
def test_a_reward_that_is_read_is_what_may_be_the_accuracy(
    tmp_path: Path, extra: dict[str, float], named: str
) -> None:
    log = read(tmp_path, lines({**row, **extra} for row in SCORED), "log.jsonl")
    told = " ".join(log.notes)
    assert f"--column accuracy={named}" in told
    assert ("shows the reward that is trained on, not accuracy" in told) == (named != "my_acc")


def test_a_reward_above_1_is_never_hinted_as_accuracy(tmp_path: Path) -> None:
    log = read(tmp_path, lines([{**SCORED[0], "critic/score/mean": -1.0}]), "log.jsonl")
    assert "--column accuracy=" not in " ".join(log.notes)


def test_a_reward_that_is_named_as_accuracy_stays_the_reward(tmp_path: Path) -> None:
    named = {"accuracy": "critic/score/mean"}
    log = read(tmp_path, lines(SCORED), "log.jsonl", columns=named)
    assert log.columns["accuracy"].tolist() == log.columns["reward_mean"].tolist() == [0.5]
    # What the user takes for one thing is otherwise not another.
    other = read(tmp_path, "step,accuracy\n1,0.5\n", columns={"eval_accuracy": "accuracy"})
    assert "accuracy" not in other.columns
