"""What a run of another kind of model needs: adapters, room for prompts, memory."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tersely.core import jsonl
from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import StepRecord
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.models import lab_folder, load_policy
from tersely.flows.observer import QUIET
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.train.loop import train

TINY = Path(__file__).parents[1] / "tiny.toml"
LORA = ("model.lora_rank=4", 'model.lora_targets=["q_proj", "down_proj"]', 'loss.kl="k3"')


def run(folder, *overrides):
    torch.set_num_threads(1)
    return train(read_recipe(TINY, overrides=overrides), folder, resume=False, observer=QUIET)


def test_adapters_train_and_leave_a_model_that_loads_as_any_other(tmp_path):
    assert run(tmp_path / "run", *LORA).finished
    steps = jsonl.read(tmp_path / "run" / "steps.jsonl", StepRecord)
    assert steps[0].kl_mean == pytest.approx(0, abs=1e-6)
    assert steps[-1].kl_mean > 0
    assert max(s.sampler_mismatch for s in steps if s.update_tokens) < 1e-4
    last = tmp_path / "run" / "checkpoints" / "step-000005"
    base = load_policy("lab-v1").model.state_dict()
    merged = load_policy(str(last)).model.state_dict()
    moved = {name for name in base if not torch.equal(base[name], merged[name])}
    assert moved
    assert all("q_proj" in name or "down_proj" in name for name in moved)
    assert (last / "adapter").is_dir()


def test_sampling_in_bfloat16_is_asked_for_and_its_mismatch_is_recorded(tmp_path):
    assert run(tmp_path / "run", "sampling.dtype=bfloat16", "loss.importance_cap=2.0").finished
    steps = jsonl.read(tmp_path / "run" / "steps.jsonl", StepRecord)
    found = [s.sampler_mismatch for s in steps if s.sampler_mismatch == s.sampler_mismatch]
    assert found
    assert all(1e-4 < mismatch < 0.1 for mismatch in found)


def test_a_prompt_that_leaves_no_room_is_named_before_anything_is_sampled(tmp_path):
    config = json.loads((lab_folder("lab-v1") / "config.json").read_text())
    positions = config["max_position_embeddings"]
    with pytest.raises(ConfigError, match=r"sampling\.cap_tokens: .*positions"):
        run(tmp_path / "run", f"sampling.cap_tokens={positions}")
    with pytest.raises(ConfigError, match=r"evaluation\.budgets: .*positions"):
        run(tmp_path / "run", f"evaluation.budgets=[{positions}]")
    assert not (tmp_path / "run").exists()


def test_running_out_of_memory_names_the_setting_and_not_the_learning_rate(tmp_path, monkeypatch):
    def full(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(LocalLearner, "_accumulate", full)
    with pytest.raises(EngineError, match=r"lower learner\.micro_batch_tokens = 16384") as caught:
        run(tmp_path / "run")
    assert "learning_rate" not in str(caught.value)
    assert (tmp_path / "run" / "eval" / "step-000000.jsonl").is_file()


def test_weights_of_the_shipped_model_stay_as_they_are(tmp_path):
    before = load_file(lab_folder("lab-v1") / "model.safetensors")
    run(tmp_path / "run", *LORA, "learner.steps=1")
    after = load_file(lab_folder("lab-v1") / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
