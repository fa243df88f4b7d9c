"""The callback for a script of one's own, beside a reward of its own, under GRPOTrainer."""

import pytest

pytest.importorskip("trl")

import datasets
import trl

from tersely.callback import alarm_callback
from tersely.engines.models import lab_folder, load_tokenizer
from tersely.readers.steplogs import read_steps

pytestmark = pytest.mark.filterwarnings("ignore")


def accuracy_reward(completions, **_):
    return [float(len(str(text)) % 2) for text in completions]


def test_trl_is_watched_in_two_lines(tmp_path, capsys):
    settings = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=3, logging_steps=1, num_generations=4,
        per_device_train_batch_size=4, max_completion_length=8, use_cpu=True, bf16=False,
        report_to="none", disable_tqdm=True, save_strategy="no",
        eval_strategy="steps", eval_steps=2, per_device_eval_batch_size=4,
    )  # fmt: skip
    rows = datasets.Dataset.from_list([{"prompt": "1+1="} for _ in range(4)])
    trainer = trl.GRPOTrainer(
        model=str(lab_folder()), processing_class=load_tokenizer("lab"), args=settings,
        reward_funcs=accuracy_reward, train_dataset=rows, eval_dataset=rows,
        callbacks=[alarm_callback(tmp_path / "kept")],
    )  # fmt: skip
    trainer.train()
    assert "no more alarms" not in capsys.readouterr().err
    log = read_steps(tmp_path / "kept", columns={})
    assert log.step_N.tolist() == [1, 2, 3]
    assert {"tokens_mean", "truncated_share", "entropy_mean", "reward_mean"} <= set(log.columns)
    rewards = log.columns["reward_mean"].tolist()
    assert log.columns["accuracy"].tolist() == rewards  # one reward, and it is called accuracy
    assert log.get("eval_accuracy") is not None
    trained = [row for row in trainer.state.log_history if "loss" in row]
    assert rewards == [row["reward"] for row in trained]
