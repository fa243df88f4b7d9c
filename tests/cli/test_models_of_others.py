"""A model folder that cannot be right is refused by the command line in one line that says what
to do; nothing is written."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tersely.cli import app
from tersely.engines.models import lab_folder, load_tokenizer

TINY = Path(__file__).parents[1] / "flows" / "tiny.toml"
CONFIG, TOKENIZER, GENERATION = "config.json", "tokenizer_config.json", "generation_config.json"
WEIGHTS, TEMPLATE = "model.safetensors", "chat_template.jinja"


def call(*words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CliRunner().invoke(app, [*map(str, words)])


def evaluated(model, out):
    words = ("--benchmark", "lab", "--limit", 2, "--samples", 1, "--cap-tokens", 8)
    return call("eval", "--model", model, *words, "--threads", 1, "--out", out)


def refused(done, *expected, code=2):
    assert done.exit_code == code, done.stderr
    assert isinstance(done.exception, SystemExit), done.exception
    *_, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert "a fault in tersely" not in last
    assert done.stderr.count("error:") == 1
    for words in expected:
        assert words in last


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(lab_folder("lab-v1"), tmp_path / "model")


def rewrite(name, **changes):
    def change(model):
        content = json.loads((model / name).read_text())
        (model / name).write_text(json.dumps({**content, **changes}))

    return change


def write(name, content):
    return lambda model: (model / name).write_bytes(content.encode())


def without(*names):
    return lambda model: [(model / name).unlink() for name in names]


def instead(name, **files):
    """Other files in place of one."""

    def change(model):
        (model / name).unlink()
        for other, content in files.items():
            (model / other.replace("_DOT_", ".")).write_text(content)

    return change


def sharded(*, lacking=None, index=None):
    def change(model):
        weights = load_file(model / WEIGHTS)
        names = sorted(weights)
        shard_of = {n: f"model-0000{1 + (i % 2)}-of-00002.safetensors" for i, n in enumerate(names)}
        for shard in set(shard_of.values()):
            part = {n: weights[n] for n in names if shard_of[n] == shard}
            save_file(part, model / shard, metadata={"format": "pt"})
        (model / WEIGHTS).unlink()
        text = index or json.dumps({"metadata": {}, "weight_map": shard_of})
        (model / f"{WEIGHTS}.index.json").write_text(text)
        if lacking:
            (model / lacking).unlink()

    return change


def as_whole_numbers(model):
    weights = {name: (w * 100).to(torch.int8) for name, w in load_file(model / WEIGHTS).items()}
    save_file(weights, model / WEIGHTS, metadata={"format": "pt"})


def inside(*folders):
    def change(model):
        aside = model.rename(model.with_name("aside"))
        model.joinpath(*folders[:-1]).mkdir(parents=True)
        aside.rename(model.joinpath(*folders))

    return change


def as_one_file(model):
    shutil.rmtree(model)
    model.write_text("weights")


def emptied(model):
    for file in model.iterdir():
        file.unlink()


def with_start_token(model):
    tokenizer = load_tokenizer(str(model))
    tokenizer.add_special_tokens({"bos_token": "<start>"})
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    tokenizer.save_pretrained(model)


LORA = '{"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen3-0.6B"}'
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
BASE = "restore the config.json that the weights were saved with"
KINDS = {
    "config a list": (write(CONFIG, "[1, 2]"), "config.json holds '[1, 2]'", BASE),
    "config null": (write(CONFIG, "null"), "config.json holds 'None'", BASE),
    "config deep": (write(CONFIG, "[" * 100_000), "config.json is no JSON", "too deeply"),
    "config without a type": (write(CONFIG, "{}"), "config.json has no model_type", BASE),
    "type a list": (rewrite(CONFIG, model_type=["qwen3"]), "model_type ['qwen3']", BASE),
    "type unknown": (rewrite(CONFIG, model_type="qwen99"), "'qwen99'", "--endpoint"),
    "type of no text": (rewrite(CONFIG, model_type="vit"), "'vit' is no causal", "--endpoint"),
    "a size as text": (rewrite(CONFIG, hidden_size="96"), "config.json: ", "hidden_size", BASE),
    "a negative size": (rewrite(CONFIG, hidden_size=-96), "config.json: ", "-96", BASE),
    "no heads": (rewrite(CONFIG, num_attention_heads=0), "config.json: ", BASE),
    "an unknown activation": (rewrite(CONFIG, hidden_act="siluu"), "config.json: 'siluu'", BASE),
    "a strange dtype": (rewrite(CONFIG, dtype="floaty16"), "dtype 'floaty16'", "write float32"),
    "a dtype of old": (rewrite(CONFIG, torch_dtype="bf16"), "'bf16' is no type of torch's"),
    "quantised by what is absent": (
        rewrite(CONFIG, quantization_config={"quant_method": "gptq", "bits": 4}),
        "requires optimum", "give the model's version without quantization",
    ),
    "a pad outside": (rewrite(CONFIG, pad_token_id=5000), "pad_token_id 5000", "vocab_size 37"),
    "weights a pointer": (write(WEIGHTS, POINTER), f"{WEIGHTS} of 70 bytes", "git lfs pull"),
    "weights a page": (write(WEIGHTS, "<html>"), f"{WEIGHTS} of 6 bytes is damaged", "fetch it"),
    "weights of whole numbers": (as_whole_numbers, "as I8", "quantization_config"),
    "a shard missing": (
        sharded(lacking="model-00002-of-00002.safetensors"),
        "lacks model-00002-of-00002.safetensors, which model.safetensors.index.json names; fetch",
    ),
    "an index that is a list": (sharded(index="[]"), "index.json holds '[]'"),
    "an index without shards": (sharded(index="{}"), "index.json has no weight_map"),
    "shards without an index": (
        sharded(lacking=f"{WEIGHTS}.index.json"),
        "holds model-00001-of-00002.safetensors, but neither", "shards need their index",
    ),
    "an adapter alone": (
        instead(WEIGHTS, adapter_config_DOT_json=LORA, adapter_model_DOT_safetensors=""),
        "only an adapter", "for Qwen/Qwen3-0.6B", "merge_and_unload",
    ),
    "an adapter beside weights": (write("adapter_config.json", LORA), "beside whole weights"),
    "gguf alone": (
        instead(WEIGHTS, q4_DOT_gguf="GGUF"), "holds q4.gguf and no other", "gguf_file=NAME"
    ),
    "a pickle of something else": (
        instead(WEIGHTS, pytorch_model_DOT_bin="junk"), "pytorch_model.bin: ", "save the model anew"
    ),
    "an empty folder": (emptied, "is a folder without files (no config.json)", "hf download"),
    "a file": (as_one_file, "is a file and no model folder; give the folder that holds"),
    "a folder around it": (inside("one"), "model/one has one; give that folder"),
    "a cache of a hub": (inside("snapshots", "ab12"), "model/snapshots/ab12 has one; give"),
    "no tokenizer": (
        without("tokenizer.json", TOKENIZER), "holds no tokenizer (none of ", "copy the tokenizer's"
    ),
    "a tokenizer that is a list": (write("tokenizer.json", "[]"), "tokenizer.json holds '[]'"),
    "a tokenizer of unknown kind": (
        rewrite("tokenizer.json", model={"type": "Own"}), "its tokenizer: ", "restore the tokenizer"
    ),
    "tokenizer settings null": (write(TOKENIZER, "null"), f"{TOKENIZER} holds 'None'"),
    "an end that is a number": (rewrite(TOKENIZER, eos_token=1), "its tokenizer: ", "eos_token"),
    "an end that nobody knows": (
        rewrite(TOKENIZER, eos_token="<nope>"), "stop token 37 (the tokenizer's eos_token '<nope>')"
    ),
    "a start outside": (with_start_token, "token 37 of its prompt is outside", "vocabulary of 37"),
    "no template": (without(TEMPLATE), "has no chat template", TEMPLATE),
    "a template misspelt": (write(TEMPLATE, "{{ messages }"), "the chat template fails", "mend"),
    "a template that raises": (
        write(TEMPLATE, "{{ raise_exception('Never.') }}"), "fails on its messages (user): Never."
    ),
    "a template without the question": (
        write(TEMPLATE, "<user><assistant>"), "the chat template leaves the question out; give"
    ),
    "templates without a default": (
        lambda model: (
            without(TEMPLATE)(model),
            rewrite(TOKENIZER, chat_template=[{"name": "rag", "template": "x"}])(model),
        ),
        "only chat templates named rag, and no default",
    ),
    "generation a list": (write(GENERATION, "[]"), f"{GENERATION} holds '[]'", "or delete it"),
    "generation cut short": (write(GENERATION, "{"), f"{GENERATION} is no JSON", "restore it"),
    "a stop as text": (rewrite(GENERATION, eos_token_id="<end>"), "eos_token_id '<end>'"),
    "a stop of a half": (rewrite(GENERATION, eos_token_id=1.5), "'1.5'", "whole numbers"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_cannot_be_right_is_refused_in_one_line(kind, model, tmp_path):
    change, *said = KINDS[kind]
    change(model)
    refused(evaluated(model, tmp_path / "run"), *said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "command", [("train",), ("train", "--dry-run"), ("launch", "trl", "--dry-run")]
)
@pytest.mark.parametrize(
    "kind", ["config a list", "a shard missing", "an adapter alone", "generation a list"]
)
def test_trainings_and_their_dry_runs_refuse_it_too(kind, command, model, tmp_path):
    change, *said = KINDS[kind]
    change(model)
    first = [word for word in command if word != "--dry-run"]
    rest = [word for word in command if word == "--dry-run"]
    words = (*first, TINY, "--set", f"model.path={model}", "--out", tmp_path / "run", *rest)
    refused(call(*words), *said)
    assert not (tmp_path / "run").exists()


def test_weights_in_a_pickle_of_tensors_alone_are_loaded(model, tmp_path):
    torch.save(load_file(model / WEIGHTS), model / "pytorch_model.bin")
    (model / WEIGHTS).unlink()
    assert evaluated(model, tmp_path / "run").exit_code == 0


@pytest.mark.parametrize("shards", [sharded(), lambda model: None])
def test_a_sound_folder_passes(shards, model, tmp_path):
    shards(model)
    assert evaluated(model, tmp_path / "run").exit_code == 0


def test_a_name_on_a_hub_is_no_folder_and_the_line_says_how_to_fetch_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fetch = "hf download Qwen/Qwen3-0.6B --local-dir models/Qwen3-0.6B"
    refused(evaluated("Qwen/Qwen3-0.6B", "run"), "nothing is loaded from a hub", fetch)
    done = call("train", TINY, "--set", "model.path=Qwen/Qwen3-0.6B", "--dry-run")
    assert done.exit_code == 0
    assert "note: the run itself would stop" in done.stderr
    assert fetch in " ".join(done.stderr.split())


GEMMA = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<user>{{ m['content'] }}{% endfor %}<assistant>"
)
SILENT = Path(lab_folder() / TEMPLATE).read_text()
WRITES = "{% for m in messages %}<user>{{ m['content'] }}{% endfor %}<assistant>"


def pool(tmp_path, role="system"):
    lines = [{"id": f"p{i}", "prompt": f"{i}+4=", "answer": str(i + 4)} for i in range(5)]
    lines[2]["earlier"] = [{"role": role, "content": "3+4="}]
    file = tmp_path / "pool.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def commands(model, file, out):
    recipe = out.with_name("recipe.toml")
    recipe.write_text(TINY.read_text().replace("band = [1, 3]", ""))
    trained = (recipe, "--set", f"model.path={model}", "--set", f"problems.train={file}")
    sampled = ("--model", model, "--cap-tokens", 8, "--samples", 1, "--threads", 1, "--out", out)
    return {
        "eval": ("eval", "--benchmark", file, *sampled),
        "curate": ("curate", "--problems", file, *sampled),
        "train": ("train", *trained, "--out", out),
        "launch trl": ("launch", "trl", *trained, "--dry-run"),
        "launch verl": (
            *("launch", "verl", *trained, "--gpus-per-node", 1, "--dry-run"),
            *("--set", "loss.importance_cap=2.0"),
        ),
    }


@pytest.mark.parametrize("command", ["eval", "curate", "train", "launch trl", "launch verl"])
@pytest.mark.parametrize(
    ("template", "said"),
    [
        (SILENT, "message of role 'system' before the question, which the chat template leaves"),
        (GEMMA, "fails on its messages (system, user): System role not supported; put the text"),
    ],
)
def test_a_system_message_that_the_model_would_not_read_is_refused(
    template, said, command, model, tmp_path
):
    (model / TEMPLATE).write_text(template)
    out = tmp_path / "new" / "run"
    words = commands(model, pool(tmp_path), out.parent.with_name("run"))[command]
    refused(call(*[out if word == tmp_path / "run" else word for word in words]), "'p2'", said)
    assert not out.parent.exists()


# What a template may do under a setting, or where the launch brings one of its own.
BRIEF = (
    "{% for m in messages %}{% if m['role'] == 'user' or not brief %}<user>{{ m['content'] }}"
    "{% endif %}{% endfor %}<assistant>"
)
LAUNCHES = {
    "trl": ("brief", "launch trl", "trl.chat_template_kwargs={brief=true}"),
    "verl": ("brief", "launch verl", "verl.data.apply_chat_template_kwargs.brief=true"),
    "verl, its own": (
        "chat_template",
        "launch verl",
        "verl.actor_rollout_ref.model.custom_chat_template="
        "\"{{ messages[-1]['content'] }}<assistant>\"",
    ),
}


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_launch_looks_at_the_template_as_its_engine_will_use_it(launch, model, tmp_path):
    (model / TEMPLATE).write_text(BRIEF)
    given, command, setting = LAUNCHES[launch]
    words = commands(model, pool(tmp_path), tmp_path / "run")[command]
    assert call(*words).exit_code == 0
    said = "message of role 'system' before the question, which the chat template leaves"
    change = f"or change what the template is given ({given})"
    refused(call(*words, "--set", setting), "'p2'", said, change)


def test_every_turn_before_the_question_is_held_to_it(model, tmp_path):
    # The last two messages are written: each role's first stands in a chat that is whole.
    (model / TEMPLATE).write_text(
        "{% for m in messages[-3:] %}<user>{{ m['content'] }}{% endfor %}<assistant>"
    )
    file = pool(tmp_path, "assistant")
    turns = [{"role": role, "content": "3+4="} for role in ("user", "assistant") * 2]
    lines = list(map(json.loads, file.read_text().splitlines()))
    lines[1]["earlier"], lines[4]["earlier"] = turns[:2], turns
    file.write_text("\n".join(map(json.dumps, lines)))
    words = commands(model, file, tmp_path / "run")["eval"]
    refused(call(*words), "'p4'", "message of role 'user' before the question")


@pytest.mark.parametrize("role", ["assistant", "developer"])
def test_other_roles_before_the_question_are_held_to_the_same(role, model, tmp_path):
    (model / TEMPLATE).write_text(
        "{% for m in messages %}{% if m['role'] == 'user' %}<user>{{ m['content'] }}"
        "{% endif %}{% endfor %}<assistant>"
    )
    done = call(*commands(model, pool(tmp_path, role), tmp_path / "run")["eval"])
    refused(done, f"role {role!r}", "put its text into the question")


def test_messages_that_the_template_writes_pass(model, tmp_path):
    (model / TEMPLATE).write_text(WRITES)
    done = call(*commands(model, pool(tmp_path), tmp_path / "run")["eval"])
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("rate", ["1e20", "1e38"])
def test_weights_that_training_makes_infinite_stop_it_with_the_step_and_the_way_on(rate, tmp_path):
    settings = (f"learner.learning_rate={rate}", "checkpoint.every_steps=1")
    words = [word for each in settings for word in ("--set", each)]
    done = call("train", TINY, *words, "--out", tmp_path / "run")
    refused(done, "step ", "not finite", "Lower learner.learning_rate = 1e+", code=1)
    # What was saved after the step that broke the weights is not offered.
    assert "no good checkpoint was written" in done.stderr.splitlines()[-1]


def test_a_model_whose_logits_overflow_is_not_sampled_from(model, tmp_path):
    weights = load_file(model / WEIGHTS)
    weights["model.norm.weight"].fill_(3e38)
    save_file(weights, model / WEIGHTS, metadata={"format": "pt"})
    refused(evaluated(model, tmp_path / "run"), "logits are not finite numbers", code=1)
