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
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.session import run_evaluation
from tersely.flows.observer import Quiet
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.train.loop import train
from tersely.metrics.budgets import Protocol

TINY = Path(__file__).parents[1] / "tiny.toml"


def training(folder, model):
    torch.set_num_threads(1)
    recipe = read_recipe(TINY, overrides=(f"model.path={model}",))
    train(recipe, folder, resume=False, observer=Quiet(wants_stop=lambda: True))


def evaluation(folder, model):
    plan = Plan(
        model=str(model),
        benchmark="lab",
        out=folder,
        spec=SamplingSpec(samples=1, cap_tokens=8, seed=0),
        budgets=(8,),
        protocol=Protocol.FINISHED,
        limit=2,
    )
    run_evaluation(plan, observer=Quiet(wants_stop=lambda: True))


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


def without(name):
    def change(model):
        weights = load_file(model / "model.safetensors")
        del weights[name]
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})

    return change


def more_layers(model):
    layers = json.loads((model / "config.json").read_text())["num_hidden_layers"] + 1
    rewrite(model / "config.json", num_hidden_layers=layers, layer_types=None)


def wider(model):
    rewrite(model / "config.json", intermediate_size=264)


def cut_short(model):
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[:-1000])


def as_nothing(model):
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(b"no weights")


@BOTH
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("model.layers.0.mlp.up_proj.weight"), "has no model.layers.0.mlp.up_proj.weight;"),
        (more_layers, "has no model.layers.3.input_layernorm.weight and 10 more;"),
        (wider, "down_proj.weight of shape [96, 256] where config.json wants [96, 264] and 8 more"),
        (cut_short, "bytes is damaged: Error while deserializing header"),
        (as_nothing, "cannot be loaded: "),
    ],
)
def test_weights_that_loading_would_make_up_or_cannot_read_are_named(
    flow, change, said, model, tmp_path
):
    change(model)
    refused(flow, tmp_path, model, said)


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


def fewer_layers(model):
    rewrite(model / "config.json", num_hidden_layers=1, layer_types=None)


@BOTH
def test_more_layers_in_the_file_than_the_config_says_are_named(flow, model, tmp_path):
    fewer_layers(model)
    refused(flow, tmp_path, model, "holds model.layers.1.input_layernorm.weight and 21 more")


@pytest.mark.parametrize("name", ["mtp.0.fc.weight", "model.layers.3.eh_proj.weight"])
def test_weights_of_another_kind_are_warned_of_and_the_model_loads(name, model):
    weights = load_file(model / "model.safetensors")
    weights[name] = torch.zeros(2, 2)
    if "layers" in name:
        for key in [key for key in weights if ".layers.2." in key]:
            weights[key.replace(".2.", ".3.")] = weights[key].clone()
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.warns(RuntimeWarning, match="has no place; these weights are not used"):
        load_policy(str(model))


def test_buffers_that_older_versions_saved_are_no_matter(model):
    weights = load_file(model / "model.safetensors")
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(2)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    load_policy(str(model))
