"""A model folder that cannot be right is refused in one line, before anything is written."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tersely.core.errors import ConfigError
from tersely.core.types import SamplingSpec
from tersely.engines.models import lab_folder, load_policy, load_tokenizer
from tersely.flows.config import read_recipe
from tersely.flows.evaluation import Plan, run_evaluation
from tersely.flows.train import train
from tersely.metrics.budgets import Protocol

TINY = Path(__file__).parent / "tiny.toml"


class Quiet:
    """Watches without a word; nothing here gets as far as to be watched."""

    def on_sampling(self, what, total, done=0):
        pass

    def on_rollout(self):
        pass

    def on_step(self, record, timing, *, steps):
        pass

    def on_evaluation(self, step, records):
        pass

    def wants_stop(self):
        return True

    def on_record(self, record):
        pass

    def on_forced(self):
        pass


def training(folder, model):
    torch.set_num_threads(1)
    recipe = read_recipe(TINY, overrides=(f"model.path={model}",))
    train(recipe, folder, resume=False, watch=Quiet())


def evaluation(folder, model):
    plan = Plan(
        model=str(model),
        benchmark="lab",
        out=folder,
        spec=SamplingSpec(samples=1, max_tokens=8, seed=0),
        budgets=(8,),
        protocol=Protocol.FINISHED,
        limit=2,
    )
    run_evaluation(plan, watch=Quiet())


BOTH = pytest.mark.parametrize("flow", [training, evaluation])


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(lab_folder(), tmp_path / "model")


def refused(flow, tmp_path, model, *parts):
    with pytest.raises(ConfigError) as error:
        flow(tmp_path / "run", model)
    said = str(error.value)
    for part in parts:
        assert part in said
    assert "\n" not in said
    assert not (tmp_path / "run").exists()


@BOTH
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"])
def test_weights_that_are_no_numbers_are_named(flow, name, value, model, tmp_path):
    weights = load_file(model / "model.safetensors")
    weights[name].view(-1)[-1] = value
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    refused(flow, tmp_path, model, f"are not finite numbers: {name};", "use another checkpoint")


def test_of_many_damaged_weights_one_is_named_and_the_rest_are_counted(model):
    weights = load_file(model / "model.safetensors")
    for weight in weights.values():
        weight.fill_(float("nan"))
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    parameters = len(list(load_policy("lab").model.parameters()))
    with pytest.raises(ConfigError, match=rf"embed_tokens\.weight and {parameters - 1} more;"):
        load_policy(str(model))


def rewrite(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@BOTH
@pytest.mark.parametrize("listed", [[1, 5000], 5000, [-3]])
def test_a_stop_token_outside_the_vocabulary_is_named_with_it(flow, listed, model, tmp_path):
    rewrite(model / "generation_config.json", eos_token_id=listed)
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    token = listed if isinstance(listed, int) else listed[-1]
    refused(flow, tmp_path, model, f"stop token {token} ", f"vocabulary of {vocabulary},")


@BOTH
def test_an_end_that_the_tokenizer_added_and_the_model_lacks_is_named(flow, model, tmp_path):
    tokenizer = load_tokenizer(str(model))
    tokenizer.add_special_tokens({"eos_token": "<over>"})
    tokenizer.save_pretrained(model)
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    added = tokenizer.convert_tokens_to_ids("<over>")
    assert added >= vocabulary
    refused(flow, tmp_path, model, f"stop token {added} ", f"vocabulary of {vocabulary},")


@BOTH
def test_a_prompt_token_that_the_model_lacks_is_named(flow, model, tmp_path):
    tokenizer = load_tokenizer(str(model))
    tokenizer.add_tokens(["<please>"])
    tokenizer.chat_template = "<please>" + tokenizer.chat_template
    tokenizer.save_pretrained(model)
    added = tokenizer.convert_tokens_to_ids("<please>")
    refused(flow, tmp_path, model, f"token {added} of its prompt is outside", "use the tokenizer")


@BOTH
def test_a_pad_token_outside_the_vocabulary_is_never_used_and_no_matter(flow, model, tmp_path):
    rewrite(model / "generation_config.json", pad_token_id=5000)
    flow(tmp_path / "run", model)
    assert (tmp_path / "run" / "manifest.json").is_file()
